"""Reads the segment of one process while that process writes it."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator

from tach import layout
from tach.histogram import BLOCK_BYTES
from tach.sender.counts import Counts

_GROWING = (layout.E_SUM, layout.E_ERRORS, layout.E_CANCELLED, layout.E_IGNORED)


class NotASegment(Exception):
    """The file is not a segment, not yet one, or one of another version of tach."""


class Series:
    """One series of a segment: its entries and those of its error classes.

    There is more than one where several threads were the first to need it; one of them is used.
    `name` is the totals' to give.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.name = ""
        self.entries: list[memoryview] = []
        self.error_classes: list[tuple[str, memoryview]] = []
        self._seen: list[int] = []

    def changed(self) -> bool:
        """Whether calls ended since the last time this was asked."""
        now = [words[at] for words in self.entries for at in _GROWING]
        if now == self._seen:
            return False
        self._seen = now
        return True


class SegmentReader:
    """One segment file. Raises NotASegment or OSError when made."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._bytes = memoryview(b"")
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._map()
            header = self._words(0, layout.HEADER_BYTES)
        except (ValueError, NotASegment) as error:
            os.close(self._file)
            raise NotASegment(str(error)) from None
        if (header[layout.H_MAGIC], header[layout.H_VERSION]) != (layout.MAGIC, layout.VERSION):
            os.close(self._file)
            raise NotASegment("it does not begin as a segment of this version does")
        self._header = header
        self.pid: int = header[layout.H_PID]
        self.slot = 0
        self.damaged = False
        self._newest = 0
        self._by_target: dict[int, Series] = {}
        self._by_offset: dict[int, Series] = {}

    @property
    def series(self) -> list[Series]:
        """The series found so far."""
        return list(self._by_target.values())

    def find_new(self) -> list[Series]:
        """The series that the process has added since the last call.

        Raises NotASegment where the file has been damaged since.
        """
        found = []
        newest = self._header[layout.H_FIRST]
        added = list(self._entries(newest, self._newest))
        self._newest = newest
        for offset, words in reversed(added):  # the oldest first: parents before their classes
            if words[layout.E_KIND] == layout.KIND_CALLS:
                target = words[layout.E_TARGET]
                if target not in self._by_target:
                    self._by_target[target] = Series(target)
                    found.append(self._by_target[target])
                self._by_target[target].entries.append(words)
                self._by_offset[offset] = self._by_target[target]
            elif words[layout.E_KIND] == layout.KIND_ERROR_CLASS:
                parent = self._by_offset.get(words[layout.E_PARENT])
                if parent is not None:
                    parent.error_classes.append((_name(words), words))
        return found

    def counts(self, series: Series) -> Counts:
        """What the series has counted up to now."""
        errors_by_type: dict[str, int] = {}
        for name, words in series.error_classes:
            errors_by_type[name] = errors_by_type.get(name, 0) + words[layout.E_COUNT]
        first, *others = series.entries
        counts = self._counts(first, errors_by_type)
        for words in others:
            counts = counts.plus(self._counts(words, {}))
        return counts

    def _counts(self, words: memoryview, errors_by_type: dict[str, int]) -> Counts:
        blocks = {}
        for block in range(layout.LOWEST_BLOCK, layout.BLOCKS):
            offset = words[layout.E_BLOCKS + block]
            if offset and self._reaches(offset):
                data = self._slice(offset, BLOCK_BYTES)
                blocks[block] = int.from_bytes(data, sys.byteorder)
        return Counts(
            blocks,
            words[layout.E_SUM],
            words[layout.E_MIN],
            words[layout.E_MAX] if blocks else -1,
            words[layout.E_ERRORS],
            words[layout.E_CANCELLED],
            words[layout.E_IGNORED],
            errors_by_type,
        )

    def close(self) -> None:
        """Let go of the file; the mapping goes with the last view of it."""
        os.close(self._file)

    def _entries(self, newest: int, known: int) -> Iterator[tuple[int, memoryview]]:
        offset, seen = newest, 0
        while offset and offset != known:
            words = self._words(offset, layout.CELL_BYTES)
            yield offset, words
            seen += 1
            if seen * layout.CELL_BYTES > len(self._bytes):
                raise NotASegment("its entries lead round in a circle")
            offset = words[layout.E_NEXT]

    def _words(self, offset: int, length: int) -> memoryview:
        return self._slice(offset, length).cast("Q")

    def _slice(self, offset: int, length: int) -> memoryview:
        if offset + length > len(self._bytes):
            self._map()
        if offset % layout.WORD or offset + length > len(self._bytes):
            raise NotASegment(f"it ends before offset {offset}")
        return self._bytes[offset : offset + length]

    def _reaches(self, offset: int) -> bool:
        """Whether there is a block at the offset: not in a file that has been damaged."""
        if offset + BLOCK_BYTES > len(self._bytes):
            self._map()
        return not offset % layout.WORD and offset + BLOCK_BYTES <= len(self._bytes)

    def _map(self) -> None:
        mapping = mmap.mmap(self._file, 0, access=mmap.ACCESS_READ)  # ValueError: empty
        self._bytes = memoryview(mapping)


def _name(words: memoryview) -> str:
    length = min(words[layout.E_NAME_BYTES], layout.E_NAME_LIMIT)
    return words[layout.E_NAME : 32].tobytes()[:length].decode("utf-8", "replace")
