"""What each notifier makes of samples that are no durations: gauges, sums, other distributions."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from measuring import Measuring

from tach.histogram import Histogram
from tach.notifiers.console import Console
from tach.notifiers.metrics_message import metrics_messages
from tach.notifiers.statsd import histogram_text
from tach.samples import Batch, Kind, Sample

END = 1_700_000_000.0
# -2.5, 3, 4 in millionths, as the sender gives them
VALUES = Histogram(Histogram.of([0, 3_000_000, 4_000_000]).pairs, 4_500_000, -2_500_000, 4_000_000)
WORK = "def work(number): return number\n"


def sample(suffix: str, kind: Kind, value: float | Histogram) -> Sample:
    """One sample of the series `c`."""
    return Sample(f"c.{suffix}", kind, value, END, "c", suffix)


SAMPLES = [
    sample("inflight", "gauge", 3),
    sample("inflight_max", "gauge", 7),
    sample("oldest", "gauge", 2.5),
    sample("aborted", "counter", 2),
    sample("total", "counter", -1.5),
    sample("cpu", "histogram", Histogram.of([2_000_000]).scaled(1e-6)),
    sample("value", "histogram", VALUES.scaled(1e-6)),
    sample("level", "gauge", -0.25),
]
BATCH = Batch(SAMPLES, END - 10, END)


@contextmanager
def carbon() -> Iterator[tuple[int, list[str]]]:
    """A port, and the lines that one connection to it brought, once it is closed."""
    lines: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile() as file:
                lines.extend(file)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], lines
        thread.join(30)


def test_the_table_says_them_in_words(capsys) -> None:
    """Times with their unit, other numbers plain, below the table."""
    Console().send(BATCH)
    [line] = [each for each in capsys.readouterr().err.splitlines() if each.startswith("c: ")]
    for part in [
        *("inflight 3", "inflight_max 7", "oldest 2.50 s", "aborted 2", "total -1.5"),
        *("level -0.25", "cpu mean 2.00 ms p99 2.00 ms max 2.00 ms sum 2.00 ms"),
        *("value mean 1.5 p99 ", " max 4 sum 4.5"),
    ]:
        assert part in line


def test_the_table_is_silent_of_what_does_not_run(capsys) -> None:
    """At the end of a run nothing is in flight; a value of 0 is a value."""
    nothing = [sample(suffix, "gauge", 0) for suffix in ("inflight", "inflight_max", "oldest")]
    Console().send(Batch([*nothing, sample("level", "gauge", 0)], END - 10, END))
    text = capsys.readouterr().err
    assert "c: level 0\n" in text
    assert "inflight" not in text


def test_notifications_hold_them_by_suffix() -> None:
    """`values` has numbers for counters and gauges, all of a distribution for histograms."""
    [event] = metrics_messages(BATCH, "here")
    payload = json.loads(event.message)["payload"]
    values = payload["values"]
    assert (payload["calls"], payload["duration_ms"]) == (None, None)
    numbers = {name: each for name, each in values.items() if not isinstance(each, dict)}
    assert numbers == {
        "inflight": 3,
        "inflight_max": 7,
        "oldest": 2.5,
        "aborted": 2,
        "total": -1.5,
        "level": -0.25,
    }
    found = values["value"]
    assert (found["count"], found["sum"], found["min"], found["max"]) == (3, 4.5, -2.5, 4)
    assert values["cpu"]["sum"] == 2


def test_statsd_takes_no_distribution_below_zero() -> None:
    """Its timers refuse negative numbers: those go as 0, and the count stays right."""
    lines = histogram_text("c.value", VALUES.scaled(1e-6), 500).split("\n")
    numbers = [float(each.removeprefix("c.value:").removesuffix("|ms")) for each in lines]
    assert numbers == pytest.approx([0, 3, 4], rel=0.01)
    assert numbers[0] == 0


def test_graphite_is_told_each_kind(run_tach, tmp_path: Path, tach_run_dir: Path) -> None:
    """Gauges as `.last` and `.max`, sums as `.count` and `.rate`, distributions whole."""
    measuring = Measuring(run_tach, tmp_path, tach_run_dir)
    measuring.write(work=WORK)
    every = {"function": "work:work", "notifiers": ["graphite"]}
    targets = {
        "up": {**every, "metrics": ["inflight"], "increment": 0.5},
        "down": {**every, "metrics": ["cpu"], "increment": -2},
        "gauge": {**every, "metrics": ["count"], "value": {"of": "result", "as": "gauge"}},
        "sum": {**every, "metrics": ["count"], "value": {"of": "result", "as": "counter"}},
        "all": {**every, "metrics": ["count"], "value": "result"},
    }
    with carbon() as (port, lines):
        graphite = {"type": "graphite", "port": port, "interval": "60s"}
        program = "import work\nfor each in (1.5, 4, -2.25): work.work(each)"
        measuring.run(program, targets, graphite=graphite)
    last = {path: float(value) for path, value, _ in (line.split() for line in lines)}
    expected = {
        "up.inflight.last": 0,
        "up.inflight.max": 1,
        "up.oldest.last": 0,
        "up.aborted.count": 0,
        "up.total.count": 1.5,
        "up.total.rate": 1.5 / 60,
        "down.total.count": -6,
        "down.cpu.count": 3,
        "gauge.value.last": -2.25,
        "sum.value.count": 3.25,
        "all.value.count": 3,
        "all.value.sum": 3.25,
        "all.value.min": -2.25,
        "all.value.max": 4,
        "all.calls.count": 3,
    }
    assert {path: last.get(path) for path in expected} == pytest.approx(expected)
