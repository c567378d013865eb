"""The dialect dogstatsd, read by a strict parser of the documented grammar."""

from __future__ import annotations

import math
import random
import re
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ports import HOST
from processes import wait_for

from tach.histogram import Histogram
from tach.notifiers.dogstatsd import Dogstatsd
from tach.notifiers.statsd import Statsd
from tach.samples import Batch, Kind, RunInfo, Sample

RUN = RunInfo("shop", "node1", ("shop",), "abc")
# METRIC:VALUE[:VALUE...]|TYPE[|@RATE][|#TAG:VALUE,...], as the agent takes it from 7.25 on.
LINE = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9_.]{0,199})"
    r"(?P<values>(:-?\d+(\.\d+)?(e[+-]\d+)?)+)"
    r"\|(?P<type>[cgdh])"
    r"(\|@(?P<rate>0\.\d+))?"
    r"(\|#(?P<tags>[A-Za-z][A-Za-z0-9_./-]*:[A-Za-z0-9_.:/-]+"
    r"(,[A-Za-z][A-Za-z0-9_./-]*:[A-Za-z0-9_.:/-]+)*))?"
)


class Point(NamedTuple):
    """One value as an agent counts it: `weight` is int(1 / rate)."""

    name: str
    type: str
    value: float
    weight: int
    tags: dict[str, str]


def parse(line: str) -> list[Point]:
    """The values of a line; AssertionError if an agent could refuse it."""
    match = LINE.fullmatch(line)
    assert match, line
    weight = int(1 / float(match["rate"] or 1))
    assert 1 / weight == float(match["rate"] or 1), "a rate that an agent would round"
    tags = dict(tag.split(":", 1) for tag in (match["tags"] or "").split(",") if tag)
    assert all(len(f"{key}:{value}") <= 200 for key, value in tags.items())
    texts = match["values"][1:].split(":")
    assert match["type"] in "dh" or len(texts) == 1
    return [Point(match["name"], match["type"], float(text), weight, tags) for text in texts]


def sample(series: str, suffix: str, kind: Kind, value: float | Histogram) -> Sample:
    """A sample of a series."""
    return Sample(f"{series}.{suffix}", kind, value, 0.0, series, suffix)


def timing(*nanoseconds: int) -> Sample:
    """Durations."""
    return sample("buy", "duration", "histogram", Histogram.of(list(nanoseconds)).scaled(1e-6))


def points(
    *samples: Sample, tags: dict[str, str] | None = None, most: int = 500, line: int = 1432
) -> list[Point]:
    """What an agent reads of the samples' lines, none of which is too long."""
    dialect = Dogstatsd(tags or {}, "d", None, most, line)
    dialect.introduce(RUN)
    lines = [text for each in samples for text in dialect.lines(each)]
    assert all(len(text) <= line for text in lines)
    return [point for text in lines for point in parse(text)]


BUY = {"program": "shop", "target": "buy"}


def test_the_target_is_a_tag() -> None:
    """Names say what is measured, tags where: as dashboards of all targets need it."""
    assert points(
        sample("buy", "calls", "counter", 3),
        sample("buy", "inflight", "gauge", 2),
        sample("buy", "errors.by_type.KeyError", "counter", 1),
        timing(1_500_000),
    ) == [
        Point("tach.calls", "c", 3, 1, BUY),
        Point("tach.inflight", "g", 2, 1, BUY),
        Point("tach.errors.by_type", "c", 1, 1, {**BUY, "type": "KeyError"}),
        Point("tach.duration", "d", 1.5, 1, BUY),
    ]


def test_the_bytes_of_a_line() -> None:
    """Times in milliseconds; constant tags; values of one rate in one line."""
    dialect = Dogstatsd({"env": "prod"}, "h", "p", 500, 1432)
    dialect.introduce(RUN)
    durations = Histogram.of([1, 100]).scaled(1e-6)
    given_ = Sample("p.buy.duration", "histogram", durations, 0.0, "p.buy", "duration")

    assert list(dialect.lines(given_)) == [
        "tach.duration:0.000001:0.0001|h|#program:shop,env:prod,target:buy"
    ]


