"""The Prometheus notifier: what prometheus_client's own parsers read of it, and how it serves."""

from __future__ import annotations

import gzip
import http.client
import math
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ports import HOST
from processes import wait_for
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from tach.histogram import Histogram
from tach.notifiers.prometheus import Prometheus
from tach.notifiers.prometheus_server import takes_gzip, wants_openmetrics
from tach.notifiers.prometheus_text import SECONDS, counts_below
from tach.samples import Batch, Kind, RunInfo, Sample, TargetStatus

END = 1_700_000_000.0
RUN = RunInfo("shop", "node1.example.org", ("shop",), "abc")
OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
SECOND = 1_000_000_000

# (name of a sample, its labels but `program`) -> value
Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def sample(series: str, suffix: str, kind: Kind, value: float | Histogram) -> Sample:
    """A sample of a series."""
    return Sample(f"{series}.{suffix}", kind, value, END, series, suffix)


def timing(series: str, *nanoseconds: int) -> Sample:
    """The durations of a series."""
    durations = Histogram.of(list(nanoseconds)).scaled(1e-6)
    return sample(series, "duration", "histogram", durations)


def batch(*samples: Sample, **fields: Any) -> Batch:
    """The totals at the end of five seconds."""
    return Batch(samples, fields.pop("start", END - 5), fields.pop("end", END), **fields)


def shown(*batches: Batch, **options: Any) -> Prometheus:
    """A notifier that has been given the batches."""
    notifier = Prometheus(**{"port": 0, **options})
    notifier.introduce(RUN)
    for each in batches:
        notifier.send(each)
    notifier.close()
    return notifier


def parsed(text: str) -> Values:
    """What Prometheus' own parser of that format reads."""
    of_format = openmetrics_parser if text.endswith("# EOF\n") else parser
    families = list(of_format.text_string_to_metric_families(text))
    found: Values = {}
    for each in [each for family in families for each in family.samples]:
        labels = tuple(sorted((k, v) for k, v in each.labels.items() if k != "program"))
        assert (each.name, labels) not in found
        found[each.name, labels] = each.value
    return found


def values(notifier: Prometheus) -> Values:
    """What both formats say, the same but for the buckets' bounds as texts."""
    plain, openmetrics = parsed(notifier.text(False)), parsed(notifier.text(True))
    assert plain == openmetrics
    return plain


def of_target(found: Values, target: str) -> dict[str, float]:
    """The samples of a target that have no other label."""
    return {
        name: value for (name, labels), value in found.items() if labels == (("target", target),)
    }


def test_each_kind_of_sample_is_shown() -> None:
    """Counters as _total, gauges as they are, histograms with buckets, times in seconds."""
    found = values(
        shown(
            batch(
                sample("buy", "calls", "counter", 3),
                sample("buy", "inflight", "gauge", 2),
                sample("buy", "oldest", "gauge", 1.5),
                timing("buy", 500_000_000, 700_000_000),
                sample("buy", "yields", "histogram", Histogram.of([1, 5])),
                sample("pay", "calls", "counter", 7),
            ),
            buckets=[0.6, 10],
        )
    )

    assert of_target(found, "buy") == {
        "tach_calls_total": 3,
        "tach_inflight": 2,
        "tach_oldest_seconds": 1.5,
        "tach_duration_seconds_sum": 1.2,
        "tach_duration_seconds_count": 2,
        "tach_yields_sum": 6,
        "tach_yields_count": 2,
    }
    assert of_target(found, "pay") == {"tach_calls_total": 7}
    assert [
        (dict(labels)["le"], value)
        for (name, labels), value in found.items()
        if name == "tach_duration_seconds_bucket"
    ] == [("0.6", 1), ("10.0", 2), ("+Inf", 2)]


def test_errors_have_their_type_as_a_label() -> None:
    """All errors are one family, and those of each class another: nothing is counted twice."""
    found = values(
        shown(
            batch(
                sample("buy", "errors", "counter", 5),
                sample("buy", "errors.by_type.KeyError", "counter", 3),
                sample("buy", "errors.by_type.ValueError", "counter", 2),
            )
        )
    )

    assert found["tach_errors_total", (("target", "buy"),)] == 5
    by_type = {k[1]: v for k, v in found.items() if k[0] == "tach_errors_by_type_total"}
    assert by_type == {
        (("target", "buy"), ("type", "KeyError")): 3,
        (("target", "buy"), ("type", "ValueError")): 2,
    }


