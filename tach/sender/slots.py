"""Small stable numbers for processes: receivers keep series for ever, so no pid may name one."""

from __future__ import annotations

from tach.sender.log import RecordLog

# (pid, start in ticks) names a process for good
ProcessKey = tuple[int, int]


class Slots:
    """Gives each process the least number that no living one has; kept in the file at `path`."""

    def __init__(self, path: str) -> None:
        self._log = RecordLog(path)
        self._taken: dict[ProcessKey, int] = {}
        for pid, start_ticks, slot in self._log.read():
            self._set((pid, start_ticks), slot)

    def take(self, process: ProcessKey) -> int:
        """The number of this process."""
        if process not in self._taken:
            taken = set(self._taken.values())
            slot = next(number for number in range(len(taken) + 1) if number not in taken)
            self._remember(process, slot)
        return self._taken[process]

    def release(self, process: ProcessKey) -> None:
        """Let another process have this one's number."""
        if process in self._taken:
            self._remember(process, None)

    def _remember(self, process: ProcessKey, slot: int | None) -> None:
        self._set(process, slot)
        self._log.append((*process, slot))
        if self._log.crowded():
            self._log.replace_all([(*key, each) for key, each in self._taken.items()])

    def _set(self, process: ProcessKey, slot: int | None) -> None:
        if slot is None:
            self._taken.pop(process, None)
        else:
            self._taken[process] = slot
