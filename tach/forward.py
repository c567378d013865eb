"""`tach forward SPOOL`: sends what waits in a spool, without any program."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tach import config, notifiers, spool, spooldir
from tach.durations import seconds
from tach.names import sanitise
from tach.plan import NotifierPlan, Plan, SpoolPlan
from tach.problems import quoted, suggestion
from tach.sender import spool_files
from tach.sender.courier import EventCourier
from tach.sender.spool_files import GAP, SpoolFile
from tach.sender.spool_queue import LOCK, STATE, SpoolQueue
from tach.sender.usage import Usage

PAUSE = 0.05
PROGRESS_EVERY = 0.5  # seconds
SCHEMES = {"amqp": "amqp", "amqps": "amqp"}
# Nothing is dropped here, however old and large the spool is.
KEEP_ALL = SpoolPlan(max_size=1 << 62, max_age=float("inf"), fsync=1.0)


class Refused(Exception):
    """Why nothing can be forwarded, and what to do."""


def main(arguments: list[str]) -> int:
    """Forward; the exit status: 0 if nothing is left, 1 if something is, 2 for a wrong command."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="tach: %(message)s", level=logging.WARNING)
    try:
        plan = config.load(options.config) if options.config else None
        spools = _spools(options.spool, plan)
        if options.dry_run:
            for each in spools:
                _show(each)
            return 0
        left = [each for each in spools if not _forward(each, plan, options)]
    except config.ConfigErrors as error:
        print(error, file=sys.stderr)
        return 2
    except (Refused, OSError) as error:
        print(f"tach: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 1
    return int(bool(left))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tach forward",
        description="Send the events that wait in a spool, without running any program.",
        epilog="Exit status: 0 if nothing is left, 1 if something is, 2 if nothing could be tried.",
    )
    add = parser.add_argument
    add(
        "spool",
        metavar="SPOOL",
        nargs="?",
        help="a spool's directory, or one file of it; default: the spools of --config",
    )
    add(
        "--config",
        metavar="FILE",
        help="send with the notifier of this configuration that has "
        "the name of the spool's directory",
    )
    add("--to", metavar="URL", help="send there instead, such as amqp://user@host:5672//")
    add("--exchange", metavar="NAME", help="the exchange to publish to, which --to needs")
    add(
        "--topic",
        metavar="NAME",
        action="append",
        help="a topic, with --to; can be repeated (default: notifications)",
    )
    add(
        "--timeout",
        metavar="TIME",
        type=_duration,
        default=30.0,
        help="give up when nothing could be sent for so long (default: 30s)",
    )
    add("--dry-run", action="store_true", help="print what waits, a line each, and send nothing")
    return parser