@given(st.lists(st.integers(0, 100 * SECOND), max_size=200))
def test_the_default_buckets_are_exact(nanoseconds: list[int]) -> None:
    """The count below each default bound is that of the very values: nothing is rounded."""
    durations = Histogram.of(nanoseconds).scaled(1e-9)

    assert counts_below(durations, SECONDS) == [
        sum(each <= round(bound * 1e9) for each in nanoseconds) for bound in SECONDS
    ]


@given(st.lists(st.integers(0, 100 * SECOND), max_size=200), st.floats(1e-6, 50))
def test_any_bound_is_less_than_a_hundredth_off(nanoseconds: list[int], bound: float) -> None:
    """What is counted below a bound is below one that is at most 1 % higher."""
    (count,) = counts_below(Histogram.of(nanoseconds).scaled(1e-9), [bound])
    least = sum(each <= bound * 1e9 for each in nanoseconds)
    most = sum(each <= bound * 1.01e9 for each in nanoseconds)

    assert least <= count <= most


@given(st.lists(st.integers(0, 2000), max_size=50))
def test_whole_numbers_are_counted_below_round_bounds(numbers: list[int]) -> None:
    """A value that is exactly a bound belongs to its bucket, whatever floats make of it."""
    histogram = Histogram.of([each * 1000 for each in numbers], scale=1 / 1000)
    bounds = [0.0, 1.0, 5.0, 100.0]

    expected = [sum(each <= bound for each in numbers) for bound in bounds]
    assert counts_below(histogram, bounds) == expected


def test_types_and_units_are_said() -> None:
    """TYPE as each format names the family, UNIT in OpenMetrics, EOF at its end only."""
    notifier = shown(
        batch(
            sample("a", "calls", "counter", 1), timing("a", 5), sample("runtime", "rss", "gauge", 9)
        )
    )
    plain, openmetrics = notifier.text(False), notifier.text(True)

    assert "# TYPE tach_calls_total counter\n" in plain
    assert "# TYPE tach_run_info gauge\n" in plain
    assert "UNIT" not in plain
    assert "EOF" not in plain
    assert "# TYPE tach_calls counter\n" in openmetrics
    assert "# TYPE tach_run info\n" in openmetrics
    assert "# UNIT tach_duration_seconds seconds\n" in openmetrics
    assert "# UNIT tach_runtime_rss_bytes bytes\n" in openmetrics
    assert openmetrics.endswith("# EOF\n")


def test_numbers_of_other_kinds_have_other_names() -> None:
    """A value may be a distribution here, a gauge there: each is a family of its own."""
    found = values(
        shown(
            batch(
                sample("a", "value", "histogram", Histogram.of([4])),
                sample("b", "value", "gauge", -2.5),
                sample("c", "value", "counter", 3),
                sample("d", "total", "counter", 8),
                sample("e", "total", "counter", -8),
                sample("f", "total", "histogram", Histogram.of([SECOND]).scaled(1e-6)),
                sample("g", "depth", "gauge", 1),
                sample("h", "depth", "histogram", Histogram.of([2])),
            )
        )
    )

    assert of_target(found, "a") == {"tach_value_sum": 4, "tach_value_count": 1}
    assert of_target(found, "b") == {"tach_value_last": -2.5}
    assert of_target(found, "c") == {"tach_value_added_total": 3}
    assert of_target(found, "d") == {"tach_increment_total": 8}
    assert of_target(found, "e") == {"tach_increment_sum": -8}
    assert of_target(found, "f") == {"tach_total_seconds_sum": 1, "tach_total_seconds_count": 1}
    assert of_target(found, "g") == {"tach_depth": 1}
    assert set(of_target(found, "h")) == {"tach_depth_histogram_sum", "tach_depth_histogram_count"}


def test_numbers_below_0_have_no_sum_in_openmetrics() -> None:
    """There a sum is a counter, and one that can fall is refused; the older format shows it."""
    numbers = Histogram(Histogram.of([0, 5]).pairs, total=-3 + 5, low=-3, high=5)
    below = shown(batch(sample("a", "value", "histogram", numbers)))

    assert parsed(below.text(False))["tach_value_sum", (("target", "a"),)] == 2
    assert of_target(parsed(below.text(True)), "a") == {}
    assert parsed(below.text(True))["tach_value_bucket", (("le", "+Inf"), ("target", "a"))] == 2


