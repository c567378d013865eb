from __future__ import annotations

import configparser
import http.server
import json
import pickle
import re
import socket
import struct
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from processes import wait_for

from tach.config import load
from tach.histogram import Histogram
from tach.notifiers.graphite import Graphite, tag_text
from tach.samples import Batch, Kind, RunInfo, Sample

EXAMPLES = Path(__file__).parent.parent / "examples" / "graphite"
HOST = "127.0.0.1"
LONGEST_PICKLE = 1 << 20
STEP = 1_800_000_000  # a whole multiple of 60
PROTOCOLS = pytest.mark.parametrize("protocol", ["plaintext", "pickle"])


class Listener:
    """Accepts connections of one sender, one after the other, and keeps what each brought."""

    def __init__(self, reads: bool = True) -> None:
        self.received: list[bytearray] = []
        self._connections: list[socket.socket] = []
        self._reads = reads
        self._socket = socket.create_server((HOST, 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hang up, and listen no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)
        self.hang_up()

    def hang_up(self) -> None:
        """Close all connections, but go on listening."""
        for each in self._connections:
            with suppress(OSError):  # the peer may be gone
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._connections.clear()

    def lines(self, connection: int = -1) -> list[str]:
        """The lines that a connection brought, the last one by default."""
        text = self.received[connection].decode("ascii")
        assert text[-1:] in ("", "\n")
        return text.splitlines()

    def wait_for_lines(self, count: int, connection: int = -1) -> list[str]:
        """The lines, as soon as there are so many."""
        wait_for(lambda: any(self.received[connection:]), message="a connection that brings lines")
        wait_for(lambda: self.received[connection].count(b"\n") >= count)
        return self.lines(connection)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.received.append(bytearray())
            self._connections.append(connection)
            if self._reads:
                reader = threading.Thread(
                    target=self._read, args=(connection, self.received[-1]), daemon=True
                )
                reader.start()

    def _read(self, connection: socket.socket, received: bytearray) -> None:
        connection.settimeout(0.05)
        while connection.fileno() >= 0:
            try:
                data = connection.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError:
                return
            if not data:
                return
            received.extend(data)


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A receiver that keeps the bytes it gets."""
    with closing(Listener()) as listener:
        yield listener


@pytest.fixture(scope="module")
def carbon() -> Iterator[Any]:
    """A carbon-cache with steps of one second, for all tests that do not stop it."""
    from carbon_daemon import CarbonDaemon, require_carbon

    require_carbon()
    with CarbonDaemon() as daemon:
        yield daemon


@pytest.fixture
def own_carbon() -> Iterator[Any]:
    """A carbon-cache for one test, which may stop it."""
    from carbon_daemon import CarbonDaemon, require_carbon

    require_carbon()
    with CarbonDaemon() as daemon:
        yield daemon


def sample(suffix: str, kind: Kind, value: float | Histogram, slot: int | None = None) -> Sample:
    """A sample of the series `shop`."""
    return Sample(f"shop.{suffix}", kind, value, 0.0, "shop", suffix, slot)


def calls(count: float, slot: int | None = None) -> Sample:
    """A sample of so many calls."""
    return sample("calls", "counter", count, slot)


def milliseconds(*durations: float) -> Histogram:
    """Durations as the metric `timing` gives them."""
    return Histogram.of([round(each * 1e6) for each in durations]).scaled(1e-6)


def timing(*durations: float) -> Sample:
    """A sample of calls that took so many milliseconds."""
    return sample("duration", "histogram", milliseconds(*durations))


def batch(*samples: Sample, start: float = STEP, end: float | None = None) -> Batch:
    """A batch, of one minute by default."""
    return Batch(samples, start, start + 60.0 if end is None else end)


def points(lines: list[str]) -> dict[tuple[str, int], float]:
    """Each (path, timestamp) with its value, the last one where there are several."""
    split = [line.split(" ") for line in lines]
    return {(path, int(stamp)): float(value) for path, value, stamp in split}


def sent_by(listener: Listener, *batches: Batch, **options: Any) -> dict[str, float]:
    """The values by path, after the batches have been sent."""
    with closing(Graphite(HOST, listener.port, **options)) as graphite:
        for each in batches:
            graphite.send(each)
        lines = listener.wait_for_lines(graphite.tallies["lines"])
        assert graphite.tallies["bytes"] == len(listener.received[-1])
    return {path: value for (path, _), value in points(lines).items()}


def recent_step() -> int:
    """A second that is just over: carbon drops what is old."""
    return int(time.time()) - 2


@PROTOCOLS
def test_one_step_is_stored_exactly(carbon: Any, protocol: str) -> None:
    """100 calls of 1 to 100 ms in one step are stored as one value a path, read with whisper."""
    step = recent_step()
    port = carbon.port if protocol == "plaintext" else carbon.pickle_port
    name = f"whole.{protocol}"
    durations = milliseconds(*range(1, 101))
    duration = Sample(f"{name}.duration", "histogram", durations, 0.0, name, "duration")
    with closing(Graphite(HOST, port, protocol, interval=1)) as graphite:
        graphite.send(Batch([duration], step, step + 1.0))
        stored = wait_for(lambda: stored_below(carbon, f"{name}.duration.", 10))

    values = {path: by_step[step] for path, by_step in stored.items()}
    assert {tuple(by_step) for by_step in stored.values()} == {(step,)}
    exact = ("count", "rate", "sum", "min", "max", "mean")
    assert [values[each] for each in exact] == [100, 100, 5050, 1, 100, 50.5]
    for percentile in (50, 90, 95, 99):
        assert values[f"p{percentile}"] == pytest.approx(percentile, rel=0.01)


def stored_below(carbon: Any, prefix: str, count: int) -> dict[str, dict[int, float]]:
    """What carbon has stored of the series that begin so, when it has so many; else nothing."""
    names = [name for name in carbon.names() if name.startswith(prefix)]
    stored = {name.removeprefix(prefix): carbon.stored(name) for name in names}
    return stored if len(stored) == count and all(stored.values()) else {}


def test_each_kind_of_sample_has_its_paths(listener: Listener) -> None:
    """Distributions, counters, errors by class and gauges: the paths that users look for."""
    values = sent_by(
        listener,
        batch(
            timing(10, 20, 30),
            calls(6),
            sample("errors", "counter", 3),
            sample("errors.by_type.KeyError", "counter", 2),
            sample("cancelled", "counter", 1),
            sample("total", "counter", -12),
            sample("inflight", "gauge", 4),
            sample("inflight_max", "gauge", 7),
        ),
    )

    percentiles = {f"shop.duration.{name}" for name in ("p50", "p90", "p95", "p99")}
    assert {path: values[path] for path in values.keys() - percentiles} == {
        "shop.duration.count": 3,
        "shop.duration.rate": 0.05,
        "shop.duration.sum": 60,
        "shop.duration.min": 10,
        "shop.duration.max": 30,
        "shop.duration.mean": 20,
        "shop.calls.count": 6,
        "shop.calls.rate": 0.1,
        "shop.errors.total.count": 3,
        "shop.errors.total.rate": 0.05,
        "shop.errors.by_type.KeyError.count": 2,
        "shop.cancelled.count": 1,
        "shop.total.count": -12,
        "shop.total.rate": -0.2,
        "shop.inflight.last": 4,
        "shop.inflight.max": 7,
    }
    assert percentiles <= values.keys()


def test_the_bytes_of_a_line(listener: Listener) -> None:
    """A line is path, value and whole seconds, in ASCII; whole numbers are written as such."""
    with closing(Graphite(HOST, listener.port)) as graphite:
        graphite.send(batch(calls(90)))
        lines = listener.wait_for_lines(2)

    assert lines == [f"shop.calls.count 90 {STEP}", f"shop.calls.rate 1.5 {STEP}"]


def test_a_series_without_calls(listener: Listener) -> None:
    """Where no call was, count and rate are 0, and nothing else is said of the durations."""
    values = sent_by(listener, batch(timing(), calls(0)))

    assert values == dict.fromkeys(
        ("shop.duration.count", "shop.duration.rate", "shop.calls.count", "shop.calls.rate"), 0
    )


def test_a_second_batch_of_a_step_brings_the_first_along(listener: Listener) -> None:
    """What carbon is sent last for a step is all of it: it keeps nothing else."""
    first = batch(
        timing(*range(1, 31)), calls(30), sample("g", "gauge", 9), sample("g_max", "gauge", 9),
        end=STEP + 20.0,
    )  # fmt: skip
    second = batch(
        timing(*range(31, 101)), calls(70), sample("g", "gauge", 3), sample("g_max", "gauge", 3),
        start=STEP + 20.0, end=STEP + 60.0,
    )  # fmt: skip
    values = sent_by(listener, first, second)

    wanted = {"duration.count": 100, "duration.mean": 50.5, "duration.min": 1, "duration.max": 100}
    wanted |= {"calls.count": 100, "calls.rate": 100 / 60, "g.last": 3, "g.max": 9}
    assert {path: values[f"shop.{path}"] for path in wanted} == wanted
    assert values["shop.duration.p90"] == pytest.approx(90, rel=0.01)


def test_merging_with_an_idle_batch_changes_nothing(listener: Listener) -> None:
    """A batch without calls in the same step leaves the distribution as it was."""
    empty = batch(timing(), start=STEP + 30.0)
    values = sent_by(listener, empty, batch(timing(5, 6.5)), empty)

    assert (values["shop.duration.min"], values["shop.duration.max"]) == (5, 6.5)
    assert values["shop.duration.count"] == 2


def test_a_batch_given_again_counts_once(listener: Listener) -> None:
    """The sender offers a batch again when it failed: its calls are not added twice."""
    same = batch(calls(5), timing(1, 2))
    values = sent_by(listener, same, same, same)

    assert (values["shop.calls.count"], values["shop.duration.count"]) == (5, 2)


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [
        (0.002, 60.003, 0),
        (0.5, 60.001, 0),
        (30.0, 60.002, 0),
        (30.0, 31.0, 0),
        (59.999, 60.01, 0),
        (60.001, 119.0, 60),
        (0.001, 119.9, 0),  # the sender was late
        (0.001, 120.001, 60),  # and missed a step
        (0.001, 185.0, 120),  # and two
        (59.9995, 120.001, 60),  # the batch before had come too early
        (30.0, 7230.0, 7140),  # the clock was put forward
        (70.0, 50.0, 0),  # the clock was set back: never a stamp that is still to come
    ],
)
def test_the_stamp_is_where_the_step_began(
    listener: Listener, start: float, end: float, step: int
) -> None:
    """Each batch is stamped with the whole multiple of the interval at which its step began: of
    several steps that have passed with it, the last one."""
    with closing(Graphite(HOST, listener.port)) as graphite:
        graphite.send(batch(calls(1), start=STEP + start, end=STEP + end))
        lines = listener.wait_for_lines(2)

    assert {stamp for _, stamp in points(lines)} == {STEP + step}


@pytest.mark.parametrize(("end", "rate"), [(60.0, 6), (60.1, 6), (20.0, 6), (119.9, 3)])
def test_the_rate_is_that_of_the_step(listener: Listener, end: float, rate: float) -> None:
    """Per second of the step, also where a run began or ended in it; of more if it was missed."""
    values = sent_by(listener, batch(calls(360), end=STEP + end))

    assert values["shop.calls.rate"] == rate


def test_missed_steps_are_a_gap(carbon: Any) -> None:
    """After steps without the sender their calls stand in the last of them, each counted once."""
    first = recent_step() - 10
    with closing(Graphite(HOST, carbon.port, interval=1)) as graphite:
        for count, start, end in ((1, 0.0, 1.002), (30, 1.002, 4.2), (2, 4.2, 5.001)):
            series = sample("missed", "counter", count)
            graphite.send(Batch([series], first + start, first + end))
        carbon.wait_for_value("shop.missed.count", first + 4, 2)

    assert carbon.stored("shop.missed.count") == {first: 1, first + 3: 30, first + 4: 2}
    assert carbon.stored("shop.missed.rate") == {first: 1, first + 3: 10, first + 4: 2}


def test_processes_apart(listener: Listener) -> None:
    """Samples with a slot have it in their path, so that no worker overwrites another."""
    values = sent_by(listener, batch(calls(1, slot=0), calls(2, slot=1)), per="process")

    assert values["shop.process-0.calls.count"] == 1
    assert values["shop.process-1.calls.count"] == 2
    assert Graphite(per="process").per_process
    assert not Graphite(per="run").per_process


def test_tags_are_sorted(listener: Listener) -> None:
    """Tags stand after the path in order, so that every relay hashes them alike."""
    values = sent_by(listener, batch(calls(1)), tags={"region": "north", "dc": "a-1", "z": "x=y"})

    assert set(values) == {
        "shop.calls.count;dc=a-1;region=north;z=x=y",
        "shop.calls.rate;dc=a-1;region=north;z=x=y",
    }


def test_carbon_takes_the_tags(carbon: Any) -> None:
    """A tagged series is stored as such by a real carbon."""
    step = recent_step()
    with closing(Graphite(HOST, carbon.port, interval=1, tags={"b": "2", "a": "1"})) as graphite:
        graphite.send(Batch([calls(8)], step, step + 1.0))
        carbon.wait_for_value("shop.calls.count;a=1;b=2", step, 8)


def test_what_is_no_number_stays_here(listener: Listener) -> None:
    """NaN and infinity would spoil carbon's averages: they are left out and counted."""
    with closing(Graphite(HOST, listener.port)) as graphite:
        graphite.send(
            batch(
                sample("a", "gauge", float("nan")),
                sample("b", "gauge", float("inf")),
                sample("c" * 2000, "gauge", 1),
                sample("d", "gauge", -1.5e-7),
            )
        )
        lines = listener.wait_for_lines(1)

        assert lines == [f"shop.d.last -1.5e-07 {STEP}"]
        assert graphite.tallies["invalid"] == 3


def test_pickles_are_small(listener: Listener) -> None:
    """A pickle holds at most 500 points and stays below the size at which carbon hangs up."""
    many = [sample(f"{i:04}{'x' * 1900}", "gauge", i + 0.5) for i in range(1201)]
    with closing(Graphite(HOST, listener.port, "pickle")) as graphite:
        graphite.send(batch(*many))
        size = graphite.tallies["bytes"]
        wait_for(lambda: len(listener.received[0]) == size)
    frames, rest = [], bytes(listener.received[0])
    while rest:
        (length,) = struct.unpack("!L", rest[:4])
        frames.append(rest[4 : 4 + length])
        rest = rest[4 + length :]

    assert max(map(len, frames)) < LONGEST_PICKLE
    assert {frame[:2] for frame in frames} == {b"\x80\x02"}  # protocol 2
    unpickled = [pickle.loads(frame) for frame in frames]
    assert list(map(len, unpickled)) == [500, 500, 201]
    assert [point for frame in unpickled for point in frame] == [
        (f"{each.name}.last", (STEP, each.value)) for each in many
    ]


def test_one_connection_is_kept(listener: Listener) -> None:
    """All batches go through one connection as long as it holds."""
    with closing(Graphite(HOST, listener.port)) as graphite:
        for minute in range(5):
            graphite.send(batch(calls(minute), start=STEP + 60.0 * minute))
        listener.wait_for_lines(10)

        assert len(listener.received) == 1
        assert (graphite.tallies["reconnects"], graphite.tallies["resent"]) == (0, 0)


def test_a_peer_that_hung_up_is_noticed(listener: Listener) -> None:
    """After the peer hung up nothing is sent into the void; the step before goes out again."""
    with closing(Graphite(HOST, listener.port)) as graphite:
        for minute in range(2):
            graphite.send(batch(calls(minute + 1), start=STEP + 60.0 * minute))
        listener.wait_for_lines(4)
        listener.hang_up()
        graphite.send(batch(calls(3), start=STEP + 120.0))
        lines = listener.wait_for_lines(4, connection=1)

        assert points(lines) == {
            ("shop.calls.count", STEP + 60): 2,
            ("shop.calls.rate", STEP + 60): 2 / 60,
            ("shop.calls.count", STEP + 120): 3,
            ("shop.calls.rate", STEP + 120): 3 / 60,
        }
        assert (graphite.tallies["reconnects"], graphite.tallies["resent"]) == (1, 2)


def test_a_receiver_that_does_not_read() -> None:
    """A receiver that stops reading costs time-outs and OSErrors, and memory for two steps."""

    def wide(step: int) -> Batch:
        many = (sample(f"{i}{'x' * 180}", "gauge", i) for i in range(10_000))
        return batch(*many, start=STEP + 60.0 * step)

    with (
        closing(Listener(reads=False)) as stuck,
        closing(Graphite(HOST, stuck.port, timeout=0.1)) as graphite,
    ):
        held = []
        tracemalloc.start()
        for step in range(12):
            began = time.monotonic()
            with pytest.raises(OSError, match="timed out"):
                graphite.send(wide(step))
            assert time.monotonic() - began < 10
            held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert max(held) < 1.1 * held[1]
        assert graphite.tallies["resent"] == 0


@PROTOCOLS
def test_carbon_comes_back(own_carbon: Any, protocol: str) -> None:
    """While carbon is away sending fails; afterwards every step has its own value, and no other."""
    first = recent_step() - 10
    port = own_carbon.port if protocol == "plaintext" else own_carbon.pickle_port
    with closing(Graphite(HOST, port, protocol, interval=1)) as graphite:
        for second in range(6):
            each = Batch([calls(10 + second)], first + second, first + second + 1.0)
            if second == 2:
                own_carbon.wait_for_value("shop.calls.count", first + 1, 11)
                own_carbon.stop()
                with pytest.raises(ConnectionRefusedError):
                    graphite.send(each)
                own_carbon.start()
            graphite.send(each)
        own_carbon.wait_for_value("shop.calls.count", first + 5, 15)

        assert own_carbon.stored("shop.calls.count") == {first + i: 10 + i for i in range(6)}
        assert graphite.tallies["reconnects"] == 1
        assert graphite.tallies["resent"] == 2


def test_what_a_killed_carbon_had_not_read_is_sent_again(own_carbon: Any) -> None:
    """The step that was on its way when carbon was killed arrives with the next one."""
    first = recent_step() - 10
    with closing(Graphite(HOST, own_carbon.port, interval=1)) as graphite:
        graphite.send(Batch([calls(1)], first, first + 1.0))
        own_carbon.kill()
        own_carbon.start()
        graphite.send(Batch([calls(2)], first + 1.0, first + 2.0))
        own_carbon.wait_for_value("shop.calls.count", first + 1, 2)

    assert own_carbon.stored("shop.calls.count") == {first: 1, first + 1: 2}


def test_nothing_is_resolved_before_the_first_batch() -> None:
    """A name that does not resolve is no reason to fail before there is something to send."""
    graphite = Graphite("no-such-host.invalid")

    with pytest.raises(OSError):  # noqa: PT011 - whatever the resolver says
        graphite.send(batch(calls(1)))
    graphite.close()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"host": ""}, "host '' must be a name or an address"),
        ({"port": 0}, "port 0 must be from 1 to 65535"),
        ({"protocol": "udp"}, "protocol 'udp' is none of plaintext, pickle"),
        ({"interval": 0.5}, "interval 0.5 must be from 1 to 86400"),
        ({"interval": 1.5}, "interval 1.5 must be whole seconds, as in carbon's schemas"),
        ({"per": "host"}, "per 'host' is none of run, process"),
        ({"timeout": 0}, "timeout 0 must be from 0.001 to 3600"),
        ({"tags": {"a;b": "c"}}, "tag 'a;b': 'c': the tag must be a word without ; ! ^ ="),
        ({"tags": {"name": "c"}}, "tag 'name': 'c': the tag must be a word"),
        ({"tags": {"a": "b c"}}, "tag 'a': 'b c': the value must be a word without ;"),
        ({"tags": {"a": "~b"}}, "tag 'a': '~b': the value must be a word without ;"),
        ({"tags": {"a": ""}}, "tag 'a': '': the value must be a word without ;"),
        ({"tags": {"a": "b" * 1000}}, "tags of 1003 bytes are too long: at most 1000"),
        ({"events_url": "graphite/events"}, "events_url 'graphite/events' must be such as http"),
        ({"events_url": "file:///etc/passwd"}, "events_url 'file:///etc/passwd' must be such as"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], complaint: str) -> None:
    """What is wrong with an option is said before the program starts."""
    with pytest.raises(ValueError, match=re.escape(complaint)):
        Graphite.check(**options)


