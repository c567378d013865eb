"""What tach and its peers take from a service under load."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, TypeVar

import peers
from report import Figure, Goal, Section, Table, figure, listed
from scratch import Scratch
from start import http_sink
from web_service import SHORT, TARGETS, Kind, Service, Slice

ROUNDS = 16
LONG = 1.0  # seconds of load at a time, such that tach's sender sends once meanwhile
RATE = 20_000  # measured calls a second to be had, where all functions are
MEANING = """\
A service in Flask under gunicorn (one worker of the class sync, a unix socket), under load from
another process, which has always two requests on their way. A request calls {calls} of {targets}
functions that do nothing, so that at full speed there are more than {rate:,} such calls a second.
Each way of measuring has a service of its own; the load is on it and on the bare one by turns, for
{long:g} s each with tach, which then sends once in each of its turns, else for {short:g} s,
{rounds} times at least. The ratios are those of a turn to the bare one beside it: their median and
middle half. Processor time is that of all processes of the service for a request; tach's sender is
not among them, and is on the right, in % of a core. Calls are those measured, a second. Where it
says `200 functions`, each is decorated; else the tool is as its package comes."""
HEADER = ("", "calls", "throughput", "median latency", "p99", "processor time", "sender")
MEMORY = """\
Memory in MB afterwards, of gunicorn and its worker together, and of tach's guard and sender:
resident, and with each shared page divided by those that share it."""
KINDS = (
    Kind("bare, against itself"),
    Kind("tach, 1 target", 1, seconds=LONG),
    Kind("tach, 10 targets", 10, seconds=LONG),
    Kind(f"tach, {TARGETS} targets", TARGETS, seconds=LONG, turns=2),
    Kind("statsd timer, 200 functions", peer="statsd", way="statsd"),
    Kind("DogStatsD timed, 200 functions", peer="datadog", way="dogstatsd"),
    Kind("prometheus_client, 200 functions", peer="prometheus", way="prometheus"),
    Kind("opentelemetry-instrument", peer="opentelemetry"),
    Kind("OpenTelemetry, spans of 200 functions", peer="opentelemetry", way="otel-span"),
    Kind("ddtrace-run", peer="ddtrace"),
    Kind("ddtrace, spans of 200 functions", peer="ddtrace", way="ddtrace"),
    Kind("newrelic-admin run-program", peer="newrelic"),
    Kind("New Relic, traces of 200 functions", peer="newrelic", way="newrelic"),
    Kind("elasticapm-run", peer="elastic"),
    Kind("Elastic APM, spans of 200 functions", peer="elastic", way="elastic"),
)

Made = TypeVar("Made")
Pairs = dict[Kind, list[tuple[Slice, Slice]]]  # of a service and of the bare one


def measure(scratch: Scratch, port: int) -> Section:
    """Run the services side by side; put load on each and on the bare one by turns."""
    absent: dict[Kind, str] = {}
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(http_sink(scratch))
        load = scratch.start(scratch.python, "load.py")
        stack.callback(load.communicate)
        bare, *services = start_all(scratch, stack, port, sink, absent)
        for service in services:
            warm = functools.partial(Service.slice, load=load, calls=TARGETS, seconds=SHORT)
            attempt(service, absent, warm)
        calls = calls_for(RATE, [bare.slice(load, 0, SHORT) for _ in range(9)])
        pairs: Pairs = {service.kind: [] for service in services}
        turns = [service for service in services for _ in range(service.kind.turns)]
        for number in range(scratch.rounds(ROUNDS)):
            for service in turns:
                seconds = scratch.seconds(service.kind.seconds)
                asked = {"load": load, "calls": calls, "seconds": seconds}
                turn = functools.partial(pair, bare=bare, last=number % 2, **asked)
                if found := attempt(service, absent, turn):
                    pairs[service.kind].append(found)
        here = [service for service in services if service.kind not in absent]
        memory = [service.memory() for service in here]
        for service in here:
            service.check(scratch)
    return section({service.kind: pairs[service.kind] for service in here}, memory, absent, calls)


def calls_for(rate: float, slices: Sequence[Slice]) -> int:
    """How many calls a request must make for so many a second; they slow it down a little."""
    return math.ceil(1.2 * rate / median(each.rate for each in slices))


def pair(service: Service, bare: Service, last: int, **asked: Any) -> tuple[Slice, Slice]:
    """What is `asked` of the service and of the bare one, of that first or `last`."""
    order = (service, bare) if last else (bare, service)
    found = {each: each.slice(**asked) for each in order}
    return found[service], found[bare]


def attempt(
    service: Service, absent: dict[Kind, str], turn: Callable[[Service], Made]
) -> Made | None:
    """What its turn is; nothing, and why is in `absent`, if the peer has failed, now or before."""
    if service.kind in absent:
        return None
    found = peers.attempt(functools.partial(turn, service))
    if isinstance(found, peers.AbsentError):
        absent[service.kind] = str(found)
        return None
    return found


def start_all(
    scratch: Scratch, stack: contextlib.ExitStack, port: int, sink: str, absent: dict[Kind, str]
) -> list[Service]:
    """The bare service, and the others that can be had; why the rest cannot goes into `absent`."""
    services = []
    for number, kind in enumerate((Kind("bare"), *KINDS)):
        found = peers.attempt(functools.partial(Service, scratch, kind, number, port, sink))
        if isinstance(found, peers.AbsentError):
            absent[kind] = str(found)
        else:
            services.append(found)
            stack.callback(found.end)
    return services


def section(
    pairs: Pairs, memory: Sequence[tuple[str, ...]], absent: Mapping[Kind, str], calls: int
) -> Section:
    """The tables and the goals."""
    rounds = min(map(len, pairs.values()))
    meaning = MEANING.format(
        calls=calls, targets=TARGETS, rate=RATE, short=SHORT, long=LONG, rounds=rounds
    )
    meaning += listed("Not here", (f"{kind.title} ({why})" for kind, why in absent.items()))
    all_targets = next(kind for kind in pairs if kind.targets == TARGETS)
    lost = 100 * (1 - ratios(pairs[all_targets], "rate").median)
    goals = [
        Goal(f"throughput lost with {TARGETS} targets", lost, 1, " %"),
        Goal("measured calls there", measured(all_targets, pairs, calls), RATE, "/s", least=True),
    ]
    rows = [row(kind, pairs, calls) for kind in pairs]
    header = ("", "resident", "proportional", "sender, resident", "proportional")
    return Section(
        "A service under load", meaning, HEADER, rows, goals, [Table(MEMORY, header, memory)]
    )


def row(kind: Kind, pairs: Pairs, calls: int) -> tuple[str, ...]:
    """A row of the table."""
    found = pairs[kind]
    cells = [ratios(found, name).text(3) for name in ("rate", "median", "p99", "processor")]
    sender = figure([100 * own.sender for own, _ in found]).text(1) if kind.targets else ""
    return kind.title, f"{measured(kind, pairs, calls):,.0f}", *cells, sender


def ratios(pairs: Sequence[tuple[Slice, Slice]], name: str) -> Figure:
    """Of a field, in proportion to that of the bare service."""
    return figure([getattr(own, name) / getattr(bare, name) for own, bare in pairs])


def measured(kind: Kind, pairs: Pairs, calls: int) -> float:
    """How many calls are measured in a second."""
    rate = figure([own.rate for own, _ in pairs[kind]]).median
    return rate * measured_calls(kind, calls)


def measured_calls(kind: Kind, calls: int) -> float:
    """How many calls of a request are measured: `handle`, and of the others as many as are."""
    others = TARGETS - 1
    return (1 + calls * (kind.measured - 1) / others) if kind.measured else 0.0
