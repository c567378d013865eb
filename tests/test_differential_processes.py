"""Measured callables go to other processes as bare ones do."""

from __future__ import annotations

import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from differential import Measured
from recording import Recording
from reports import Report

TARGETS = {
    "function": "function",
    "decorated": "decorated",
    "partial": "partial",
    "cached": "cached",
    "from_c": "from_c",
    "instance": "instance",
    "method": "Thing.method",
    "inherited": "Last.inherited",
    "of_class": "Thing.of_class",
    "static": "Thing.static",
    "call": "Thing.__call__",
    "shade": "Colour.shade",
    "total": "Pair.total",
    "scaled": "Point.scaled",
    "init": "Thing.__init__",
}


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Probes of this test's own."""
    return Recording(tmp_path)


@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pools_give_what_they_gave(
    method: str, pure: str, run_tach: Any, programs: Path, tmp_path: Path, tach_run_dir: Path
) -> None:
    """Whatever the start method, all callables get there, give the same, and count exactly."""
    for name in ("pools.py", "callables.py"):
        shutil.copy(programs / name, tmp_path)
    command = [sys.executable, "-W", "ignore", str(tmp_path / "pools.py"), method]
    bare = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    report = Report(tmp_path / "report.json", tach_run_dir)
    config = report.config(**{name: f"callables:{each}" for name, each in TARGETS.items()})

    ended = run_tach(config, *command, env={"TACH_PURE": pure})

    assert (ended.returncode, ended.stderr) == (0, "")
    assert without_addresses(ended.stdout) == without_addresses(bare.stdout)
    calls = report.calls()
    # as one of those given, in the pool, in the executor, in a process
    assert calls["function"] == 3 + 20 + 5 + 1
    assert [calls[name] for name in ("method", "inherited", "static", "shade")] == [3] * 4
    # an object is pickled by its value, and comes out bare
    assert "partial" not in calls


def without_addresses(text: str) -> str:
    """The text, the same in every process."""
    return re.sub(r"0x[0-9a-f]+", "0x", text)


def test_a_function_that_was_held_before_cannot_be_pickled(recording: Recording) -> None:
    """What the module had put into a table is not what its name stands for: see `rebind`."""
    measured = Measured(recording, "function")
    with measured.entered():
        pickle.dumps(measured.module.function)
        with pytest.raises(pickle.PicklingError, match="not the same object"):
            pickle.dumps(measured.module.held["function"])
