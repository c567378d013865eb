"""`tach top [PID]`: a running program's measured functions, live, without touching the program."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group
from rich.text import Text

from tach import runs
from tach.durations import seconds
from tach.notifiers.columns import fitting
from tach.notifiers.console import UNLIMITED, human
from tach.problems import escaped
from tach.screen import Screen
from tach.watching import Change, Watch

COLUMNS = ("target", "calls/s", "errors/s", "mean", "p50", "p95", "p99", "max", "running", "calls")
# What a terminal that is not wide enough does without, in this order.
DISPENSABLE = ("max", "mean", "p99", "errors/s", "calls", "p50", "running", "p95")
SORTS: dict[str, Callable[[Change], tuple[float, str]]] = {
    "busy": lambda each: (-each.durations.sum, each.name),
    "rate": lambda each: (-each.rate, each.name),
    "errors": lambda each: (-each.errors, each.name),
    "p99": lambda each: (-each.durations.quantile(0.99), each.name),
    "max": lambda each: (-each.durations.max, each.name),
    "calls": lambda each: (-each.total_calls, each.name),
    "running": lambda each: (-each.active, each.name),
    "name": lambda each: (0.0, each.name),
}


# The keys that choose them.
KEYS = {"b": "busy", "r": "rate", "e": "errors", "p": "p99", "m": "max", "c": "calls"}
KEYS |= {"i": "running", "n": "name"}
END, NEXT = "q", "s"


def main(arguments: list[str]) -> int:
    """Show the run until it ends; the exit status: 0, 1 if there is no such run."""
    options = _parser().parse_args(arguments)
    found = [run for run in runs.living(runs.places()) if run.uid == os.geteuid()]
    if options.pid is not None:
        found = [run for run in found if options.pid == run.main_pid or options.pid in run.pids]
    if not found:
        what = "no run of yours is going on"
        return _refuse(f"no run of yours has a process {options.pid}" if options.pid else what)
    if len(found) > 1:
        pids = ", ".join(str(run.main_pid) for run in found)
        return _refuse(f"several runs are going on: say which, of {pids}")
    try:
        watch = Watch(found[0].directory)
    except OSError:
        return _refuse("the run has just ended")
    with contextlib.suppress(KeyboardInterrupt):
        _show(watch, options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tach top",
        description="Show the measured functions of a run, live, without touching the program.",
        epilog="Times are those of the calls that ended in the last interval; `running` are calls "
        "that have not ended, where the metric inflight counts them. Keys: q or Ctrl-C ends it, s "
        "sorts by the next column; b, r, e, p, m, c, i, n by busy, rate, errors, p99, max, calls, "
        "running, name.",
    )
    parser.add_argument("pid", metavar="PID", nargs="?", type=int, help="any process of the run")
    parser.add_argument(
        "--every", type=_seconds, default=1.0, metavar="TIME", help="between two looks (1s)"
    )
    parser.add_argument("--sort", choices=SORTS, default="busy", help="what comes first (busy)")
    parser.add_argument("--times", type=int, metavar="N", help="end after N looks")
    return parser


def _seconds(text: str) -> float:
    try:
        found = seconds(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 500ms or 2s") from None
    if found < 0.05:
        raise argparse.ArgumentTypeError("must be at least 50ms")
    return found


def _refuse(message: str) -> int:
    sys.stderr.write(f"tach: {message}\n")
    return 1


def _show(watch: Watch, options: argparse.Namespace) -> None:
    width = None if sys.stdout.isatty() else UNLIMITED
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    watch.changes()
    looks, sort = 0, options.sort
    changes: list[Change] = []
    with Screen(console) as screen:
        while options.times is None or looks < options.times:
            key = screen.wait(options.every)
            if key == END or watch.is_over():
                break
            if key:
                sort = _next(sort) if key == NEXT else KEYS.get(key, sort)
            else:
                looks += 1
                with contextlib.suppress(FileNotFoundError):  # it ends at this very moment
                    changes = watch.changes()
            if looks:
                screen.show(_page(watch, sorted(changes, key=SORTS[sort]), sort, console))
    if watch.is_over():
        console.print("the run is over")


def _next(sort: str) -> str:
    names = [*SORTS]
    return names[(names.index(sort) + 1) % len(names)]


def _page(watch: Watch, changes: Sequence[Change], sort: str, console: Console) -> Group:
    processes = watch.processes()
    line = (
        f"tach top: {escaped(watch.run.program)} (process {watch.run.main_pid}), "
        f"{processes} process{'' if processes == 1 else 'es'}, {len(changes)} series, "
        f"{sum(each.rate for each in changes):,.0f} calls/s, by {sort}  "
        f"{time.strftime('%H:%M:%S')}"
    )
    room = max(console.height - 3, 1) if console.is_terminal else len(changes)
    cells = [dict(zip(COLUMNS, _cells(each), strict=True)) for each in changes[:room]]
    table = fitting(cells, COLUMNS, DISPENSABLE, console)
    more = len(changes) - room
    head = Text(line, no_wrap=True, overflow="ellipsis")
    return Group(head, table, *([Text(f"and {more} more")] if more > 0 else []))


def _cells(change: Change) -> list[str]:
    durations = change.durations
    times = ["-"] * 5
    if change.calls:
        quantiles = durations.quantiles([0.5, 0.95, 0.99])
        times = [human(each) for each in (durations.mean, *quantiles, durations.max)]
    rate_of_errors = change.errors / change.seconds if change.seconds else 0.0
    running = "-"
    if change.active:
        running = f"{change.active} ({human(change.oldest * 1000)})"
    return [
        escaped(change.name),
        f"{change.rate:,.1f}",
        f"{rate_of_errors:,.1f}" if change.errors else "-",
        *times,
        running,
        f"{change.total_calls:,}",
    ]
