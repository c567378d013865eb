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


class Journal:
    """Appends lines, each with one write; gives up silently where that is not possible."""

    def __init__(self, run_dir: str) -> None:
        self._path = f"{run_dir}/{layout.JOURNAL}"
        self._kept: files.Identity | None = None

    def keep_open(self) -> None:
        """Hold on to the file, for a process that may give up the right to open it."""
        if self._kept is None or not files.still_open(self._kept):
            self._kept = files.open_high(
                self._path, posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT
            )

    def append(self, *fields: object) -> None:
        """Add one line. Never raises."""
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