def test_the_port_follows_the_protocol() -> None:
    """Carbon's usual ports are the defaults."""
    assert Graphite().port == 2003
    assert Graphite(protocol="pickle").port == 2004
    assert Graphite(port=12003, protocol="pickle").port == 12003
    assert tag_text({}) == ""


def test_what_the_sender_is_asked_for() -> None:
    """Batches are to end where steps do, with the series that are idle; a step is a minute."""
    graphite = Graphite()

    assert (graphite.aligned, graphite.idle, graphite.interval) == (True, True, 60)


@contextmanager
def events_api(status: int = 200, delay: float = 0.0) -> Iterator[tuple[str, list[Any]]]:
    """The URL of an events API, and the (path, type, body) of each POST that it got."""
    posts: list[Any] = []
    released = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            posts.append((self.path, self.headers["Content-Type"], body))
            released.wait(delay)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}/events/", posts
    finally:
        released.set()
        server.shutdown()
        thread.join()
        server.server_close()


RUN = RunInfo("nova compute", "host_1", ("nova", "--password", "s3cret"), "c0ffee")


def test_the_start_is_marked_once(listener: Listener) -> None:
    """One event says what was started where, by which versions; no argument leaves the host."""
    before = int(time.time())
    with events_api() as (url, posts):
        graphite = Graphite(HOST, listener.port, events_url=url)
        graphite.introduce(RUN)
        for _ in range(3):
            graphite.send(batch(calls(1)))
        graphite.close()

    ((path, content_type, body),) = posts
    assert (path, content_type) == ("/events/", "application/json")
    assert before <= body.pop("when") <= time.time()
    python = ".".join(map(str, sys.version_info[:3]))
    data = body.pop("data")
    assert re.fullmatch(rf"tach \S+, Python {re.escape(python)}\S*, configuration c0ffee", data)
    assert body == {
        "what": "tach: nova compute started",
        "tags": ["tach", "deploy", "nova_compute", "host_1"],
    }
    assert graphite.tallies["events_failed"] == 0


