"""However the processes of a run die, what they recorded arrives, exactly."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import wait_for

CALLS = 3 * 1000 + 500
ENDS = {
    "SIGKILL": -signal.SIGKILL,
    "SIGTERM": -signal.SIGTERM,
    "_exit": 4,
    "exit": 3,
    "uncaught": 1,
    "normal": 0,
}


@pytest.mark.parametrize("how", ENDS)
def test_exact_under_death(
    how: str, run_tach: Callable[..., Any], statsd_daemon: Any, programs: Path
) -> None:
    """Forked workers and the main process killed: every call and error counted, status kept."""
    config = {
        "prefix": "shop",
        "notifiers": {"statsd": {"type": "statsd", "port": statsd_daemon.port}},
        "targets": {"serve": "dying_targets:Service.serve"},
    }

    ended = run_tach(config, sys.executable, programs / "dying.py", how)

    assert ended.returncode == ENDS[how], ended.stderr
    wait_for(
        lambda: statsd_daemon.counters().get("shop.serve.calls") == CALLS,
        message=f"{CALLS} calls in {statsd_daemon.counters()}",
    )
    counters = statsd_daemon.counters()
    assert counters["shop.serve.errors"] == CALLS / 10
    assert counters["shop.serve.errors.by_type.KeyError"] == CALLS / 20
    assert counters["shop.serve.errors.by_type.Refused"] == CALLS / 20


def test_the_run_directory_is_removed(
    run_tach: Callable[..., Any], programs: Path, tach_run_dir: Path
) -> None:
    """After the last process nothing of the run is left, even if all of them were killed."""
    run_tach(
        {"targets": {"serve": "dying_targets:Service.serve"}},
        sys.executable,
        programs / "dying.py",
        "SIGKILL",
    )

    wait_for(lambda: not list(tach_run_dir.iterdir()), message="an empty run directory")
