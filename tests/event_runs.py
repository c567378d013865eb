"""What the notifications of runs are, as the `log` notifier has written them to a file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from processes import wait_for
from reports import Report

Message = dict[str, Any]
CALLS = """
import os, signal, sys, time

class Context:
    def __init__(self, request_id, **more):
        self.request_id = request_id
        self.auth_token = "s3cret"
        self.__dict__.update(more)

class Boom(Exception):
    pass

class Thing:
    def __init__(self, **more):
        self.__dict__.update(more)

class Worker:
    host = "here"

    def work(self, number=None, context=None, fail=False, do=None, password=None, **more):
        answer = do() if do else number
        if fail:
            raise Boom(f"call {number}")
        return answer

def outer(number, do):
    return do()
"""


class EventRun:
    """Configurations whose events go to a file, and what that file holds."""

    def __init__(self, directory: Path, run_dir: Path) -> None:
        self.directory = directory
        self.file = directory / "events.log"
        self.spool = directory / "spool"
        self._run_dir = run_dir
        self.report = Report(directory / "report.jsonl", run_dir)
        (directory / "calls.py").write_text(CALLS)

    def config(self, payload: dict[str, str] | None = None, **top: Any) -> dict[str, Any]:
        """A configuration that tells of `calls:Worker.work` and `calls:outer`."""
        report = self.report.config()["notifiers"]
        target = {"metrics": ["count", "events"], "payload": payload or {"number": "args.number"}}
        return {
            "notifiers": {**report, "bus": {"type": "log", "file": str(self.file)}},
            "spool": {"directory": str(self.spool), **top.pop("spool", {})},
            "targets": {
                "work": {"function": "calls:Worker.work", **target, **top.pop("target", {})},
                "outer": {"function": "calls:outer", "metrics": ["events"]},
            },
            **top,
        }

    def program(self, text: str) -> Path:
        """A program that may use what is in CALLS."""
        file = self.directory / "program.py"
        file.write_text(f"import os, signal, sys, threading, time\nimport calls\n{text}")
        return file

    def ended(self) -> None:
        """Wait until every run is over."""
        wait_for(lambda: not list(self._run_dir.iterdir()), message="the end of every run")

    def messages(self, suffix: str = "") -> list[Message]:
        """All that has been delivered, once every run is over."""
        self.ended()
        return self.so_far(suffix)

    def so_far(self, suffix: str = "") -> list[Message]:
        """What has been delivered until now."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        found = [
            json.loads(line.partition(" event ")[2].partition(" ")[2])
            for line in lines
            if " event " in line
        ]
        return [each for each in found if each["event_type"].endswith(suffix)]

    def counts(self) -> dict[str, int]:
        """How many of each event type."""
        return dict(Counter(each["event_type"] for each in self.messages()))

    def spooled(self) -> list[Path]:
        """The files of events that wait."""
        return sorted(self.spool.rglob("*.spool"))
