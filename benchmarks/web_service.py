"""A service in Flask under gunicorn, measured in some way or not at all."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import peers
import proc
from report import megabytes
from scratch import Scratch
from sender import find_senders, wait_for_end

TARGETS = 200
PATIENCE = 30.0  # seconds for it to begin, or to have measured all
SHORT = 0.25  # seconds of load at a time
GUNICORN = ("--workers", "1", "--worker-class", "sync", "--log-level", "error")
CONFIG = """\
notifiers: {{statsd: {{type: statsd, port: {port}}}}}
targets:
{targets}
"""


class Kind(NamedTuple):
    """A service: under `tach` with so many targets, or under a peer, or in a way of `ways`."""

    title: str
    targets: int = 0
    peer: str = ""
    way: str = "bare"
    turns: int = 1  # in each round
    seconds: float = SHORT  # of a turn

    @property
    def measured(self) -> int:
        """How many of the functions are measured."""
        return self.targets or (TARGETS if self.way != "bare" else 0)


class Slice(NamedTuple):
    """What a service did under load for a short time; times in seconds."""

    rate: float  # requests a second
    median: float
    p99: float
    processor: float  # time for a request
    sender: float  # share of a core


class Service:
    """A service that runs; AbsentError with its last words if it does not, as a peer."""

    def __init__(self, scratch: Scratch, kind: Kind, number: int, port: int, sink: str) -> None:
        if kind.peer:
            peers.require(scratch, kind.peer)
        self.kind = kind
        self.calls = 0  # of the functions, in all
        self.socket = str(scratch.directory / f"service{number}")
        self.run_dir = scratch.directory / f"service{number}-run"
        self._complaints = scratch.directory / f"service{number}.err"
        gunicorn = ("gunicorn", *GUNICORN, "--bind", f"unix:{self.socket}", "service_app:app")
        variables = self._variables(scratch, port, sink)
        command = self._command(scratch, gunicorn, port)
        with self._complaints.open("w") as stderr:
            self._process = scratch.start(
                *command, variables=variables, stderr=stderr, stdout=subprocess.DEVNULL
            )
        self._senders: Sequence[Path] = ()
        try:
            self._wait()
        except BaseException:
            self.end()
            raise

    def _variables(self, scratch: Scratch, port: int, sink: str) -> dict[str, str]:
        own = scratch.variables()
        found = peers.PEERS[self.kind.peer].variables(sink) if self.kind.peer else own
        return {
            **found,
            "WAY": self.kind.way,
            "PORT": str(port),
            "TACH_RUN_DIR": str(self.run_dir),
        }

    def _command(self, scratch: Scratch, gunicorn: tuple[str, ...], port: int) -> tuple[str, ...]:
        if self.kind.peer:
            peer = peers.PEERS[self.kind.peer]
            command = (*peer.launcher, str(peer.bin / gunicorn[0]), *gunicorn[1:])
            return (str(peer.bin / command[0]), *command[1:])
        own = (str(scratch.bin / gunicorn[0]), *gunicorn[1:])
        if not self.kind.targets:
            return own
        names = ["handle", *(f"f{number}" for number in range(self.kind.targets - 1))]
        targets = "\n".join(f"  {name}: work:{name}" for name in names)
        name = f"service{self.kind.targets}.yaml"
        return (scratch.tach, scratch.config(name, CONFIG.format(port=port, targets=targets)), *own)

    def _wait(self) -> None:
        """Wait until it can be asked."""
        deadline = time.monotonic() + PATIENCE
        while not Path(self.socket).exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise peers.ended(self.kind.peer, self._complaints)
            time.sleep(0.05)

    def slice(self, load: subprocess.Popen[str], calls: int, seconds: float) -> Slice:
        """Put the load on it, of requests that make so many calls."""
        assert load.stdin is not None
        assert load.stdout is not None
        if self.kind.targets and not self._senders:
            self._senders = find_senders(self)
        own = self.processes()
        before = proc.cpu_seconds(own), proc.cpu_seconds(self._senders)
        load.stdin.write(f"{self.socket} /{calls} {seconds}\n")
        load.stdin.flush()
        found = json.loads(load.stdout.readline())
        if "trouble" in found:
            kind = peers.AbsentError if self.kind.peer else RuntimeError
            raise kind(f"{self.kind.title}: {found['trouble']}")
        used = proc.cpu_seconds(own) - before[0]
        beside = proc.cpu_seconds(self._senders) - before[1]
        requests, lasted = found["requests"], found["seconds"]
        self.calls += requests * (1 + calls)
        rate = requests / lasted
        return Slice(rate, found["median"], found["p99"], used / requests, beside / lasted)

    def processes(self) -> list[Path]:
        """gunicorn and its worker, in /proc."""
        return proc.family(self._process.pid)

    def memory(self) -> tuple[str, ...]:
        """The row of the table."""
        own = proc.memory(self.processes())
        cells = (megabytes(own.resident), megabytes(own.proportional))
        if not self.kind.targets:
            return self.kind.title, *cells, "", ""
        beside = proc.memory(self._senders)
        more = (megabytes(beside.resident), megabytes(beside.proportional))
        return self.kind.title, *cells, *more

    def check(self, scratch: Scratch) -> None:
        """Fail if tach has missed a call of those that all requests together made."""
        if self.kind.targets != TARGETS:
            return
        variables = {**scratch.variables(), "TACH_RUN_DIR": str(self.run_dir)}
        deadline = time.monotonic() + PATIENCE
        while (found := self._measured(scratch, variables)) != self.calls:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{found} calls measured, not {self.calls}")
            time.sleep(0.5)

    def _measured(self, scratch: Scratch, variables: Mapping[str, str]) -> int:
        """How many calls tach has measured; -1 if its sender has been too slow to say."""
        try:
            answer = scratch.run(scratch.tach, "status", "--json", variables=variables)
        except subprocess.CalledProcessError:
            return -1
        (run,) = json.loads(answer)["runs"]
        return sum(target["calls"] for target in run["targets"])

    def end(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate()
        if self.kind.targets:
            wait_for_end(self)
