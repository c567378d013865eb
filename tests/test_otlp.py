"""The OTLP notifier: what the official protobuf classes read of it, behind a real HTTP server."""

from __future__ import annotations

import gzip
import math
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from ports import HOST, free_ports
from processes import wait_for

import tach
from tach.histogram import Histogram
from tach.notifiers.otlp import Otlp, printable
from tach.notifiers.otlp_message import index_of
from tach.samples import Batch, Kind, RunInfo, Sample

END = 1_700_000_000.0
RUN = RunInfo("shop", "node1", ("shop", "--password=secret"), "abc")
SECOND = 1_000_000_000
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA


class Answer(NamedTuple):
    """What the collector answers."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - a NamedTuple's default, never changed


class Collector:
    """Takes OTLP/HTTP on a free port. `answers` are given one after the other, then 200."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], ExportMetricsServiceRequest]] = []
        self.answers: list[Answer] = []
        self.silent = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if collector.silent.is_set():
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                if headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                message = ExportMetricsServiceRequest.FromString(body)
                collector.requests.append((self.path, headers, message))
                answer = collector.answers.pop(0) if collector.answers else Answer()
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Length": len(answer.body)}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def metrics(self) -> list[Any]:
        """All metrics of all requests."""
        return [
            metric
            for _, _, request in self.requests
            for of_resource in request.resource_metrics
            for of_scope in of_resource.scope_metrics
            for metric in of_scope.metrics
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector on a free port."""
    running = Collector()
    yield running
    running.close()


def notifier(collector: Collector, **options: Any) -> Otlp:
    """A notifier that sends to the collector."""
    made = Otlp(endpoint=collector.url, **options)
    made.introduce(RUN)
    return made


def send(collector: Collector, *batches: Batch, **options: Any) -> Otlp:
    """Send the batches; the notifier is closed."""
    made = notifier(collector, **options)
    for each in batches:
        made.send(each)
    made.close()
    return made


def sample(series: str, suffix: str, kind: Kind, value: float | Histogram) -> Sample:
    """A sample of a series."""
    return Sample(f"{series}.{suffix}", kind, value, END, series, suffix)


def calls(count: float, series: str = "buy") -> Sample:
    """So many calls."""
    return sample(series, "calls", "counter", count)


def batch(*samples: Sample) -> Batch:
    """What happened in ten seconds."""
    return Batch(samples, END - 10, END)


def attributes(point: Any) -> dict[str, str]:
    """The attributes of a data point or a resource."""
    return {each.key: each.value.string_value for each in point.attributes}


def number(point: Any) -> float:
    """The value of a data point, of the type that it was sent as."""
    value: float = getattr(point, point.WhichOneof("value"))
    return value


def test_sums_gauges_and_histograms_arrive(collector: Collector) -> None:
    """Each kind with its unit, its value and its target; whole numbers as such."""
    durations = Histogram.of([SECOND, 3 * SECOND]).scaled(1e-6)
    send(
        collector,
        batch(
            calls(3),
            calls(4, "pay"),
            sample("buy", "inflight", "gauge", 2),
            sample("buy", "oldest", "gauge", 1.5),
            sample("buy", "duration", "histogram", durations),
        ),
    )
    metrics = {each.name: each for each in collector.metrics}

    assert list(metrics) == ["tach.calls", "tach.duration", "tach.inflight", "tach.oldest"]
    of_calls = metrics["tach.calls"].sum
    assert of_calls.is_monotonic
    assert of_calls.aggregation_temporality == CUMULATIVE
    assert [(attributes(each), each.as_int) for each in of_calls.data_points] == [
        ({"target": "buy"}, 3),
        ({"target": "pay"}, 4),
    ]
    (inflight,) = metrics["tach.inflight"].gauge.data_points
    (oldest,) = metrics["tach.oldest"].gauge.data_points
    assert (number(inflight), number(oldest)) == (2, 1.5)
    assert metrics["tach.oldest"].unit == metrics["tach.duration"].unit == "s"
    (duration,) = metrics["tach.duration"].exponential_histogram.data_points
    assert (duration.count, duration.sum, duration.min, duration.max) == (2, 4.0, 1.0, 3.0)
    assert metrics["tach.calls"].description == "Calls that ended."


def test_errors_have_the_attribute_of_the_conventions(collector: Collector) -> None:
    """The class of an exception is its `error.type`."""
    send(collector, batch(sample("buy", "errors.by_type.KeyError", "counter", 5)))

    (metric,) = collector.metrics
    (point,) = metric.sum.data_points
    assert metric.name == "tach.errors.by_type"
    assert attributes(point) == {"target": "buy", "error.type": "KeyError"}
    assert point.as_int == 5


def test_the_resource_says_whose_numbers_they_are(collector: Collector) -> None:
    """service.name and the like, and what is configured; nothing of the arguments."""
    send(collector, batch(calls(1)), service="checkout", resource={"deployment.environment": "x"})
    send(collector, batch(calls(1)))
    first, second = (request.resource_metrics[0] for _, _, request in collector.requests)
    found = attributes(first.resource)

    assert found.pop("service.instance.id") == attributes(second.resource)["service.instance.id"]
    assert found == {
        "service.name": "checkout",
        "host.name": "node1",
        "process.executable.name": "shop",
        "process.runtime.name": "cpython",
        "deployment.environment": "x",
    }
    assert attributes(second.resource)["service.name"] == "shop"
    scope = first.scope_metrics[0].scope
    assert (scope.name, scope.version) == ("tach", tach.__version__)
    assert b"secret" not in first.SerializeToString()


@pytest.mark.parametrize(
    ("temporality", "expected"), [("cumulative", CUMULATIVE), ("delta", DELTA)]
)
def test_temporality(collector: Collector, temporality: str, expected: int) -> None:
    """Totals begin with the run, and always at the same time; what is new with its batch."""
    made = notifier(collector, temporality=temporality)
    timing = sample("buy", "duration", "histogram", Histogram.of([5]).scaled(1e-6))
    now = time.time()
    made.send(Batch([calls(1), timing], now - 10, now))
    made.send(Batch([calls(2), timing], now, now + 10))
    made.close()
    sums = [each.sum for each in collector.metrics if each.name == "tach.calls"]
    histograms = [
        each.exponential_histogram for each in collector.metrics if each.name == "tach.duration"
    ]

    assert made.cumulative is (temporality == "cumulative")
    assert {each.aggregation_temporality for each in [*sums, *histograms]} == {expected}
    points = [each.data_points[0] for each in sums]
    assert [each.time_unix_nano for each in points] == [int(now * 1e9), int((now + 10) * 1e9)]
    starts = [each.start_time_unix_nano / 1e9 for each in points]
    if temporality == "delta":
        assert starts == pytest.approx([now - 10, now], abs=1e-3)
    else:
        assert starts[0] == starts[1] < now


def test_a_sum_that_falls_is_not_monotonic(collector: Collector) -> None:
    """An increment may be negative: receivers must not take it for one that restarted."""
    send(
        collector,
        batch(sample("a", "total", "counter", -2.5), sample("b", "total", "counter", 4)),
    )

    assert [
        (each.name, each.sum.is_monotonic, number(each.sum.data_points[0]))
        for each in collector.metrics
    ] == [("tach.increment", False, -2.5), ("tach.increment", True, 4)]


def estimate(point: Any, rank: int) -> tuple[float, float]:
    """The bounds of the bucket that holds the value of that rank, from 0."""
    base = 2.0 ** (2.0**-point.scale)
    seen = point.zero_count
    if rank < seen:
        return 0.0, 0.0
    for i, count in enumerate(point.positive.bucket_counts):
        seen += count
        if rank < seen:
            index = point.positive.offset + i
            return base**index, base ** (index + 1)
    raise AssertionError("no such rank")


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=100))
def test_a_histogram_is_within_one_percent(nanoseconds: list[int]) -> None:
    """Count, sum, min and max are exact; whatever estimates a value in its bucket is 1 % off."""
    from tach.notifiers.families import Reader
    from tach.notifiers.otlp_message import Window, requests

    given_ = sample("a", "duration", "histogram", Histogram.of(nanoseconds).scaled(1e-6))
    reading = Reader(None, RUN).read(given_)
    (body,) = requests([reading], Window(0, 1, True), {}, 10)
    request = ExportMetricsServiceRequest.FromString(body)
    metric = request.resource_metrics[0].scope_metrics[0].metrics[0]
    (point,) = metric.exponential_histogram.data_points
    ordered = sorted(nanoseconds)

    assert point.count == len(ordered) == point.zero_count + sum(point.positive.bucket_counts)
    assert point.sum == sum(ordered) / 1e9
    assert (point.min, point.max) == (ordered[0] / 1e9, ordered[-1] / 1e9)
    assert point.zero_count == ordered.count(0)
    for rank, value in enumerate(ordered):
        for bound in estimate(point, rank):
            assert bound == pytest.approx(value / 1e9, rel=0.01)


def test_a_bucket_holds_its_upper_bound() -> None:
    """As OpenTelemetry has it: above base^i, up to and with base^(i+1)."""
    assert index_of(1.0) == -1
    assert index_of(2.0) == 127
    assert index_of(2.0001) == 128
    assert index_of(0.5) == -129


def test_numbers_of_0_and_below(collector: Collector) -> None:
    """They count as 0; the least of them is exact."""
    values = Histogram(Histogram.of([0, 5]).pairs, total=-3 + 5, low=-3, high=5)
    send(collector, batch(sample("a", "value", "histogram", values)))

    (point,) = collector.metrics[0].exponential_histogram.data_points
    assert (point.count, point.zero_count, point.min, point.sum) == (2, 1, -3, 2)


def test_the_request_is_as_the_protocol_wants_it(collector: Collector) -> None:
    """Path, content type, compression, and the headers that are configured."""
    send(collector, batch(calls(1)), headers={"api-key": "k"})
    send(collector, batch(calls(1)), compression="none")
    (path, packed, _), (_, plain, _) = collector.requests

    assert path == "/v1/metrics"
    assert packed["content-type"] == plain["content-type"] == "application/x-protobuf"
    assert (packed["content-encoding"], packed["api-key"]) == ("gzip", "k")
    assert "content-encoding" not in plain
    assert "api-key" not in plain


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://c:4318", "http://c:4318/v1/metrics"),
        ("https://c/", "https://c/v1/metrics"),
        ("https://c/otlp/v1/metrics", "https://c/otlp/v1/metrics"),
    ],
)
def test_the_path_is_added_where_there_is_none(endpoint: str, url: str) -> None:
    """A base URL is enough; another path stays as it is."""
    assert Otlp(endpoint=endpoint).url == url


def test_many_points_are_several_requests(collector: Collector) -> None:
    """A receiver limits the size of a request; one that fails is sent again, the others are not."""
    collector.answers = [Answer(), Answer(503), Answer()]
    made = notifier(collector)
    many = batch(*(calls(1, f"s{i:04}") for i in range(2500)))
    with pytest.raises(OSError, match="answered 503"):
        made.send(many)
    made.send(many)
    made.close()

    sizes = [len(each.sum.data_points) for each in collector.metrics]
    assert sizes == [1000, 1000, 1000, 500]
    assert made.tallies["requests"] == 4


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_receiver_that_is_busy_gets_it_later(collector: Collector, status: int) -> None:
    """What is retryable is sent again, whole."""
    collector.answers = [Answer(status)]
    made = notifier(collector)
    given_ = batch(calls(7))
    with pytest.raises(OSError, match=f"answered {status}"):
        made.send(given_)
    made.send(given_)
    made.close()

    assert [each.sum.data_points[0].as_int for each in collector.metrics] == [7, 7]
    assert made.tallies["rejected"] == 0


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_heeded(collector: Collector, as_date: bool) -> None:
    """Nothing is sent before the time that the receiver names, in seconds or as a date."""
    wait = formatdate(time.time() + 3, usegmt=True) if as_date else "2"
    collector.answers = [Answer(503, headers={"Retry-After": wait})]
    made = notifier(collector)
    given_ = batch(calls(7))
    began = time.monotonic()
    with pytest.raises(OSError, match="answered 503"):
        made.send(given_)
    with pytest.raises(OSError, match=r"asks for patience: [0-3]\.\d s more"):
        made.send(given_)
    assert len(collector.requests) == 1

    def taken() -> bool:
        try:
            made.send(given_)
        except OSError:
            return False
        return True

    wait_for(taken, 10)
    made.close()
    assert time.monotonic() - began >= 1.5
    assert len(collector.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 302])
def test_what_is_refused_is_not_sent_again(collector: Collector, status: int) -> None:
    """It is an error once, is counted, and the next batch goes out."""
    collector.answers = [Answer(status, b"\x08\x03\x12\x06no way")]
    made = notifier(collector)
    refused = batch(calls(7), calls(1, "pay"))
    with pytest.raises(OSError, match=rf"/v1/metrics answered {status} [\w ]+: no way$"):
        made.send(refused)
    made.send(refused)
    assert len(collector.requests) == 1
    assert made.tallies["rejected"] == 2
    made.send(batch(calls(8)))
    made.close()

    assert len(collector.requests) == 2


def test_a_partial_success_is_logged(collector: Collector, caplog: Any) -> None:
    """What the receiver left out is counted and said, and not sent again."""
    response = ExportMetricsServiceResponse()
    response.partial_success.rejected_data_points = 3
    response.partial_success.error_message = "too old"
    collector.answers = [Answer(200, response.SerializeToString()), Answer(200, b"\xff\xff")]
    made = send(collector, batch(calls(1)), batch(calls(2)))

    assert made.tallies["rejected"] == 3
    assert [each.getMessage() for each in caplog.records] == [
        f"otlp: {made.url} rejected 3 data points: too old"
    ]


def test_a_receiver_that_is_not_there_is_an_os_error() -> None:
    """The sender tries again; so it does where the answer takes too long."""
    (port,) = free_ports(1)
    made = Otlp(endpoint=f"http://{HOST}:{port}")
    with pytest.raises(OSError, match="Connection refused"):
        made.send(batch(calls(1)))
    with socket.create_server((HOST, 0)) as mute:
        made = Otlp(endpoint=f"http://{HOST}:{mute.getsockname()[1]}", timeout=0.2)
        began = time.monotonic()
        with pytest.raises(OSError, match="timed out"):
            made.send(batch(calls(1)))
        made.close()
    assert time.monotonic() - began < 5


def test_a_receiver_that_hangs_up_gets_it_again(collector: Collector) -> None:
    """An error first, then the same once more over a new connection."""
    made = notifier(collector)
    given_ = batch(calls(1))
    collector.silent.set()
    with pytest.raises(OSError, match="aborted"):
        made.send(given_)
    collector.silent.clear()
    made.send(given_)
    made.close()

    assert len(collector.requests) == 1


def test_nothing_is_sent_of_nothing(collector: Collector) -> None:
    """No samples, or none that are numbers: no request."""
    send(collector, batch(), batch(sample("a", "depth", "gauge", math.nan)))

    assert collector.requests == []


def test_what_is_printable_of_an_answer() -> None:
    """One line, of what people can read."""
    assert printable(b"\x08\x01a\nb  c\xff" + b"x" * 600).startswith("a b c x")
    assert len(printable(b"x" * 600)) == 500


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "c:4318"}, "endpoint 'c:4318' must be such as http://"),
        ({"endpoint": "ftp://c"}, "endpoint 'ftp://c' must be such as http://"),
        ({"endpoint": "http://"}, "endpoint 'http://' must be such as http://"),
        ({"endpoint": "http://c:x"}, "endpoint 'http://c:x' must be such as http://"),
        ({"headers": {"a b": "c"}}, "header 'a b' cannot be the name of a header"),
        ({"headers": {"a": "c\n"}}, "header 'a': its value must be of printable ASCII"),
        ({"compression": "zstd"}, "compression 'zstd' is none of gzip, none"),
        ({"temporality": "lowmemory"}, "temporality 'lowmemory' is none of cumulative, delta"),
        ({"timeout": 0}, "timeout 0 must be from 0.001 to 3600"),
        ({"interval": 0}, "interval 0 must be from 0.1 to 86400"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    """`check` says which option is wrong, and what it must be; a secret is not repeated."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Otlp.check(**options)


def totals(collector: Collector, name: str) -> list[int]:
    """What the metric's only series was, request by request."""
    return [
        each.as_int
        for metric in list(collector.metrics)
        if metric.name == name
        for each in metric.sum.data_points
    ]


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_a_whole_run_arrives(
    temporality: str,
    collector: Collector,
    run_tach: Callable[..., subprocess.CompletedProcess[str]],
    programs: Path,
) -> None:
    """From the program to the collector: the last total, or the sum of what was new, is exact."""
    config = {
        "prefix": "p",
        "notifiers": {
            "otlp": {
                "type": "otlp",
                "endpoint": collector.url,
                "temporality": temporality,
                "interval": "200ms",
                "strip": "p",
            }
        },
        "targets": {"work": "targets:function"},
    }
    assert run_tach(config, "steady.py", 10, 100, 0.1, cwd=programs).returncode == 0

    def arrived() -> int:
        found = totals(collector, "tach.calls")
        return sum(found) if temporality == "delta" else max(found, default=0)

    wait_for(lambda: arrived() == 1000, 20)
    found = totals(collector, "tach.calls")
    assert len(found) > 1
    if temporality == "cumulative":
        assert found == sorted(found)
        starts = {
            each.start_time_unix_nano
            for metric in collector.metrics
            if metric.name == "tach.calls"
            for each in metric.sum.data_points
        }
        assert len(starts) == 1
