"""Runs the real statsd daemon (node) for tests, on free ports of this machine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ports import HOST, free_ports
from processes import wait_until

ROOT = Path(__file__).parent.parent
BACKEND = Path(__file__).parent / "json_backend.js"
HOW_TO_GET_IT = "the statsd daemon is missing: install node, then `npm install statsd` in the root"


def find_statsd() -> Path | None:
    """The directory of the npm package, or None when it or node is missing."""
    modules = Path(os.environ.get("TACH_TEST_NODE_MODULES") or ROOT / "node_modules")
    package = (modules if modules.name == "node_modules" else modules / "node_modules") / "statsd"
    return package if shutil.which("node") and (package / "stats.js").is_file() else None


def require_statsd() -> None:
    """Skip the test where there is no statsd daemon, or fail it under CI=true."""
    if find_statsd() is None:
        if os.environ.get("CI") == "true":
            pytest.fail(HOW_TO_GET_IT)
        pytest.skip(HOW_TO_GET_IT)


class StatsdDaemon:
    """A statsd daemon with UDP, TCP and unix socket servers; a context manager.

    `port` (UDP), `tcp_port`, `mgmt_port` and `socket_path` stay the same over `stop` and `start`.
    It flushes when stopped, and every `flush_interval` seconds: by default never, so that what it
    was sent adds up.
    """

    def __init__(
        self, flush_interval: float = 86400.0, percentiles: Sequence[float] = (50, 90, 99)
    ) -> None:
        self.flush_interval = flush_interval
        self.percentiles = list(percentiles)
        self.port = self.tcp_port = self.mgmt_port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> StatsdDaemon:
        # Not in pytest's own directory: the path of a unix socket must be short.
        self.directory = Path(tempfile.mkdtemp(prefix="statsd-"))
        self.socket_path = str(self.directory / "statsd.sock")
        self._start_on_free_ports()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.directory)

    def start(self) -> None:
        """Start the daemon on its ports and wait until it answers."""
        package = find_statsd()
        assert package is not None, HOW_TO_GET_IT
        Path(self.socket_path).unlink(missing_ok=True)
        config = self.directory / "config.js"
        config.write_text(json.dumps(self._config()))
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["node", "--require", BACKEND, "stats.js", config],
                cwd=package,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, "the statsd daemon answers")

    def stop(self) -> None:
        """End the daemon, which flushes; nothing if it is stopped already."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def counters(self) -> dict[str, float]:
        """The counters since the last flush."""
        return self._ask("counters")

    def gauges(self) -> dict[str, float]:
        """The gauges as they stand."""
        return self._ask("gauges")

    def timers(self) -> dict[str, list[float]]:
        """The raw values of the timers since the last flush."""
        return self._ask("timers")

    def flushes(self) -> list[dict[str, Any]]:
        """All flushes: dicts of timestamp, counters, gauges, timers and timer_data.

        `timer_data` is what the daemon computed of each timer: count, median, upper_90 etc.
        """
        file = self._flush_file
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def wait_for_counter(self, name: str, value: float, timeout: float = 15.0) -> None:
        """Wait until the counter has reached the value; AssertionError if it does not."""
        wait_until(
            lambda: self.counters().get(name, 0) >= value,
            f"counter {name} reaches {value}",
            timeout,
        )

    @property
    def _flush_file(self) -> Path:
        return self.directory / "flushes"

    def _start_on_free_ports(self) -> None:
        for attempts_left in (2, 1, 0):
            self.port, self.tcp_port, self.mgmt_port = free_ports(3)
            try:
                self.start()
                break
            except AssertionError:  # another process was quicker to take one of the ports
                self.stop()
                if not attempts_left:
                    shutil.rmtree(self.directory)
                    raise

    def _config(self) -> dict[str, Any]:
        return {
            "automaticConfigReload": False,
            "backends": [str(BACKEND)],
            "flushInterval": int(self.flush_interval * 1000),
            "flush_file": str(self._flush_file),
            "mgmt_address": HOST,
            "mgmt_port": self.mgmt_port,
            "percentThreshold": self.percentiles,
            "servers": [
                {"server": "./servers/udp", "address": HOST, "port": self.port},
                {"server": "./servers/tcp", "address": HOST, "port": self.tcp_port},
                {"server": "./servers/tcp", "socket": self.socket_path},
            ],
        }

    def _answers(self) -> bool:
        assert self._process is not None
        log = self.directory / "log"
        assert self._process.poll() is None, f"statsd ended: {log.read_text()}"
        try:
            self.counters()
        except OSError:
            return False
        return Path(self.socket_path).exists()

    def _ask(self, command: str) -> Any:
        answer = b""
        with socket.create_connection((HOST, self.mgmt_port), timeout=10) as connection:
            connection.sendall(command.encode() + b"\n")
            while not answer.endswith(b"END\n\n"):
                received = connection.recv(65536)
                if not received:
                    raise ConnectionResetError("statsd hung up on its management port")
                answer += received
        return json.loads(answer.removesuffix(b"END\n\n"))
