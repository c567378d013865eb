"""Knows which events may have arrived without the sender's knowledge, and so may arrive twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tach.sender.spool_files import Item, SpoolFile


class Doubts:
    """How far in each file events have been on offer, and how far some of them are in doubt."""

    def __init__(self) -> None:
        # file -> end of a record: all before it that are not known to have arrived are meant
        self._offered: dict[str, int] = {}
        self._doubted: dict[str, int] = {}
        self._own: set[bytes] = set()  # messages of the sender's own making that are in doubt

    def offer(self, items: Sequence[Item]) -> bool:
        """These are going to be offered; whether some of them never were before."""
        ends = {item.file.name: item.record.end for item in items if item.file and item.record}
        further = {name: end for name, end in ends.items() if end > self._offered.get(name, 0)}
        self._offered.update(further)
        return bool(further)

    def withdraw(self, items: Sequence[Item]) -> None:
        """These were offered, and nobody was there: none of them has arrived now."""
        for name in {item.file.name for item in items if item.file}:
            self._offered[name] = self._doubted.get(name, 0)

    def doubt(self, items: Sequence[Item]) -> None:
        """These were offered, and nobody knows which of them have arrived."""
        for item in items:
            if item.file is None or item.record is None:
                self._own.add(item.event.message)
            else:
                end = max(item.record.end, self._doubted.get(item.file.name, 0))
                self._doubted[item.file.name] = end

    def has(self, item: Item) -> bool:
        """Whether it may have arrived."""
        if item.file is None or item.record is None:
            return item.event.message in self._own
        return item.record.end <= self._doubted.get(item.file.name, 0)

    def settle(self, message: bytes) -> None:
        """A message of the sender's own making has arrived for certain."""
        self._own.discard(message)

    def move(self, old: SpoolFile, new: SpoolFile) -> None:
        """What is left of a file has become another one."""
        for ends in (self._offered, self._doubted):
            if ends.get(old.name, 0) > old.offset:
                ends[new.name] = new.size

    def forget(self, name: str) -> None:
        """The file is no more."""
        self._offered.pop(name, None)
        self._doubted.pop(name, None)

    def to_plain(self, done: Mapping[str, int]) -> dict[str, int]:
        """Values that marshal can write; `done` is how far each file has been dealt with."""
        return {name: end for name, end in self._offered.items() if end > done.get(name, 0)}

    def from_plain(self, offered: dict[str, int], own: Sequence[bytes]) -> None:
        """Begin as the successor of who left this: all that was on offer is in doubt."""
        self._offered = offered
        self._doubted, self._own = dict(offered), set(own)
