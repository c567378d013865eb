"""The report of a run as its JSON lines tell it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from processes import wait_for


class Report:
    """The report that runs append to `file`; `run_dir` is where they live."""

    def __init__(self, file: Path, run_dir: Path) -> None:
        self._file = file
        self._run_dir = run_dir

    def config(self, **targets: Any) -> dict[str, Any]:
        """A configuration that measures `targets` and reports nowhere else."""
        console = {"type": "console", "format": "json", "file": str(self._file)}
        return {"notifiers": {"report": console}, "targets": targets}

    def lines(self) -> list[dict[str, Any]]:
        """What has been reported, once every run is over and has left nothing behind."""
        wait_for(lambda: not list(self._run_dir.iterdir()), message="the end of every run")
        return [json.loads(line) for line in self._file.read_text().splitlines()]

    def calls(self) -> dict[str, int]:
        """The calls of each series."""
        return {line["series"]: line["calls"] for line in self.lines() if "series" in line}

    def troubles(self) -> list[str]:
        """What went wrong."""
        return [line["trouble"] for line in self.lines() if "trouble" in line]
