"""The run's plan as its processes read it: the one it began with, then each change of it.

The file is appended to only, so that who holds it open may read on after giving up the right to
open it. A record (`tach.layout` says how it is packed) holds

    layout, main_pid, exit_timeout, targets (module -> list), propagate, events, runtime, reload

or, of a change, the generation that it makes; the indexes of the targets it has `removed`; the new
ones as above, one that only means other functions now with the index it had; and what else is new:

    generation, removed, targets, exit_timeout, events
"""

from __future__ import annotations

import posix

from tach import layout
from tach.agent import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]


class PlanLog:
    """Reads the log of the run in `run_dir`, from its beginning on."""

    def __init__(self, run_dir: str) -> None:
        self._path = f"{run_dir}/{layout.AGENT_PLAN}"
        self._kept: files.Identity | None = None
        self._end = self._read_to = 0

    def keep_open(self) -> None:
        """Hold on to the file, for a process that may give up the right to open it.

        Raises OSError.
        """
        if self._kept is None or not files.still_open(self._kept):
            self._kept = files.open_high(self._path, posix.O_RDONLY)

    def grown(self) -> bool:
        """Whether there is something to read. Never raises."""
        try:
            if self._kept is not None and files.still_open(self._kept):
                return posix.fstat(self._kept[0]).st_size > self._end
            return posix.stat(self._path).st_size > self._end
        except OSError:
            return False

    def taken(self) -> None:
        """What has been read last need not be read again."""
        self._end = self._read_to

    def read(self) -> list[Record]:
        """The records that have not been taken. Raises OSError."""
        if self._kept is not None and files.still_open(self._kept):
            return self._read(self._kept[0])
        file = posix.open(self._path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            return self._read(file)
        finally:
            posix.close(file)

    def _read(self, file: int) -> list[Record]:
        data = posix.pread(file, posix.fstat(file).st_size - self._end, self._end)
        found = layout.whole_records(data)
        self._read_to = self._end + (found[-1][1] if found else 0)
        return [record for record, _ in found]
