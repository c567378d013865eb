"""A program without memory: what it calls does what it does without tach, and is counted later."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from reports import Report

from tach.agent.probes import compiled

pytest.importorskip("_testcapi", reason="it lets allocations fail")
if compiled() is None:
    pytest.skip("a probe in Python needs memory itself", allow_module_level=True)

CALLS = 210  # of without_memory.py
TARGETS = {
    "function": {"function": "without_memory:function", "metrics": ["timing", "inflight"]},
    "named.{args.argument}": "without_memory:named",
    "method": "without_memory:Class.method",
    "generator": "without_memory:generator",
    "failing": "without_memory:fails",
}


@pytest.mark.parametrize("kind", ["function", "named", "method", "generator", "failing"])
def test_no_call_fails_for_want_of_what_tach_needs(
    kind: str,
    programs: Path,
    run_tach: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    tach_run_dir: Path,
) -> None:
    """Whichever allocation fails, calls end as they do bare; and count once there is memory."""
    command = [sys.executable, "-c", f"import without_memory; without_memory.main({kind!r})"]
    bare = subprocess.run(command, cwd=programs, capture_output=True, text=True, check=True)
    report = Report(tmp_path / "report.json", tach_run_dir)

    ended = run_tach(report.config(**TARGETS), *command, cwd=programs)

    assert ended.returncode == 0, ended.stderr
    (ends, well), (bare_ends, bare_well) = parsed(ended.stdout), parsed(bare.stdout)
    assert ends <= bare_ends
    assert well >= bare_well - 2  # how many allocations Python itself makes is not always the same
    [counted] = report.calls().values()
    assert CALLS - 100 <= counted <= CALLS


def parsed(printed: str) -> tuple[set[str], int]:
    """Where calls have ended, and how many of them well."""
    ends, _, well = printed.rpartition(" ")
    return {*ends.strip("[]").replace("'", "").split(", ")}, int(well)
