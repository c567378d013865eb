"""Runs the real carbon-cache for tests, on free ports of this machine, and reads its files."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import whisper
from ports import HOST, free_ports
from processes import wait_for

ROOT = Path(__file__).parent.parent
HOW_TO_GET_IT = (
    "carbon-cache is missing: pip install 'carbon==1.1.10' 'txAMQP>=0.8' with a Python below 3.12, "
    "and name that Python by TACH_TEST_CARBON_PYTHON; or run tools/carbon.py"
)
CONFIG = """\
[cache]
STORAGE_DIR = {root}/storage
LOCAL_DATA_DIR = {root}/storage/whisper
LOG_DIR = {root}/storage/log
PID_DIR = {root}
CONF_DIR = {root}/conf
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {port}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickle_port}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {query_port}
CARBON_METRIC_INTERVAL = 0
MAX_CREATES_PER_MINUTE = {creates}
MAX_UPDATES_PER_SECOND = {updates}
MAX_CACHE_SIZE = {cache_size}
ENABLE_TAGS = False
LOG_UPDATES = False
"""
SCHEMAS = "[all]\npattern = .*\nretentions = {step}s:1h\n"
AGGREGATION = "[all]\npattern = .*\nxFilesFactor = 0\naggregationMethod = average\n"


@functools.cache
def find_carbon() -> tuple[str, str] | None:
    """The interpreter that has carbon and the script to run by it, or None."""
    named = os.environ.get("TACH_TEST_CARBON_PYTHON")
    for python in filter(None, [named, sys.executable, str(ROOT / ".venv/carbon/bin/python")]):
        script = Path(python).parent / "carbon-cache.py"
        if script.is_file() and os.access(python, os.X_OK):
            return python, str(script)
    return None


def require_carbon() -> None:
    """Skip the test where there is no carbon, or fail it under CI=true."""
    if find_carbon() is None:
        if os.environ.get("CI") == "true":
            pytest.fail(HOW_TO_GET_IT)
        pytest.skip(HOW_TO_GET_IT)


class CarbonDaemon:
    """A carbon-cache with one retention of `step` seconds; a context manager.

    `port`, `pickle_port` and what it has stored stay the same over `stop`, `kill` and `start`.
    With a small `cache_size` and few `updates` a second it stops reading from its senders.
    """

    def __init__(self, step: int = 1, cache_size: str = "inf", updates: str = "inf") -> None:
        self.step = step
        self._limits = {"cache_size": cache_size, "updates": updates, "creates": updates}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> CarbonDaemon:
        self.directory = Path(tempfile.mkdtemp(prefix="carbon-"))
        self.storage = self.directory / "storage" / "whisper"
        self.storage.mkdir(parents=True)
        (self.directory / "conf").mkdir()
        self._start_on_free_ports()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.directory)

    def start(self) -> None:
        """Start it on its ports and wait until it answers."""
        found = find_carbon()
        assert found is not None, HOW_TO_GET_IT
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*found, f"--config={self._conf / 'carbon.conf'}", "--debug", "start"],
                env={
                    "PATH": os.environ["PATH"],
                    "GRAPHITE_ROOT": str(self.directory),
                    # its messages were made for protobuf 3, and a later one may be there too
                    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python",
                },
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, 20, "carbon answers")

    def stop(self) -> None:
        """End it; nothing if it is stopped already."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def kill(self) -> None:
        """Kill it; nothing if it is stopped already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def names(self) -> list[str]:
        """The series that it has stored, by the names of their files, sorted."""
        files = self.storage.rglob("*.wsp")
        return sorted(".".join(file.relative_to(self.storage).parts)[:-4] for file in files)

    def stored(self, name: str) -> dict[int, float]:
        """The values that it has stored of a series, by the start of their step.

        The tags of a tagged one stand in order, as carbon has it.
        """
        file = self._file(name)
        if not file.exists():
            return {}
        try:
            (start, end, step), values = whisper.fetch(str(file), 0)
        except whisper.CorruptWhisperFile:  # it is just being made
            return {}
        return {
            stamp: value
            for stamp, value in zip(range(start, end, step), values, strict=True)
            if value is not None
        }

    def wait_for_value(self, name: str, stamp: int, value: float, timeout: float = 15.0) -> None:
        """Wait until it has stored this value; AssertionError if it does not."""
        wait_for(
            lambda: self.stored(name).get(stamp) == value,
            timeout,
            f"{name} is {value} at {stamp}; {self.stored(name)}",
        )

    def cached(self, name: str) -> list[tuple[int, float]]:
        """What it was sent of a series and has not stored yet."""
        request = pickle.dumps({"type": "cache-query", "metric": name}, protocol=2)
        with socket.create_connection((HOST, self.query_port), timeout=10) as connection:
            connection.sendall(struct.pack("!L", len(request)) + request)
            with connection.makefile("rb") as answer:
                (length,) = struct.unpack("!L", answer.read(4))
                points: list[Any] = pickle.loads(answer.read(length))["datapoints"]
        return [(int(stamp), value) for stamp, value in points]

    def _file(self, name: str) -> Path:
        if ";" in name:
            digest = hashlib.sha256(name.encode()).hexdigest()
            return self.storage / "_tagged" / digest[:3] / digest[3:6] / f"{digest}.wsp"
        return self.storage / (name.replace(".", "/") + ".wsp")

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.directory / "log").read_text()

    @property
    def _conf(self) -> Path:
        return self.directory / "conf"

    def _start_on_free_ports(self) -> None:
        for attempts_left in (2, 1, 0):
            self.port, self.pickle_port, self.query_port = free_ports(3)
            self._write_config()
            try:
                self.start()
                break
            except AssertionError:  # another process was quicker to take one of the ports
                self.kill()
                if not attempts_left:
                    shutil.rmtree(self.directory)
                    raise

    def _write_config(self) -> None:
        ports = {
            "port": self.port,
            "pickle_port": self.pickle_port,
            "query_port": self.query_port,
        }
        config = CONFIG.format(root=self.directory, **ports, **self._limits)
        (self._conf / "carbon.conf").write_text(config)
        (self._conf / "storage-schemas.conf").write_text(SCHEMAS.format(step=self.step))
        (self._conf / "storage-aggregation.conf").write_text(AGGREGATION)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"carbon ended: {self.log}"
        try:
            self.cached("none")
            socket.create_connection((HOST, self.port)).close()
            socket.create_connection((HOST, self.pickle_port)).close()
        except OSError:
            return False
        return True
