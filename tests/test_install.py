"""`tach.install()`: a program that starts its own measurement, and stops it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import Processes, wait_for

TARGETS = "targets:\n  f: targets:function\n"


@pytest.fixture
def run_python(
    processes: Processes, environment: dict[str, str], programs: Path, tmp_path: Path
) -> Callable[[str], tuple[int, str, str]]:
    """Run code with the test programs importable; (status, stdout, stderr)."""

    def run(code: str) -> tuple[int, str, str]:
        process = processes.start(
            [sys.executable, "-c", code],
            env={**environment, "PYTHONPATH": str(programs)},
            cwd=tmp_path,
        )
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    return run


def report(path: Path) -> dict[str, Any]:
    """What the console notifier wrote of `f`."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return next(line for line in lines if line.get("series") == "f")


def test_a_program_measures_itself(run_python: Any, tmp_path: Path, tach_run_dir: Path) -> None:
    """From install() on calls are counted, in forked children too, and reported at the end."""
    (tmp_path / "tach.yaml").write_text(
        TARGETS + "notifiers:\n  json: {type: console, format: json, file: report}\n"
    )
    code = """
import os, targets, tach
tach.install("tach.yaml")
for _ in range(10): targets.function()
if os.fork() == 0:
    for _ in range(5): targets.function()
    os._exit(0)
os.wait()
"""
    assert run_python(code) == (0, "", "")
    wait_for(lambda: not list(tach_run_dir.iterdir()), message="the end of the run")
    assert report(tmp_path / "report")["calls"] == 15


def test_uninstall_undoes_it(run_python: Any, tmp_path: Path, tach_run_dir: Path) -> None:
    """After uninstall() the function is the very one it was, and it can be installed anew."""
    (tmp_path / "tach.yaml").write_text(
        TARGETS + "notifiers:\n  json: {type: console, format: json, file: report}\n"
    )
    code = """
import sys, targets, tach
before, finders = targets.function, list(sys.meta_path)
for _ in range(2):
    tach.install("tach.yaml")
    assert targets.function is not before
    targets.function()
    tach.uninstall()
    assert targets.function is before
    assert sys.meta_path == finders
    targets.function()
"""
    assert run_python(code) == (0, "", "")
    wait_for(lambda: not list(tach_run_dir.iterdir()), message="the end of both runs")
    lines = (tmp_path / "report").read_text().splitlines()
    assert [json.loads(line)["calls"] for line in lines if '"series"' in line] == [1, 1]


def test_a_wrong_configuration_is_a_value_error(run_python: Any, tmp_path: Path) -> None:
    """Its text names every error; nothing is measured then."""
    (tmp_path / "tach.yaml").write_text("targets:\n  f: {function: targets:function, metrix: x}\n")
    code = """
import targets, tach
before = targets.function
try: tach.install("tach.yaml")
except ValueError as error: print(error)
assert targets.function is before
"""
    status, out, _ = run_python(code)
    assert status == 0
    assert out == "tach.yaml:2: targets.f: unknown key 'metrix'; did you mean 'metrics'?\n"


def test_twice_is_a_runtime_error(run_python: Any, tmp_path: Path) -> None:
    """A process is measured by one run: a second install() says so and changes nothing."""
    (tmp_path / "tach.yaml").write_text(TARGETS)
    code = """
import targets, tach
tach.install("tach.yaml")
try: tach.install("tach.yaml")
except RuntimeError as error: print(error)
"""
    _, out, _ = run_python(code)
    assert out == "tach measures this process already; call tach.uninstall() first\n"
