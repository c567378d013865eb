"""The processes of a test: started, waited for, and none left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
LINGER = 15.0


def wait_for(predicate: Callable[[], T], timeout: float = 10.0, message: str = "") -> T:
    """The first true value that `predicate` returns; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > deadline:
            what = message or getattr(predicate, "__name__", "it")
            raise AssertionError(f"waited {timeout:g} s for: {what}; last seen: {value!r}")
        time.sleep(0.01)
    return value


def wait_until(fact: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
    """Wait until the fact holds; AssertionError, naming `what` it is, after `timeout` seconds."""
    wait_for(fact, timeout, what)


def stop_group(group: int) -> None:
    """Stop all processes of the group; when this returns none of their threads runs any more."""
    os.killpg(group, signal.SIGSTOP)
    wait_for(lambda: set(_states_in(group)) <= {"T", "Z"}, message="all of the group stand still")


def _states_in(group: int) -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getpgid(int(process.name)) == group:
                for task in process.glob("task/*/stat"):
                    yield task.read_text().rpartition(")")[2].split()[0]


class Process(NamedTuple):
    """A process as /proc shows it."""

    pid: int
    parent: int
    command: str


def marked(mark: str) -> list[Process]:
    """The living processes that were started with `mark` (NAME=value) in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(_read(entry))
    return [process for process in found if process.parent]


def _read(entry: Path) -> Process:
    state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return Process(int(entry.name), 0 if state in "ZX" else int(parent), command.strip())


class Processes:
    """Starts processes that carry `mark` in their environment, and sees to it that all end."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self._started: list[subprocess.Popen[str]] = []

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[str]:
        """A process with text pipes for stdout and stderr, unless `options` say otherwise."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        process = subprocess.Popen(command, **options)
        self._started.append(process)
        return process

    def end(self) -> list[Process]:
        """Kill and reap what was started, its children too. Returns what outlived it, and kills it.

        What outlives is what still runs some seconds after it lost its parent: a sender that does
        not notice that its run is over, or a worker that nobody stopped.
        """
        for process in self._started:
            with process:  # closes its pipes, whoever else holds them, and reaps it
                if process.poll() is None:
                    for each in reversed(self._family(process.pid)):
                        _kill(each)
        deadline = time.monotonic() + LINGER
        while (left := marked(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.02)
        for each in left:
            _kill(each.pid)
        return left

    def _family(self, root: int) -> list[int]:
        """The process `root` and its descendants, parents before their children."""
        processes = marked(self.mark)
        family = [root]
        for ancestor in family:
            family += [each.pid for each in processes if each.parent == ancestor]
        return family


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
