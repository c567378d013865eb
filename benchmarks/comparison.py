"""What a measured call costs under tach, and under each of its peers."""

from __future__ import annotations

import contextlib
import functools
import json
import select
import socket
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import peers
import plot
from report import Figure, Goal, Picture, Section, Table, figure, listed
from scratch import Scratch
from sender import wait_for_end

ROUNDS = 40
PATIENCE = 120.0  # seconds for a turn
KINDS = ("function", "method", "coroutine", "pause", "step")
LIMITS = {
    "cprofile": 0.75,
    "statsd": 1 / 60,
    "prometheus": 1 / 15,
    "ddtrace": 1 / 150,
    "ddtrace-outside": 1 / 150,
}
MEANING = """\
tach, compiled, adds **{tach:.0f} ns** to the call of a function.

Nanoseconds that a call takes longer than the bare one, of a function or method that does nothing,
and of a coroutine; that a pause of a coroutine and a step of a generator take longer within a
measured call. The median over {rounds} rounds and their middle half. Each contender is a process
of its own, in which the bare call was timed too; in each round every contender had its turn. It is
processor time: of the thread for the bare call, of the whole process for the measured one, so that
what a tool does in threads of its own counts. (tach has none; for its sender see below.) The spans
and traces are those of one request or transaction, whose own begin and end do not count, and are
dropped before they are encoded; a daemon of statsd on this machine reads what is sent to it.

`-`: it measures nothing there, or only how long it takes to make the coroutine or generator. Each
contender was asked beforehand whether it had noticed how long a call of that kind lasted."""
RATIOS = "The same as multiples of tach's, compiled, of the same round."
CONFIG = """\
notifiers: {{statsd: {{type: statsd, port: {port}}}}}
targets:
  function: kinds:function
  method: kinds:Subject.method
  coroutine: kinds:coroutine
  pausing: kinds:pausing
  generator: kinds:generator
  lasting.function: kinds:lasting_function
  lasting.method: kinds:Subject.lasting_method
  lasting.coroutine: kinds:lasting_coroutine
  lasting.generator: kinds:lasting_generator
"""

Rounds = list[dict[str, tuple[float, float]]]  # by kind: the measured and the bare call


class Contender(NamedTuple):
    """A way of measuring (of programs/ways.py), and the peer whose environment it needs, if any."""

    title: str
    way: str
    peer: str = ""
    pure: bool = False


CONTENDERS = {
    "bare": Contender("nothing, for comparison", "bare"),
    "tach": Contender("tach, compiled", "tach"),
    "pure": Contender("tach, not compiled", "tach", pure=True),
    "cprofile": Contender("cProfile", "cprofile"),
    "wrapt": Contender("wrapt.FunctionWrapper doing nothing", "wrapt", "wrapt"),
    "yappi": Contender("yappi, wall clock", "yappi", "yappi"),
    "prometheus": Contender("prometheus_client Histogram.time()", "prometheus", "prometheus"),
    "statsd": Contender("statsd timer, UDP", "statsd", "statsd"),
    "dogstatsd": Contender("DogStatsD timed, UDP", "dogstatsd", "datadog"),
    "otel-histogram": Contender(
        "OpenTelemetry histogram, by hand", "otel-histogram", "opentelemetry"
    ),
    "newrelic-outside": Contender(
        "New Relic function_trace, no transaction (measures nothing)",
        "newrelic-outside",
        "newrelic",
    ),
    "ddtrace": Contender("ddtrace tracer.wrap, in a request", "ddtrace", "ddtrace"),
    "ddtrace-outside": Contender("ddtrace tracer.wrap, no request", "ddtrace-outside", "ddtrace"),
    "otel-span": Contender("OpenTelemetry span, in a request", "otel-span", "opentelemetry"),
    "newrelic": Contender("New Relic function_trace, in a transaction", "newrelic", "newrelic"),
    "elastic": Contender("Elastic APM capture_span, in a transaction", "elastic", "elastic"),
}


class Running:
    """A contender that runs; AbsentError with its last words if it does not, as a peer."""

    def __init__(self, scratch: Scratch, name: str) -> None:
        self._peer = CONTENDERS[name].peer
        self._complaints = scratch.directory / f"{name}.err"
        with self._complaints.open("w") as stderr:
            self.process = start(scratch, CONTENDERS[name], stderr)
        try:
            self.kinds: dict[str, bool] = json.loads(self._read())
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """End the process, if it has not ended yet."""
        self.process.kill()
        self.process.communicate()

    def turn(self) -> dict[str, tuple[float, float]]:
        """By kind, what a measured and a bare call take now, in nanoseconds."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        found: dict[str, tuple[float, float]] = json.loads(self._read())
        return found

    def _read(self) -> str:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if readable else ""
        if not line:
            raise peers.ended(self._peer, self._complaints)
        return line


def start(scratch: Scratch, contender: Contender, stderr: object) -> subprocess.Popen[str]:
    """The contender's process."""
    port = free_port()
    program = ("contender.py", contender.way, str(port))
    if contender.peer:
        peers.require(scratch, contender.peer)
        peer = peers.PEERS[contender.peer]
        variables = peer.variables(sink="http://127.0.0.1:9")
        return scratch.start(peer.python, *program, variables=variables, stderr=stderr)
    if contender.way != "tach":
        return scratch.start(scratch.python, *program, stderr=stderr)
    config = scratch.config(f"contender{port}.yaml", CONFIG.format(port=port))
    variables = {**scratch.variables(), "TACH_PURE": "1" if contender.pure else "0"}
    command = (scratch.tach, config, scratch.python, *program)
    return scratch.start(*command, variables=variables, stderr=stderr)


