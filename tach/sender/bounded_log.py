"""The sender's own log."""

from __future__ import annotations

import contextlib
import logging
import os

LOG_LIMIT = 1 << 20  # bytes


class BoundedLog(logging.FileHandler):
    """A file that begins anew when it is full; what it held before is kept as `.1` beside it.

    It lies in memory, and a run may start processes for months. (The standard library's handler for
    that would cost each sender 0.7 MB.)
    """

    def __init__(self, path: str, limit: int = LOG_LIMIT) -> None:
        super().__init__(path)
        self._limit = limit

    def emit(self, record: logging.LogRecord) -> None:
        """Write it down."""
        super().emit(record)
        full = self.stream
        with contextlib.suppress(OSError):  # no room: it grows, or what it says is lost
            if full is not None and full.tell() > self._limit:
                os.replace(self.baseFilename, f"{self.baseFilename}.1")
                self.stream = self._open()
                full.close()