def test_the_runtime_is_of_no_target() -> None:
    """Numbers of the processes as a whole have no target, with or without the prefix stripped."""
    lag = sample("p.runtime", "hub_lag", "histogram", Histogram.of([SECOND]).scaled(1e-6))
    found = values(shown(batch(lag, sample("p.runtime", "threads", "gauge", 4)), buckets=[]))

    assert found["tach_runtime_threads", ()] == 4
    assert found["tach_runtime_hub_lag_seconds_sum", ()] == 1
    assert found["tach_runtime_hub_lag_seconds_bucket", (("le", "+Inf"),)] == 1


@pytest.mark.parametrize(
    ("strip", "series"),
    [
        ("shop", "shop.buy"),
        ("a.{host}", "a.node1_example_org.buy"),
        ("{program}.{pid}", "shop.1234.buy"),
        ("größe", "gr__e.buy"),
        (None, "buy"),
    ],
)
def test_the_prefix_is_stripped(strip: str | None, series: str) -> None:
    """Targets are shown without the prefix that the names of series have."""
    found = values(shown(batch(sample(series, "calls", "counter", 1)), strip=strip))

    assert of_target(found, "buy") == {"tach_calls_total": 1}


def test_processes_with_prefixes_of_their_own_add_up() -> None:
    """Where stripping leaves one name of several there is one sample: a second would be refused."""
    found = values(
        shown(
            batch(
                *(
                    each
                    for pid, count in (("17", 3), ("18", 4))
                    for each in (
                        sample(f"shop.{pid}.f", "calls", "counter", count),
                        sample(f"shop.{pid}.f", "inflight", "gauge", count),
                        sample(f"shop.{pid}.f", "oldest", "gauge", count),
                        timing(f"shop.{pid}.f", 1_000_000 * count),
                    )
                )
            ),
            strip="shop.{pid}",
        )
    )

    assert of_target(found, "f") == {
        "tach_calls_total": 7,
        "tach_inflight": 7,
        "tach_oldest_seconds": 4,
        "tach_duration_seconds_sum": 0.007,
        "tach_duration_seconds_count": 2,
    }


def test_labels_are_on_every_sample_and_escaped() -> None:
    """A constant label may hold anything; `program` is the run's unless it is given."""
    text = 'a"b\\c\nd'
    notifier = shown(batch(sample("a", "calls", "counter", 1)), labels={"region": text})
    for of_format in (parser, openmetrics_parser):
        openmetrics = of_format is openmetrics_parser
        families = of_format.text_string_to_metric_families(notifier.text(openmetrics))
        labels = [each.labels for family in families for each in family.samples]
        assert {each["region"] for each in labels} == {text}
        assert {each["program"] for each in labels} == {"shop"}

    renamed = shown(batch(), labels={"program": "other"})
    assert 'tach_run_active{program="other"} 1' in renamed.text(False)


def test_the_run_is_described() -> None:
    """Whether it lives, when it was looked at, its targets by state: what alerts are made of."""
    targets = [
        TargetStatus("a", "m:a", 1, "patched", ""),
        TargetStatus("b", "m:b", 2, "missing", ""),
    ]
    live = values(shown(batch(targets=targets, troubles=["x"])))

    assert live["tach_run_active", ()] == 1
    assert live["tach_run_info", (("config", "abc"),)] == 1
    assert live["tach_updated_timestamp_seconds", ()] == END
    assert live["tach_troubles", ()] == 1
    assert live["tach_targets", (("state", "missing"),)] == 1
    assert values(shown(batch(final=True), batch()))["tach_run_active", ()] == 0


def test_quantiles_are_those_of_the_last_minutes() -> None:
    """A summary beside the histogram: quantiles of the recent calls, sum and count of all."""
    fast, slow = [SECOND] * 100, [9 * SECOND] * 50
    batches = [
        batch(timing("a", *fast), end=END),
        batch(timing("a", *fast), end=END + 60),
        batch(timing("a", *fast, *slow), end=END + 120),
    ]

    def quantile(*given: Batch) -> float:
        found = values(shown(*given, quantiles=[0.5]))
        return found["tach_duration_quantiles_seconds", (("quantile", "0.5"), ("target", "a"))]

    found = values(shown(*batches, quantiles=[0.5]))
    assert of_target(found, "a")["tach_duration_quantiles_seconds_count"] == 150
    assert of_target(found, "a")["tach_duration_quantiles_seconds_sum"] == 550
    assert quantile(*batches[:2]) == pytest.approx(1, rel=0.01)
    assert quantile(*batches) == pytest.approx(9, rel=0.01)


