"""Durations on their way through probe, segment, sender and daemon: known ones, exactly."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
from processes import wait_for

CALLS = 100_000
ROUNDS = 5
MU, SIGMA = math.log(5e6), 0.8  # of the logarithms of nanoseconds: a median of 5 ms
LINES = 500

Start = Callable[[str], subprocess.Popen[str]]


def true(fraction: float) -> float:
    """The quantile of the distribution, in milliseconds."""
    return math.exp(NormalDist(MU, SIGMA).inv_cdf(fraction)) / 1e6


@pytest.fixture
def start(
    spawn_tach: Callable[..., subprocess.Popen[str]],
    statsd_daemon: Any,
    programs: Path,
    tmp_path: Path,
) -> Start:
    """Start the program that makes the calls, with that interval."""

    def started(interval: str) -> subprocess.Popen[str]:
        report = str(tmp_path / "report.json")
        config = {
            "interval": interval,
            "notifiers": {
                "statsd": {"type": "statsd", "port": statsd_daemon.port, "max_lines": LINES},
                "console": {"type": "console", "format": "json", "file": report},
            },
            "defaults": {"notifiers": ["statsd", "console"]},
            "targets": {"f": "timed:work"},
        }
        command = (sys.executable, programs / "lognormal.py", str(MU), str(SIGMA))
        env = {"TACH_PURE": "1"}  # a clock in Python can be replaced
        return spawn_tach(config, *command, stdin=subprocess.PIPE, env=env)

    return started


def finish(program: subprocess.Popen[str], more: str, run_dir: Path) -> str:
    """Let the program make `more` calls and end; what it printed, once all has been sent."""
    stdout, stderr = program.communicate(more, 60)
    assert (program.returncode, stderr) == (0, "")
    wait_for(lambda: not list(run_dir.iterdir()), message="the end of the run")
    return stdout


def flushed(daemon: Any) -> dict[str, Any]:
    """What the daemon makes of the durations when it flushes."""
    daemon.stop()
    data: dict[str, Any] = daemon.flushes()[-1]["timer_data"]["f.duration"]
    return data


def test_percentiles_in_the_daemon(start: Start, statsd_daemon: Any, tach_run_dir: Path) -> None:
    """100,000 calls in one flush: an exact count from few lines, and percentiles within 1 %.

    Each line stands for the calls half a line around it: at p99, where 0.1 % of rank is 3 % of
    duration, that is the greater part of the error.
    """
    finish(start("1h"), f"{CALLS}\n", tach_run_dir)
    lines = len(statsd_daemon.timers()["f.duration"])
    calls = statsd_daemon.counters()["f.calls"]
    data = flushed(statsd_daemon)

    assert calls == CALLS
    assert data["count"] == CALLS
    assert lines <= LINES
    assert data["median"] == pytest.approx(true(0.5), rel=0.01)
    assert data["upper_50"] == pytest.approx(true(0.5), rel=0.01)
    assert data["upper_90"] == pytest.approx(true(0.9), rel=0.01)
    assert true(0.99 - 1 / lines) * 0.99 <= data["upper_99"] <= true(0.99 + 1 / lines) * 1.01


def test_percentiles_in_the_report(start: Start, tach_run_dir: Path, tmp_path: Path) -> None:
    """The report has count, total, least and greatest exactly, and percentiles within 1 %."""
    printed = finish(start("1h"), f"{CALLS}\n", tach_run_dir)
    total, least, greatest = (int(word) / 1e6 for word in printed.split())
    report = json.loads((tmp_path / "report.json").read_text())

    assert report["calls"] == CALLS
    assert report["total_ms"] == pytest.approx(total, rel=1e-9)
    assert report["min_ms"] == pytest.approx(least, rel=1e-9)
    assert report["max_ms"] == pytest.approx(greatest, rel=1e-9)
    assert report["mean_ms"] == pytest.approx(total / CALLS, rel=1e-9)
    for name, fraction in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)):
        assert report[name] == pytest.approx(true(fraction), rel=0.01)


def test_counts_add_up_over_flushes(start: Start, statsd_daemon: Any, tach_run_dir: Path) -> None:
    """Calls in many flushes: the daemon's counts add up to all of them."""
    program = start("100ms")
    assert program.stdin is not None
    for number in range(1, ROUNDS):
        program.stdin.write(f"{CALLS // ROUNDS}\n")
        program.stdin.flush()
        statsd_daemon.wait_for_counter("f.calls", CALLS // ROUNDS * number)
    finish(program, f"{CALLS // ROUNDS}\n", tach_run_dir)

    assert statsd_daemon.counters()["f.calls"] == CALLS
    assert flushed(statsd_daemon)["count"] == CALLS
