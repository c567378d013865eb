"""Shows the status of runs as tables on the terminal. `tach.sender.status` says what they hold."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tach.notifiers.console import UNLIMITED
from tach.problems import escaped

STATES = {"waiting": "waiting for import"}
WORDS = {"target", "state", "notifier", "type", "python", "sender", "program"}
_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def show_one(status: dict[str, Any]) -> None:
    """Print all that is known of one run."""
    paper = _paper()
    _line(paper, _headline(status))
    _table(paper, ("target", "state", "calls", "errors", "series"), map(_target, status["targets"]))
    if status["notifiers"]:
        columns = (
            "notifier",
            "type",
            "sent",
            "dropped",
            "queued",
            "events",
            "spooled",
            "last success",
        )
        _table(paper, columns, map(_notifier, status["notifiers"]))
    _table(
        paper, ("pid", "python", "alive", "calls", "program"), map(_process, status["processes"])
    )
    for line in _remarks(status):
        _line(paper, line)


def show_all(statuses: Sequence[dict[str, Any]]) -> None:
    """Print a line for each run."""
    columns = ("pid", "processes", "patched", "calls", "errors", "failing", "sender", "program")
    paper = _paper()
    _table(paper, columns, map(_overview, statuses))
    _line(paper, "tach status PID says more of one of them")


def _paper() -> Console:
    # A file or a pipe gets every line whole.
    width = None if sys.stdout.isatty() else UNLIMITED
    return Console(width=width, markup=False, highlight=False, emoji=False)


def _line(paper: Console, text: str) -> None:
    paper.print(Text(escaped(text)), soft_wrap=True)


def _table(paper: Console, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        if name in WORDS:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text("-" if each is None else escaped(str(each))) for each in row))
    with paper.capture() as capture:
        paper.print(table)
    for line in capture.get().splitlines():
        paper.file.write(f"{line.rstrip()}\n")


def _headline(status: dict[str, Any]) -> str:
    line = f"{status['program']} (process {status['pid']}), measured as {status['config']} says"
    sender = status["sender"]
    if sender is None:
        return f"{line}; its sender does not answer"
    times = f", restarted {sender['restarts']} times" if sender["restarts"] else ""
    return f"{line}; sender: process {sender['pid']}{times}"


def _target(target: dict[str, Any]) -> Iterator[Any]:
    yield target["name"]
    yield _state(target)
    yield from (target[name] for name in ("calls", "errors", "series"))


def _state(target: dict[str, Any]) -> str:
    state = STATES.get(target["state"], target["state"])
    return f"{state}, overflowed" if target["overflowed"] else state


def _notifier(notifier: dict[str, Any]) -> Iterator[Any]:
    yield from (notifier[name] for name in ("name", "type", "sent", "dropped", "queued"))
    events = notifier["events"] or {"delivered": None, "spooled": None}
    yield events["delivered"]
    yield None if events["spooled"] is None else f"{events['spooled']} B"
    yield _ago(notifier["last_success"])


def _process(process: dict[str, Any]) -> Iterator[Any]:
    yield process["pid"]
    yield process["python"]
    yield age(time.time() - process["since"])
    yield process["calls"]
    yield process["program"]


def _remarks(status: dict[str, Any]) -> Iterator[str]:
    """The lines below the tables: all that needs words."""
    for target in status["targets"]:
        yield from _target_remarks(target)
    for notifier in status["notifiers"]:
        yield from _notifier_remarks(notifier)
    for process in status["processes"]:
        if process["blocked"]:
            how_long = age(process["blocked"])
            yield f"process {process['pid']}: its hub has been blocked for {how_long}"
    if status["reload"] is not None:
        yield from _reload_remarks(status["reload"], status["processes"])
    ended = status["ended"]
    if ended["processes"]:
        calls = "" if ended["calls"] is None else f", with {ended['calls']} calls"
        yield f"processes that have ended: {ended['processes']}{calls}"
    for trouble in status["troubles"]:
        yield f"trouble: {trouble}"


def _target_remarks(target: dict[str, Any]) -> Iterator[str]:
    what = f"{target['name']} ({target['function']})"
    if target["state"] != "patched":
        reason = f": {target['reason']}" if target["reason"] else ""
        yield f"{what}: {STATES.get(target['state'], target['state'])}{reason}"
    if target["inflight"]:
        yield f"{what}: {target['inflight']} running, the oldest for {age(target['oldest'])}"
    if target["overflowed"]:
        yield f"{what}: {target['overflowed']} calls counted as other: it has too many series"


def _notifier_remarks(notifier: dict[str, Any]) -> Iterator[str]:
    error, events = notifier["last_error"], notifier["events"]
    if not notifier["usable"]:
        yield error["text"]
    elif error is not None:
        yield f"notifier {notifier['name']}: last error {_ago(error['time'])}: {error['text']}"
    if events is not None and events["dropped"]:
        yield f"notifier {notifier['name']}: events dropped: {events['dropped']}"


def _reload_remarks(reload: dict[str, Any], processes: Sequence[dict[str, Any]]) -> Iterator[str]:
    for error in reload["errors"]:
        yield f"configuration not reloaded: {error}"
    for what in reload["needs_restart"]:
        yield f"configuration reloaded, but this needs a restart: {what}"
    if reload["generation"]:
        last = reload["generation"]
        behind = [each["pid"] for each in processes if each["generation"] < last]
        yield f"configuration reloaded {_ago(reload['loaded']) or 'by an earlier sender'}"
        if behind:
            pids = ", ".join(map(str, behind))
            yield f"not taken up yet, for want of a measured call or import: process {pids}"


def _overview(status: dict[str, Any]) -> Iterator[Any]:
    targets = status["targets"]
    answered = status["answered"]
    yield status["pid"]
    yield len(status["processes"])
    yield f"{sum(each['state'] == 'patched' for each in targets)} of {len(targets)}"
    for name in ("calls", "errors"):
        yield sum(each[name] for each in targets) if answered else None
    yield sum(map(_is_failing, status["notifiers"])) if answered else None
    yield "answers" if answered else "silent"
    yield status["program"]


def _is_failing(notifier: dict[str, Any]) -> bool:
    """Whether its latest attempt went wrong."""
    error, success = notifier["last_error"], notifier["last_success"]
    return not notifier["usable"] or (error is not None and error["time"] > (success or 0.0))


def _ago(moment: float | None) -> str | None:
    return None if moment is None else f"{age(time.time() - moment)} ago"


def age(seconds: float) -> str:
    """A span of time in the largest unit of which it has at least two."""
    for unit, size in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"
