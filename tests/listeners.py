"""oslo.messaging's own notification listener, in a process of its own (`oslo_listener.py`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from rabbitmq_broker import RabbitmqBroker

PROGRAM = Path(__file__).parent / "oslo_listener.py"


class Listeners:
    """Listeners of one broker; a context manager that ends them."""

    def __init__(self, broker: RabbitmqBroker, directory: Path) -> None:
        if find_spec("oslo_messaging") is None:
            missing = "oslo.messaging is missing: pip install oslo.messaging"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
        self._broker = broker
        self._directory = directory
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Listeners:
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._started:
            listener.kill()
            listener.communicate()

    def start(
        self, topic: str = "notifications", durable: bool = True
    ) -> Callable[[], list[dict[str, Any]]]:
        """Listen to a topic of the exchange nova; returns what reads the notifications it got."""
        file = self._directory / f"{topic}.jsonl"
        file.touch()
        command = [sys.executable, "-W", "ignore", PROGRAM, self._broker.url, "nova", topic, file]
        with (self._directory / "listener.log").open("ab") as log:
            listener = subprocess.Popen(
                [*command, *(["durable"] if durable else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._started.append(listener)
        assert listener.stdout is not None
        said = listener.stdout.readline()
        assert said == "listening\n", (self._directory / "listener.log").read_text()
        return lambda: notifications_in(file)


def notifications_in(file: Path) -> list[dict[str, Any]]:
    """What the listener has written, but for a line that it is just writing."""
    lines = file.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
