"""Calls that do not end: in the status, as a notification, and when their process dies."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from processes import wait_for
from reports import Report

CONFIG = """
notifiers:
  journal: {type: log, file: events.log}
  report: {type: console, format: json, file: report}
spool: {directory: spool}
targets:
  never:
    function: stuck:never
    metrics: [timing, count, events]
    event: order.wait
    stall_after: 1s
    notifiers: [journal, report]
"""
STUCK = """
import threading, time
def never():
    print("begun", flush=True)
    time.sleep(600)
"""


def test_a_call_that_never_ends(
    tmp_path: Path,
    tach_run_dir: Path,
    spawn_tach: Callable[..., subprocess.Popen[str]],
    environment: dict[str, str],
) -> None:
    """It shows in the status with its age, as a notification, and is `aborted` with its process."""
    (tmp_path / "stuck.py").write_text(STUCK)
    program = spawn_tach(CONFIG, sys.executable, "-c", "import stuck; stuck.never()")
    assert program.stdout is not None
    assert program.stdout.readline() == "begun\n"

    def target() -> Any:
        command = [sys.executable, "-m", "tach", "status", "--json", str(program.pid)]
        asked = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        return json.loads(asked.stdout)["runs"][0]["targets"][0]

    wait_for(lambda: target()["inflight"] == 1, message="it is in the status")
    wait_for(lambda: target()["oldest"] > 1, message="its age is, too")
    log = tmp_path / "events.log"
    wait_for(lambda: "order.wait.stalled" in log.read_text(), message="the notification")
    program.kill()
    program.wait(20)
    lines = Report(tmp_path / "report", tach_run_dir).lines()

    (never,) = [line for line in lines if line.get("series") == "never"]
    assert (never["aborted"], never["inflight_max"], never["calls"]) == (1, 1, None)
    stalled = [line for line in log.read_text().splitlines() if "order.wait.stalled" in line]
    message = json.loads(stalled[0].partition("order.wait.stalled ")[2])
    assert message["priority"] == "WARN"
    assert message["payload"]["series"] == "never"
    assert message["payload"]["inflight"] == 1
    assert message["payload"]["oldest"] >= 1
    assert any("running for more than 1 s" in line.get("trouble", "") for line in lines)