def test_a_gauge_below_0_is_absolute() -> None:
    """There is no 0 before it as in statsd's own dialect: the agent knows no deltas."""
    assert points(sample("buy", "depth", "gauge", -5)) == [Point("tach.depth", "g", -5, 1, BUY)]


def test_the_runtime_and_tach_itself_have_no_target() -> None:
    """They are of no function; an own type with a name of its own keeps it."""
    found = points(
        sample("p.runtime", "threads", "gauge", 4),
        sample("p.tach", "sent", "counter", 9),
        sample("buy", "queue-depth", "gauge", 1),
    )

    assert [(each.name, each.tags.get("target")) for each in found] == [
        ("tach.runtime.threads", None),
        ("tach.self.sent", None),
        ("tach.queue_depth", "buy"),
    ]


def test_tags_keep_to_their_alphabet() -> None:
    """A program may be called anything: what a tag cannot hold becomes _."""
    dialect = Dogstatsd({}, "d", None, 500, 1432)
    dialect.introduce(RUN._replace(program="a b,c|#é" + "x" * 300))
    (line,) = dialect.lines(sample("buy", "calls", "counter", 1))
    (point,) = parse(line)

    assert point.tags["program"].startswith("a_b_c___x")


@given(st.lists(st.integers(0, 10**11), max_size=300), st.integers(64, 200), st.integers(200, 1500))
def test_weights_add_up_and_lines_are_short(nanoseconds: list[int], most: int, line: int) -> None:
    """However many calls there are: an exact count, and no line above the limit."""
    found = points(timing(*nanoseconds), most=most, line=line)

    assert sum(each.weight for each in found) == len(nanoseconds)
    assert len(found) <= most


def test_quantiles_and_means_are_right_of_many_calls() -> None:
    """Of 100,000 calls some values with weights: what the agent makes of them is within 1 %."""
    generator = random.Random(1)
    durations = sorted(int(generator.lognormvariate(14, 0.5)) for _ in range(100_000))
    found = sorted(points(timing(*durations)), key=lambda each: each.value)
    assert len(found) <= 500

    for fraction in (0.5, 0.75, 0.9, 0.95, 0.99):
        below, value = 0, 0.0
        for each in found:
            below += each.weight
            value = each.value
            if below >= fraction * len(durations):
                break
        exact = durations[int(fraction * len(durations))] / 1e6
        assert value == pytest.approx(exact, rel=0.01)
    mean = sum(each.value * each.weight for each in found) / len(durations)
    assert mean == pytest.approx(sum(durations) / len(durations) / 1e6, rel=0.01)


@contextmanager
def agent(family: int) -> Iterator[tuple[socket.socket, dict[str, Any]]]:
    """A socket of datagrams as an agent has it, and the options to reach it."""
    with tempfile.TemporaryDirectory(prefix="dsd-") as directory:
        receiver = socket.socket(family, socket.SOCK_DGRAM)
        receiver.settimeout(10)
        path = f"{directory}/dsd.socket"
        receiver.bind(path if family == socket.AF_UNIX else (HOST, 0))
        with receiver:
            if family == socket.AF_UNIX:
                yield receiver, {"path": path}
            else:
                yield receiver, {"port": receiver.getsockname()[1]}


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_packets_arrive_over_udp_and_a_unix_socket(family: int) -> None:
    """Many lines a packet, none longer than allowed; a unix socket takes datagrams here."""
    with agent(family) as (receiver, options):
        notifier = Statsd(dialect="dogstatsd", max_packet=600, tags={"env": "x"}, **options)
        notifier.introduce(RUN)
        samples = [sample(f"s{i}", "calls", "counter", i) for i in range(1, 41)]
        notifier.send(Batch([*samples, sample("s", "depth", "gauge", math.nan)], 0.0, 1.0))
        packets = [receiver.recv(65536) for _ in range(notifier.tallies["packets"])]
        notifier.close()

    lines = [line for packet in packets for line in packet.decode("ascii").splitlines()]
    assert [parse(line)[0].value for line in lines] == list(range(1, 41))
    assert all(parse(line)[0].tags["env"] == "x" for line in lines)
    assert 1 < len(packets) < 10
    assert max(map(len, packets)) <= 600
    assert notifier.tallies["invalid"] == 1