def test_quantiles_of_no_recent_calls_are_not_a_number() -> None:
    """Where no call ended lately there is no quantile, and it is said as Prometheus says it."""
    batches = [batch(timing("a", SECOND), end=END + 60 * minute) for minute in range(3)]

    text = shown(*batches, quantiles=[0.5]).text(False)
    assert math.isnan(
        parsed(text)["tach_duration_quantiles_seconds", (("quantile", "0.5"), ("target", "a"))]
    )


def test_what_is_no_finite_number_is_left_out() -> None:
    """One odd number does not spoil the others."""
    found = values(
        shown(batch(sample("a", "depth", "gauge", math.nan), sample("b", "depth", "gauge", 1)))
    )

    assert (of_target(found, "a"), of_target(found, "b")) == ({}, {"tach_depth": 1})


@pytest.fixture
def served() -> Iterator[Prometheus]:
    """A notifier that listens, with a counter."""
    notifier = Prometheus(port=0)
    notifier.introduce(RUN)
    notifier.send(batch(sample("a", "calls", "counter", 1)))
    yield notifier
    notifier.close()


def ask(
    notifier: Prometheus, path: str = "/metrics", method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """The answer and its body."""
    assert notifier.address is not None
    connection = http.client.HTTPConnection(*notifier.address, timeout=10)
    try:
        connection.request(
            method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_the_format_is_negotiated(served: Prometheus) -> None:
    """OpenMetrics for who asks for it, as Prometheus does; else the older format."""
    plain, body = ask(served)
    assert plain.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert body.decode() == served.text(openmetrics=False)

    openmetrics, body = ask(served, Accept=OPENMETRICS)
    kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert openmetrics.headers["Content-Type"] == kind
    assert body.decode() == served.text(openmetrics=True)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        (OPENMETRICS, True),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=0.0.1", True),
        ("application/openmetrics-text; version=9.0.0", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.1,text/plain;q=0.9", False),
        ("application/openmetrics-text;q=x", False),
    ],
)
def test_who_gets_openmetrics(accept: str, expected: bool) -> None:
    """Who prefers it, in a version that is known."""
    assert wants_openmetrics(accept) is expected


def test_the_body_is_packed_for_who_can_unpack_it(served: Prometheus) -> None:
    """gzip on demand."""
    packed, body = ask(served, Accept_Encoding="deflate, gzip")

    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body).decode() == served.text(openmetrics=False)
    assert not takes_gzip("gzip;q=0")


def test_other_requests_are_refused(served: Prometheus) -> None:
    """HEAD has no body, another path is not found, another method not there."""
    head, body = ask(served, method="HEAD")
    assert (head.status, body) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(served.text(openmetrics=False))
    assert ask(served, path="/other")[0].status == 404
    assert ask(served, method="POST")[0].status == 501
    assert ask(served, path="/metrics?name=x")[0].status == 200


def test_a_client_that_says_nothing_holds_nobody_up(served: Prometheus) -> None:
    """Others are answered while one is silent, and the notifier closes."""
    assert served.address is not None
    with socket.create_connection(served.address):
        assert ask(served)[0].status == 200
        served.close()


