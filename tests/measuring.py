"""Small programs run under tach, and what it tells of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reports import Report

Json = dict[str, Any]


class Measured:
    """What a run has said: `series` by name, the `targets` not patched, `troubles`, its output."""

    def __init__(self, lines: list[Json], done: subprocess.CompletedProcess[str]) -> None:
        self.series = {line["series"]: line for line in lines if "series" in line}
        self.targets = {line["target"]: line for line in lines if "target" in line}
        self.troubles = [line["trouble"] for line in lines if "trouble" in line]
        self.stdout = done.stdout
        self.stderr = done.stderr

    @property
    def calls(self) -> dict[str, int]:
        """The calls of each series."""
        return {name: line["calls"] for name, line in self.series.items()}


class Measuring:
    """Runs programs in `directory`, which may import what lies there."""

    def __init__(self, run_tach: Callable[..., Any], directory: Path, run_dir: Path) -> None:
        self._run_tach = run_tach
        self.directory = directory
        self.report = Report(directory / "report.jsonl", run_dir)

    def config(self, targets: Json, **more: Any) -> Json:
        """What measures `targets` and reports to a file, beside `more` notifiers."""
        config = self.report.config(**targets)
        config["notifiers"].update(more)
        return config

    def write(self, **modules: str) -> None:
        """Write the modules that the program may import."""
        for name, text in modules.items():
            (self.directory / f"{name}.py").write_text(text)

    def run(
        self, program: str, targets: Json, *, status: int = 0, speaks: bool = False, **more: Any
    ) -> Measured:
        """Measure the program, which ends with that status, and `speaks` on standard error."""
        self.write(program=program)
        config = self.config(targets, **more)
        done = self._run_tach(config, sys.executable, self.directory / "program.py", timeout=300)
        assert done.returncode == status, done.stderr
        assert speaks or not done.stderr, done.stderr
        return Measured(self.report.lines(), done)