def test_an_agent_that_was_restarted_gets_the_numbers() -> None:
    """A unix socket that is gone is an error; the batch is sent once there is another."""
    with tempfile.TemporaryDirectory(prefix="dsd-") as directory:
        path = f"{directory}/dsd.socket"
        notifier = Statsd(dialect="dogstatsd", path=path)
        first, second = (Batch([sample("buy", "calls", "counter", 3)], 0.0, 1.0) for _ in range(2))
        with pytest.raises(FileNotFoundError):
            notifier.send(first)
        for given_ in (first, second):  # the second time the socket of the first is dead
            Path(path).unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
                receiver.bind(path)
                receiver.settimeout(10)
                wait_for(partial(taken, notifier, given_), 10, "the batch to be taken")
                assert receiver.recv(1000) == b"tach.calls:3|c|#target:buy"
        notifier.close()


def taken(notifier: Statsd, batch: Batch) -> bool:
    """Whether the batch could be sent."""
    try:
        notifier.send(batch)
    except OSError:
        return False
    return True


def test_a_whole_run_arrives(
    run_tach: Callable[..., subprocess.CompletedProcess[str]], programs: Path
) -> None:
    """From the program to the agent: each call is counted, under the target's own name."""
    with agent(socket.AF_INET) as (receiver, options):
        config = {
            "prefix": "p.{host}",
            "notifiers": {
                "dog": {"type": "statsd", "dialect": "dogstatsd", "strip": "p.{host}", **options}
            },
            "targets": {"work": "targets:function"},
        }
        assert run_tach(config, "steady.py", 3, 100, 0.1, cwd=programs).returncode == 0
        found: list[Point] = []

        def calls() -> float:
            lines = receiver.recv(65536).decode("ascii").splitlines()
            found.extend(point for line in lines for point in parse(line))
            return sum(each.value for each in found if each.name == "tach.calls")

        wait_for(lambda: calls() == 300, 20)
    of_calls = [each for each in found if each.name == "tach.calls"]
    assert {each.tags["target"] for each in of_calls} == {"work"}
    assert {each.tags["program"] for each in of_calls} == {"steady"}
    assert sum(each.weight for each in found if each.name == "tach.duration") == 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dialect": "datadog"}, "dialect 'datadog' is none of statsd, dogstatsd"),
        ({"tags": {"a": "b"}}, "'tags' is for the dialect dogstatsd; add 'dialect: dogstatsd'"),
        ({"distributions": False}, "'distributions' is for the dialect dogstatsd"),
        ({"strip": "a"}, "'strip' is for the dialect dogstatsd"),
        ({"dialect": "dogstatsd", "tags": {"1": "b"}}, "tag '1' must begin with a letter"),
        ({"dialect": "dogstatsd", "tags": {"target": "b"}}, "tag 'target' is one of tach's own"),
        ({"dialect": "dogstatsd", "tags": {"a": "b,c"}}, "tag 'a': the value 'b,c' must be of"),
        ({"dialect": "dogstatsd", "tags": {"a": "b" * 200}}, "tag 'a' is too long: at most 200"),
        (
            {"dialect": "dogstatsd", "tags": {f"a{i}": "b" * 190 for i in range(3)}},
            "tags are too long: at most 500 bytes together",
        ),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    """`check` says which option is wrong, and what it must be."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Statsd.check(**options)