def test_a_port_in_use_is_an_error_until_it_is_free() -> None:
    """The numbers are shown once whoever held the port has let go of it."""
    with socket.create_server((HOST, 0)) as other:
        notifier = Prometheus(port=other.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            notifier.send(batch(sample("a", "calls", "counter", 1)))
    notifier.send(batch(sample("a", "calls", "counter", 2)))
    try:
        assert b'target="a"} 2' in ask(notifier)[1]
    finally:
        notifier.close()


def test_an_ipv6_address_is_listened_at() -> None:
    """`host` may be an address of either kind."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    notifier = Prometheus(host="::1", port=0)
    notifier.warm_up()
    try:
        assert ask(notifier)[0].status == 200
    finally:
        notifier.close()


def test_the_textfile_is_replaced_whole(tmp_path: Path) -> None:
    """All may read it, nothing else is left in the directory, and it stays at the end."""
    path = tmp_path / "shop.prom"
    notifier = shown(batch(sample("a", "calls", "counter", 1)), port=None, textfile=str(path))

    assert path.read_text() == notifier.text(openmetrics=False)
    assert path.stat().st_mode & 0o777 == 0o644
    first = path.stat().st_ino
    notifier.send(batch(sample("a", "calls", "counter", 2), final=True))
    assert path.stat().st_ino != first
    assert of_target(parsed(path.read_text()), "a") == {"tach_calls_total": 2}
    assert list(tmp_path.iterdir()) == [path]


def test_a_textfile_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    """It is tried again, and leaves nothing behind."""
    path = tmp_path / "shop.prom"
    path.mkdir()
    notifier = Prometheus(textfile=str(path))
    with pytest.raises(OSError, match="directory"):
        notifier.send(batch())

    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        Prometheus(textfile=str(tmp_path / "no" / "shop.prom")).send(batch())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "it needs 'port', to be scraped at, or 'textfile', to write to"),
        ({"port": -1}, "port -1 must be from 0 to 65535"),
        ({"port": 0, "host": ""}, "host '' must be a name or an address"),
        ({"textfile": "a.txt"}, "textfile 'a.txt' must end in .prom"),
        ({"port": 0, "interval": 0}, "interval 0 must be from 0.1 to 86400"),
        ({"port": 0, "buckets": [2, 1]}, "buckets [2, 1] must ascend"),
        ({"port": 0, "buckets": [1, 1]}, "buckets [1, 1] must ascend"),
        ({"port": 0, "buckets": [math.inf]}, "buckets inf must be from"),
        ({"port": 0, "buckets": list(range(300))}, "buckets: 300 are too many; at most 200"),
        ({"port": 0, "quantiles": [99]}, "quantiles 99 must be from 0 to 1"),
        ({"port": 0, "labels": {"a-b": "c"}}, "label 'a-b' must be of letters, digits and _"),
        ({"port": 0, "labels": {"__a": "c"}}, "label '__a' must be of letters, digits and _"),
        ({"port": 0, "labels": {"target": "c"}}, "label 'target' is one of tach's own: target"),
        ({"port": 0, "labels": {"a": 1}}, "label 'a': the value 1 must be a text"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    """`check` says which option is wrong, and what it must be."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Prometheus.check(**options)


# The sender serves it: whole runs.


def scraped(port: int) -> Values:
    """What the run shows in OpenMetrics."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", "/metrics", headers={"Accept": OPENMETRICS})
        return parsed(connection.getresponse().read().decode())
    finally:
        connection.close()


def port_in_log(run_dir: Path) -> int:
    """The port that the sender has written to its log."""

    def said() -> re.Match[str] | None:
        logs = [each.read_text() for each in run_dir.glob("*/sender.log")]
        return re.search(r"serving http://127\.0\.0\.1:(\d+)/metrics", "".join(logs))

    return int(wait_for(said, 20)[1])


def test_a_free_port_is_in_the_log_and_the_totals_at_it(
    spawn_tach: Callable[..., subprocess.Popen[str]],
    programs: Path,
    tach_run_dir: Path,
    tmp_path: Path,
) -> None:
    """Port 0: the log says where to scrape. The file holds the same, and the last word."""
    textfile = tmp_path / "steady.prom"
    config = {
        "prefix": "p.{host}",
        "notifiers": {
            "prom": {
                "type": "prometheus",
                "port": 0,
                "textfile": str(textfile),
                "interval": "200ms",
                "strip": "p.{host}",
            }
        },
        "targets": {"work": "targets:function"},
    }
    program = spawn_tach(config, "steady.py", 1, 100, 3, cwd=programs)
    port = port_in_log(tach_run_dir)

    def calls() -> bool:
        return of_target(scraped(port), "work").get("tach_calls_total") == 100

    wait_for(calls, 20)
    assert program.wait(30) == 0
    wait_for(lambda: not list(tach_run_dir.iterdir()), 20)
    last = parsed(textfile.read_text())
    assert of_target(last, "work")["tach_duration_seconds_count"] == 100
    assert last["tach_run_active", ()] == 0
