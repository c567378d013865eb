"""The run's journal: one appended line for each thing the sender should know, tab-separated.

process  PID  START_TICKS  PARENT  PYTHON  PROGRAM
target   PID  INDEX  STATE  REASON  CANDIDATES (separated by blanks)
trouble  PID  TEXT
early    PID  INDEX  FUNCTION  PLACES
debug    PID  TEXT
blocked  PID  NANOSECONDS  STACK
plan     PID  GENERATION (of the change that it has taken up)
closing  PID

What the sender has read it may put together: one line then stands for what several processes have
said, the dead ones' are gone, and the zeros behind are a hole. In their place is

ended    NUMBER (of processes that are not named any more)
"""

from __future__ import annotations

import posix

from tach import layout
from tach.agent import files

_LINE_LIMIT = 8192
_TROUBLES = 100  # distinct ones that a process tells
_DEBUG_LIMIT = 1 << 20  # bytes of what the metric `debug` tells in one process


class Journal:
    """What this process tells, each line with one write; silent where that is not possible."""

    def __init__(self, run_dir: str) -> None:
        self._path = f"{run_dir}/{layout.JOURNAL}"
        self._kept: files.Identity | None = None
        self._pid = posix.getpid()
        self._told: set[str] = set()
        self._debug_room = _DEBUG_LIMIT

    def after_fork(self) -> None:
        """Tell in the child's name."""
        self._pid = posix.getpid()

    def keep_open(self) -> None:
        """Hold on to the file, for a process that may give up the right to open it."""
        if self._kept is None or not files.still_open(self._kept):
            self._kept = files.open_high(
                self._path, posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT
            )

    def tell(self, kind: str, *fields: object) -> None:
        """Add a line of that kind. Never raises, nor do the others."""
        self.append(kind, self._pid, *fields)

    def tell_target(self, index: int, state: str, reason: str = "", candidates: str = "") -> None:
        """Add where a target stands."""
        self.tell("target", index, state, reason, candidates)

    def tell_trouble(self, text: str) -> None:
        """Add that something is wrong, once."""
        if text not in self._told and len(self._told) < _TROUBLES:
            self._told.add(text)
            self.tell("trouble", text)

    def tell_debug(self, text: str) -> None:
        """Add what the metric `debug` says of a call."""
        room, self._debug_room = self._debug_room, self._debug_room - len(text)
        if self._debug_room > 0:
            self.tell("debug", text)
        elif room > 0:
            self.tell("debug", "the rest is not logged: it was 1 MiB")

    def tell_blocked(self, nanoseconds: int, stack: str) -> None:
        """Add that a hub or loop was blocked, and by whom."""
        self.tell("blocked", nanoseconds, stack)

    def append(self, *fields: object) -> None:
        """Add one line."""
        texts = [" ".join(str(field).split()) for field in fields]
        line = "\t".join(texts).encode("utf-8", "backslashreplace")[:_LINE_LIMIT] + b"\n"
        try:
            if self._kept is not None and files.still_open(self._kept):
                posix.write(self._kept[0], line)
                return
            file = files.open_high(self._path, posix.O_WRONLY | posix.O_APPEND)
            try:
                posix.write(file[0], line)
            finally:
                posix.close(file[0])
        except OSError:
            pass  # the run directory has gone: nobody listens any more