def free_port() -> int:
    """A UDP port of 127.0.0.1 that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def measure(scratch: Scratch, _port: int) -> Section:
    """Run all contenders side by side, by turns."""
    absent: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        running = start_all(scratch, stack, absent)
        times: dict[str, Rounds] = {name: [] for name in running}
        for _ in range(scratch.rounds(ROUNDS)):
            for name, each in running.items():
                if name not in absent:
                    take_turn(each, times[name], name, absent)
    wait_for_end(scratch)
    return section({name: each for name, each in times.items() if name not in absent}, absent)


def start_all(
    scratch: Scratch, stack: contextlib.ExitStack, absent: dict[str, str]
) -> dict[str, Running]:
    """The contenders that can be had; why the others cannot goes into `absent`."""
    running: dict[str, Running] = {}
    for name in CONTENDERS:
        found = peers.attempt(functools.partial(Running, scratch, name))
        if isinstance(found, peers.AbsentError):
            absent[name] = str(found)
        else:
            running[name] = found
            stack.callback(found.end)
    return running


def take_turn(contender: Running, times: Rounds, name: str, absent: dict[str, str]) -> None:
    """Add what it takes now to `times`; if it has ended, why to `absent`."""
    found = peers.attempt(contender.turn)
    if isinstance(found, peers.AbsentError):
        absent[name] = str(found)
    else:
        times.append(found)


def section(times: Mapping[str, Rounds], absent: Mapping[str, str]) -> Section:
    """The tables, the goals and the plot."""
    over = {name: {kind: overheads(found, kind) for kind in KINDS} for name, found in times.items()}
    figures = {name: optional_figures(kinds) for name, kinds in over.items()}
    ratios = {
        name: optional_figures({kind: divided(kinds[kind], over["tach"][kind]) for kind in KINDS})
        for name, kinds in over.items()
        if name not in ("bare", "tach")
    }
    functions = {name: each for name, kinds in figures.items() if (each := kinds["function"])}
    meaning = MEANING.format(tach=functions["tach"].median, rounds=len(times["tach"]))
    drawn = {CONTENDERS[name].title: functions[name] for name in functions if name != "bare"}
    draw = functools.partial(plot.costs, found=drawn)
    names = dict.fromkeys(CONTENDERS[name].peer for name in times)
    meaning += listed("Versions", (peers.PEERS[name].version for name in names if name))
    reasons = (f"{CONTENDERS[name].title} ({why})" for name, why in absent.items())
    meaning += listed("Not here", reasons)
    return Section(
        "A call, beside others",
        meaning,
        ("", *KINDS),
        rows(figures, 0),
        goals(ratios),
        [Table(RATIOS, ("", *KINDS), rows(ratios, 1))],
        Picture("cost-of-a-call.svg", "What a call costs, on a logarithmic scale", draw),
    )


def overheads(rounds: Rounds, kind: str) -> list[float]:
    """By rounds, what a measured call takes longer than a bare one; nothing if it does not."""
    pairs = [each[kind] for each in rounds if kind in each]
    return [measured - bare for measured, bare in pairs]


def divided(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """By rounds, theirs as multiples of ours."""
    return [a / b for a, b in zip(theirs, ours, strict=True)] if theirs else []


Figures = dict[str, Figure | None]


def optional_figures(found: Mapping[str, Sequence[float]]) -> Figures:
    """The figures, of the kinds that there are."""
    return {kind: figure(values) if values else None for kind, values in found.items()}


def rows(found: Mapping[str, Figures], decimals: int) -> list[tuple[str, ...]]:
    """The rows of a table."""
    return [
        (CONTENDERS[name].title, *(each.text(decimals) if each else "-" for each in kinds.values()))
        for name, kinds in found.items()
    ]


def goals(ratios: Mapping[str, Figures]) -> list[Goal]:
    """What tach may cost in proportion to those that are here."""
    functions = {name: ratios[name]["function"] for name in LIMITS if name in ratios}
    return [
        Goal(f"in proportion to {CONTENDERS[name].title}", 1 / each.median, LIMITS[name], "")
        for name, each in functions.items()
        if each
    ]
