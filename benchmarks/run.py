"""Measures what tach costs: run.py [--write [FILE]] [--only NAME,...]. `make bench` calls it."""

from __future__ import annotations

import argparse
import socket
import sys
import traceback
from pathlib import Path

import bus
import calls
import comparison
import events
import green
import growth
import sender
import service
import start
import top
from document import Document
from scratch import ROOT, Here, Scratch

BENCHMARKS = {
    "peers": comparison.measure,
    "calls": calls.measure,
    "green": green.measure,
    "start": start.measure,
    "service": service.measure,
    "sender": sender.measure,
    "growth": growth.measure,
    "top": top.measure,
    "events": events.measure,
    "speed": bus.measure_speed,
    "lag": bus.measure_lag,
}
DOCUMENT = ROOT / "docs" / "benchmarks.md"


def main() -> None:
    """Measure, print, and put it into the document if asked to."""
    options = parser().parse_args()
    document = Document(options.write) if options.write else None
    place = Here() if options.quick else Scratch()
    with place as scratch, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))  # nobody reads: what does not fit in is lost
        port = sink.getsockname()[1]
        failed = [name for name in options.only if not succeeds(name, scratch, port, document)]
    if failed:
        sys.exit(f"not measured, see above: {', '.join(failed)}")


def succeeds(name: str, scratch: Scratch, port: int, document: Document | None) -> bool:
    """Make that section; if it fails the others can be made all the same."""
    try:
        section = BENCHMARKS[name](scratch, port)
        print(section.text(), end="\n\n", flush=True)
        if document:
            document.put(name, section)
            document.write(BENCHMARKS)
    except Exception:  # noqa: BLE001 - whatever it is, it is shown
        traceback.print_exc()
        return False
    return True


def parser() -> argparse.ArgumentParser:
    """What the command line can say."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--write", nargs="?", type=Path, const=DOCUMENT, metavar="FILE", help="put it into docs/"
    )
    parser.add_argument(
        "--only", type=names, default=[*BENCHMARKS], help=f"some of: {','.join(BENCHMARKS)}"
    )
    parser.add_argument(
        "--quick", action="store_true", help="only try it out: few rounds, without other tools"
    )
    return parser


def names(text: str) -> list[str]:
    """The benchmarks that are named there, in their own order."""
    wanted = text.split(",")
    if unknown := {*wanted} - BENCHMARKS.keys():
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}")
    return [name for name in BENCHMARKS if name in wanted]


if __name__ == "__main__":
    main()