def _duration(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, got {quoted(text)}") from None


def _spools(path: str | None, plan: Plan | None) -> list[str]:
    """The spools that `path` means: itself, or the directories in it."""
    if path is None:
        if plan is None:
            raise Refused("which SPOOL? name its directory, or a configuration with --config")
        path = spooldir.of_configuration(plan.spool.directory, plan.file)
    if not os.path.exists(path):
        raise Refused(f"there is no {path}")
    if os.path.isfile(path) or _is_spool(path):
        return [os.path.abspath(path)]
    inner = [os.path.abspath(os.path.join(path, name)) for name in sorted(os.listdir(path))]
    found = [each for each in inner if os.path.isdir(each) and _is_spool(each)]
    if not found:
        raise Refused(f"{path} is no spool: no *{spool.SUFFIX} in it nor in its directories")
    return found


def _is_spool(directory: str) -> bool:
    names = os.listdir(directory)
    return STATE in names or LOCK in names or any(name.endswith(spool.SUFFIX) for name in names)


def _forward(path: str, plan: Plan | None, options: argparse.Namespace) -> bool:
    """Send what waits in one spool; whether nothing is left."""
    name = os.path.basename(os.path.dirname(path) if os.path.isfile(path) else path)
    chosen = _chosen(name, plan, options)
    try:
        notifier: Any = notifiers.load(chosen.type)(**chosen.options)
    except KeyError:
        raise Refused(f"no notifier can send to {options.to}: none of type {chosen.type}") from None
    except (TypeError, ValueError, ImportError) as error:
        raise Refused(f"notifier {chosen.name}: {error}") from None
    usage = Usage(plan.usage_periods(chosen.name) if plan else {})
    try:
        if os.path.isdir(path):
            return _drain(path, usage, chosen.name, notifier, options.timeout)
        with tempfile.TemporaryDirectory(prefix="tach-forward-") as directory:
            # a copy, which is left to the queue to remove
            own = os.path.basename(path)
            known = own if spool_files.is_spool_name(own) else f"0-0-0-0{spool.SUFFIX}"
            shutil.copy(path, os.path.join(directory, known))
            return _drain(directory, usage, chosen.name, notifier, options.timeout)
    finally:
        notifier.close()


def _chosen(name: str, plan: Plan | None, options: argparse.Namespace) -> NotifierPlan:
    """The notifier to send with."""
    if options.to:
        scheme = options.to.partition(":")[0]
        if scheme not in SCHEMES:
            advice = suggestion(scheme, SCHEMES)
            raise Refused(f"--to: unknown kind of address {quoted(scheme + ':')}; {advice}")
        if not options.exchange:
            raise Refused("--to: which exchange? say --exchange NAME, of where consumers listen")
        given = {"url": options.to, "exchange": options.exchange, "topics": options.topic}
        named = {key: each for key, each in given.items() if each is not None}
        return NotifierPlan(scheme, SCHEMES[scheme], named, 0, delivers=True)
    if plan is None:
        raise Refused("where to? say --config FILE or --to URL")
    able = {sanitise(each.name): each for each in plan.notifiers if each.delivers}
    if name not in able:
        known = suggestion(name, able) if able else "it has none that can send events"
        raise Refused(f"{plan.file} has no notifier {quoted(name)} for this spool; {known}")
    return able[name]


def _drain(directory: str, usage: Usage, name: str, notifier: Any, patience: float) -> bool:
    tallies: Counter[str] = Counter()
    queue = SpoolQueue(directory, KEEP_ALL, usage, tallies)
    courier = EventCourier(name, queue, notifier.deliver, tallies)
    if not queue.acquire():
        raise Refused(f"{directory}: a running tach is sending it already")
    progress = Progress(queue, tallies)
    give_up, sent = time.monotonic() + patience, 0
    try:
        while not (done := courier.work(time.monotonic() + PROGRESS_EVERY)):
            progress.show()
            if tallies["events.delivered"] > sent:
                give_up, sent = time.monotonic() + patience, tallies["events.delivered"]
            if time.monotonic() > give_up:
                break
            time.sleep(PAUSE)
    finally:
        progress.end(directory)
        courier.close()
    return done


class Progress:
    """Says on stderr how far it is: in one line that changes on a terminal."""

    def __init__(self, queue: SpoolQueue, tallies: Counter[str]) -> None:
        self._queue = queue
        self._tallies = tallies
        self._left = 0
        self._is_terminal = sys.stderr.isatty()

    def show(self) -> None:
        """Say it, on a terminal."""
        if self._is_terminal:
            print(f"\r{self._text()}\x1b[K", end="", file=sys.stderr, flush=True)

    def end(self, directory: str) -> None:
        """Say it for good."""
        start = "\r\x1b[K" if self._is_terminal else ""
        print(f"{start}{directory}: {self._text()}", file=sys.stderr)

    def _text(self) -> str:
        tallies = ("corrupt", "foreign", "unfinished", "resent")
        counts = {name: self._tallies[f"events.{name}"] for name in tallies}
        others = [f"{count} {name}" for name, count in counts.items() if count]
        sent = f"{self._tallies['events.delivered']} events sent"
        return ", ".join([sent, *others, f"{self._queue.waiting()} bytes left"])


def _show(path: str) -> None:
    """Print what waits in a spool, a line each: time, type, priority, request and message id."""
    print(f"# {path}")
    for body in _waiting(path):
        print(_line(body))


def _line(body: bytes) -> str:
    try:
        message = json.loads(body)
        request = message.get("_context_request_id", "-")
        fields = [message[key] for key in ("timestamp", "event_type", "priority")]
        return " ".join(map(str, [*fields, request, message["message_id"]]))
    except (ValueError, KeyError, AttributeError, TypeError):
        return "# damaged"


def _waiting(path: str) -> Iterator[bytes]:
    """The bodies of what waits, damaged stretches as empty ones."""
    if os.path.isfile(path):
        files = [SpoolFile(os.path.dirname(path), os.path.basename(path))]
    else:
        queue = SpoolQueue(path, KEEP_ALL, Usage({}), Counter())
        own, files = queue.peek()
        yield from own
    for file in files:
        for record in file.records(complete=True):
            yield b"" if record.kind == GAP else record.body
        file.close()
