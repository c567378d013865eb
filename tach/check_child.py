"""The process in which `tach check` has modules imported: time-boxed, and nothing of it is left."""

from __future__ import annotations

import ast
import contextlib
import marshal
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from tach.check_program import Program

Record = dict[str, Any]

_MARK = "TACH_CHECK"  # in the environment of the process and of all that it starts
_LOOK_EVERY = 0.05
_LAST_LOOKS = 3  # a process has no environment for a moment while it becomes another program
_STDERR_KEPT = 8192
_START = """\
import sys
if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]
from tach.agent import look
look.main({})
"""


class Broken(Exception):
    """The process could not begin to look: its last words."""


class Child:
    """A process that runs `tach.agent.look` under the program's own interpreter.

    After `records`, `importing` is the module at which it was killed or ended, "" if at none, and
    `ended` says in words how; it `is_late` if that was for the time. Use it as a context: that
    kills it with all that it has started.
    """

    def __init__(self, program: Program, request: Record) -> None:
        self.importing = ""
        self.ended = ""
        self.is_late = False
        self._mark = f"{os.getpid()}-{os.urandom(8).hex()}"
        self._stderr = b""
        self._rest = b""
        result, write = os.pipe()
        self._result = result
        try:
            self._process = subprocess.Popen(
                [program.python, *program.options, "-c", _START.format(write)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[write],
                env={**os.environ, _MARK: self._mark},
                start_new_session=True,
            )
        finally:
            os.close(write)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(marshal.dumps(request, 2))

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        looks = _LAST_LOOKS
        while looks:
            left = _marked(f"{_MARK}={self._mark}".encode())
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            looks = _LAST_LOOKS if left else looks - 1
            time.sleep(0.01)
        self._process.wait()
        os.close(self._result)
        assert self._process.stderr is not None
        self._process.stderr.close()

    def records(self, limit: float) -> Iterator[Record]:
        """What it writes within `limit` seconds. Raises Broken if it did not get to write."""
        give_up = time.monotonic() + limit
        begun = False
        for line in self._lines(give_up):
            begun = True
            record: Record = ast.literal_eval(line.decode())
            if "end" in record:
                return
            if "importing" in record:
                self.importing = record["importing"]
            else:
                yield record
        if self._process.poll() is None:
            self.is_late = True
            self.ended = f"did not end within {limit:g} s and was killed"
        else:
            self.ended = f"ended the process with {_status(self._process.returncode)}"
        if not begun:
            words = self._stderr.decode(errors="replace").strip().splitlines()
            raise Broken(words[-1] if words else f"it {self.ended}")

    def _lines(self, give_up: float) -> Iterator[bytes]:
        assert self._process.stderr is not None
        stderr = self._process.stderr.fileno()
        with selectors.DefaultSelector() as selector:
            for file in (self._result, stderr):
                os.set_blocking(file, False)
                selector.register(file, selectors.EVENT_READ)
            while (now := time.monotonic()) < give_up:
                # Asked before reading: what it wrote before it ended is there to be read.
                has_ended = self._process.poll() is not None
                ready = {key.fd for key, _ in selector.select(min(_LOOK_EVERY, give_up - now))}
                if stderr in ready:
                    text = os.read(stderr, 1 << 16)
                    self._stderr = (self._stderr + text)[-_STDERR_KEPT:]
                    if not text:
                        selector.unregister(stderr)
                if self._result in ready:
                    data = os.read(self._result, 1 << 16)
                    *lines, self._rest = (self._rest + data).split(b"\n")
                    yield from lines
                    if not data:
                        selector.unregister(self._result)
                elif has_ended and not ready:
                    return


def _status(code: int) -> str:
    if code >= 0:
        return f"status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _marked(mark: bytes) -> list[int]:
    """The living processes with that in their environment."""
    return [
        int(name) for name in os.listdir("/proc") if name.isdigit() and mark in _environment(name)
    ]


def _environment(pid: str) -> list[bytes]:
    """The environment of the process, as NAME=value."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []
