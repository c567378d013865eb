"""Measures what tach costs: run.py [--write] [--only calls,start,sender]. `make bench` calls it."""

from __future__ import annotations

import argparse
import os
import platform
import socket
from pathlib import Path

import calls
import sender
import start
from scratch import ROOT, Scratch

BENCHMARKS = {"calls": calls.measure, "start": start.measure, "sender": sender.measure}
DOCUMENT = ROOT / "docs" / "benchmarks.md"
HEAD = """\
# What tach costs

As last measured by `make bench ARGS=--write`, with Python {python} on {cores} cores of {cpu}, at a
load average of {load:.1f} beforehand: what others do on the machine makes a start slower. The
figures of another machine differ; the proportions hardly do.
"""


def main() -> None:
    """Measure, print, and write the document if asked to."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"put it into {DOCUMENT.name}")
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="some of: %(default)s")
    options = parser.parse_args()
    if options.write and options.only != parser.get_default("only"):
        parser.error("--write needs all of them, without --only")
    parts = [head()]
    with Scratch() as scratch, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))  # nobody reads: what does not fit in is lost
        for name in options.only.split(","):
            section = BENCHMARKS[name](scratch, sink.getsockname()[1]).text()
            print(section, end="\n\n", flush=True)
            parts.append(f"{section}\n")
    if options.write:
        DOCUMENT.write_text("\n".join(parts))


def head() -> str:
    """The beginning of the document."""
    load, *_ = os.getloadavg()
    return HEAD.format(python=platform.python_version(), cores=os.cpu_count(), cpu=cpu(), load=load)


def cpu() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
