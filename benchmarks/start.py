"""What tach, and what other tools add to the start and the end of a program."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import peers
from report import Goal, Section, figure, listed
from scratch import Scratch

REPETITIONS = 30
WARM_UP = 2
LONGEST = 60.0  # seconds
OTHERS = ("opentelemetry", "ddtrace", "newrelic", "elastic")
MEANING = """\
Milliseconds from the command to the program's first line and to its end (one measured call, and
what was measured has been sent), and the modules loaded at the first line: medians of {repetitions}
starts and their middle half, by turns; then how much later the first line is than without any tool.
tach's configuration has been compiled by an earlier start, as all modules were. The others are as
their packages come, and send to a server on this machine that takes all; New Relic's agent is in
its developer mode and sends nothing."""
HEADER = ("", "first line", "end", "modules", "first line later by", "times tach's")
CONFIG = """\
notifiers: {{statsd: {{type: statsd, port: {port}}}}}
targets:
  one: subjects:one
  method: subjects:Subject.one
"""


class Command(NamedTuple):
    """How the program is started."""

    title: str
    argv: tuple[str, ...]
    variables: Mapping[str, str]


class Start(NamedTuple):
    """Milliseconds to the first line and to the end, and the modules that were loaded then."""

    first_line: float
    end: float
    modules: int


def measure(scratch: Scratch, port: int) -> Section:
    """Start a small program over and over; `port` is one of UDP that takes whatever is sent."""
    config = scratch.config("start.yaml", CONFIG.format(port=port))
    with http_sink(scratch) as sink:
        commands, absent = all_commands(scratch, config, sink)
        for command in commands * WARM_UP:
            start(scratch, command)
        rounds = [
            [start(scratch, command) for command in commands]
            for _ in range(scratch.rounds(REPETITIONS))
        ]
    meaning = MEANING.format(repetitions=len(rounds)) + listed("Not here", absent)
    by_title = {
        command.title: starts
        for command, starts in zip(commands, zip(*rounds, strict=True), strict=True)
    }
    return Section("A start", meaning, HEADER, rows(by_title), goals(by_title))


@contextlib.contextmanager
def http_sink(scratch: Scratch) -> Iterator[str]:
    """The address of a server that takes whatever is sent."""
    server = scratch.start(scratch.python, "sink.py")
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.communicate()


def all_commands(scratch: Scratch, config: str, sink: str) -> tuple[list[Command], list[str]]:
    """How to start the program under each tool, and why that cannot be with some."""
    own = scratch.variables()
    found = [
        Command("bare interpreter", (scratch.python, "first.py"), own),
        Command("tach", (scratch.tach, config, scratch.python, "first.py"), own),
    ]
    absent = []
    for name in OTHERS:
        peer = peers.PEERS[name]
        title = " ".join(peer.launcher)
        argv = (str(peer.bin / peer.launcher[0]), *peer.launcher[1:], peer.python, "first.py")
        command = Command(title, argv, peer.variables(sink))
        try:
            peers.require(scratch, name)
            start(scratch, command)
        except (peers.AbsentError, OSError, ValueError, subprocess.SubprocessError) as why:
            absent.append(f"{title} ({why})")
        else:
            found.append(command)
    return found, absent


def start(scratch: Scratch, command: Command) -> Start:
    """One start of `first.py`."""
    began = time.monotonic_ns()
    printed = scratch.run(*command.argv, variables=command.variables, timeout=LONGEST)
    ended = time.monotonic_ns()
    first_line, modules = map(int, printed.split())
    return Start((first_line - began) / 1e6, (ended - began) / 1e6, modules)


ByTitle = Mapping[str, Sequence[Start]]


def rows(found: ByTitle) -> list[tuple[str, ...]]:
    """The rows of the table."""
    tach = later(found, "tach")
    table = []
    for title, starts in found.items():
        first_line, end, modules = (figure(values) for values in zip(*starts, strict=True))
        cells = (title, first_line.text(1), end.text(1), f"{modules.median:.0f}")
        if title == "bare interpreter":
            table.append((*cells, "", ""))
        else:
            more = later(found, title)
            ratio = figure([a / b for a, b in zip(more, tach, strict=True)])
            table.append((*cells, figure(more).text(1), ratio.text(1)))
    return table


def later(found: ByTitle, title: str) -> list[float]:
    """By rounds, milliseconds that the first line is later than without any tool."""
    pairs = zip(found[title], found["bare interpreter"], strict=True)
    return [each.first_line - bare.first_line for each, bare in pairs]


def goals(found: ByTitle) -> list[Goal]:
    """What a start may cost."""
    tach = later(found, "tach")
    bare = found["bare interpreter"]
    modules = max(a.modules - b.modules for a, b in zip(found["tach"], bare, strict=True))
    goals = [
        Goal("to the first line", figure(tach).median, 20, " ms"),
        Goal("modules", modules, 15, ""),
    ]
    for title in found:
        if title not in ("bare interpreter", "tach"):
            ratio = [a / b for a, b in zip(tach, later(found, title), strict=True)]
            what = f"to the first line, in proportion to {title}"
            goals.append(Goal(what, figure(ratio).median, 0.1, ""))
    return goals
