"""What tach adds to the start and the end of a program."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from report import Goal, Section, figure
from scratch import Scratch

REPETITIONS = 40
WARM_UP = 3
MEANING = """\
Milliseconds from the command to the program's first line and to its end (one measured call, and the
sender has sent it), and the modules loaded at the first line: medians of {repetitions} starts and
their middle half, with and without tach by turns. The configuration has been compiled by an earlier
start."""
CONFIG = """\
notifiers: {{statsd: {{type: statsd, port: {port}}}}}
targets:
  one: subjects:one
  method: subjects:Subject.one
"""


class Start(NamedTuple):
    """Milliseconds to the first line and to the end, and the modules that were loaded then."""

    first_line: float
    end: float
    modules: int


def measure(scratch: Scratch, port: int) -> Section:
    """Start a small program over and over; `port` is one of UDP that takes whatever is sent."""
    config = scratch.config("start.yaml", CONFIG.format(port=port))
    bare = (scratch.python, "first.py")
    tach = (scratch.tach, config, *bare)
    for _ in range(WARM_UP):
        start(scratch, bare), start(scratch, tach)
    pairs = [(start(scratch, bare), start(scratch, tach)) for _ in range(REPETITIONS)]
    over = [Start(*(t - b for t, b in zip(*reversed(pair), strict=True))) for pair in pairs]
    rows = [
        row("bare interpreter", [pair[0] for pair in pairs]),
        row("under tach", [pair[1] for pair in pairs]),
        row("difference", over),
    ]
    goals = [
        Goal("to the first line", figure([each.first_line for each in over]).median, 25, " ms"),
        Goal("modules", max(each.modules for each in over), 20, ""),
    ]
    meaning = MEANING.format(repetitions=REPETITIONS)
    return Section("A start", meaning, ("", "first line", "end", "modules"), rows, goals)


def start(scratch: Scratch, command: tuple[str, ...]) -> Start:
    """One start of `first.py`."""
    began = time.monotonic_ns()
    printed = scratch.run(*command)
    ended = time.monotonic_ns()
    first_line, modules = map(int, printed.split())
    return Start((first_line - began) / 1e6, (ended - began) / 1e6, modules)


def row(title: str, starts: Sequence[Start]) -> tuple[str, ...]:
    """A row of the table."""
    first_line, end, modules = (figure(values) for values in zip(*starts, strict=True))
    return title, first_line.text(1), end.text(1), f"{modules.median:.0f}"
