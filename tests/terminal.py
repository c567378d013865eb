"""A real terminal, and what stands on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

SIZES = ("COLUMNS", "LINES")  # what would be believed instead of the terminal


class Terminal:
    """A terminal of 20 lines in which a command runs."""

    def __init__(
        self, command: list[str], environment: dict[str, str], directory: Path, columns: int = 120
    ) -> None:
        self.screen = pyte.Screen(columns, 20)
        self._stream = pyte.ByteStream(self.screen)
        self.file, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 20, columns, 0, 0))
        self.before = termios.tcgetattr(child)
        unset = {name: each for name, each in environment.items() if name not in SIZES}
        self.shown = subprocess.Popen(
            command,
            env={**unset, "TERM": "xterm-256color"},
            cwd=directory,
            stdin=child,
            stdout=child,
            stderr=child,
        )
        self.child = child

    def read_until(self, fact: Callable[[], object]) -> None:
        """Show what it writes until the fact holds."""
        deadline = time.monotonic() + 60
        while not fact():
            assert time.monotonic() < deadline, "\n".join(self.screen.display)
            self.read(0.1)

    def read(self, seconds: float) -> bool:
        """Show what it writes; whether there was anything."""
        ready = select.poll()
        ready.register(self.file, select.POLLIN)
        if not ready.poll(seconds * 1000):
            return False
        self._stream.feed(os.read(self.file, 65536))
        return True

    def ended(self) -> int:
        """Its exit status, when all that it wrote has been shown."""
        self.read_until(lambda: self.shown.poll() is not None)
        while self.read(0):
            pass
        return self.shown.returncode

    def is_as_before(self) -> bool:
        """Whether keys are echoed and lines edited again."""
        return termios.tcgetattr(self.child) == self.before

    def close(self) -> None:
        """End what runs in it."""
        self.shown.kill()
        self.shown.wait(20)
        os.close(self.file)
        os.close(self.child)