def test_a_slow_events_api_delays_nothing(listener: Listener) -> None:
    """The values go out while the marker is still on its way."""
    with events_api(delay=2.0) as (url, posts):
        graphite = Graphite(HOST, listener.port, events_url=url)
        graphite.introduce(RUN)
        began = time.monotonic()
        graphite.send(batch(calls(1)))
        assert time.monotonic() - began < 1
        listener.wait_for_lines(2)
        wait_for(lambda: posts)
    graphite.close()


def test_an_events_api_that_refuses(listener: Listener) -> None:
    """A marker that was refused, or that nobody waits for, is counted and hinders nothing."""
    with events_api(status=500) as (url, posts):
        for where in (url, f"http://{HOST}:{unused_port()}/"):
            graphite = Graphite(HOST, listener.port, events_url=where)
            graphite.introduce(RUN)
            graphite.send(batch(calls(1)))
            graphite.close()
            assert graphite.tallies["events_failed"] == 1
        assert len(posts) == 1


def unused_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        return unused.getsockname()[1]


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("shop.h.checkout.duration.count", "sum"),
        ("shop.h.checkout.duration.sum", "sum"),
        ("shop.h.checkout.errors.by_type.KeyError.count;a=b", "sum"),
        ("shop.h.checkout.duration.min", "min"),
        ("shop.h.checkout.duration.max", "max"),
        ("shop.h.checkout.duration.p99;a=b", "max"),
        ("shop.h.checkout.inflight.last", "last"),
        ("shop.h.checkout.duration.mean", "average"),
        ("shop.h.checkout.duration.rate", "average"),
        ("shop.h.count.calls.rate", "average"),
    ],
)
def test_the_example_rolls_up_rightly(path: str, method: str) -> None:
    """Counts add up over longer periods, extremes stay extremes."""
    parser = configparser.RawConfigParser()
    parser.read(EXAMPLES / "storage-aggregation.conf")
    sections = [parser[name] for name in parser.sections()]

    found = next(each for each in sections if re.search(each["pattern"], path))
    assert found["aggregationMethod"] == method


def test_the_example_fits_together() -> None:
    """The configuration of tach is right, and its interval is the step of carbon's schema."""
    parser = configparser.RawConfigParser()
    parser.read(EXAMPLES / "storage-schemas.conf")
    (notifier,) = load(str(EXAMPLES / "tach.yaml")).notifiers

    assert notifier.type == "graphite"
    assert f"{notifier.options['interval']:.0f}s" == parser["tach"]["retentions"].split(":")[0]
    assert re.search(parser["tach"]["pattern"], "shop.host.checkout.calls.count")
