"""Reads the segment of one process while that process writes it."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator

from tach import layout
from tach.histogram import BLOCK_BYTES
from tach.sender.counts import Counts


class NotASegment(Exception):
    """The file is not a segment, not yet one, or one of another version of tach."""


class Series:
    """One series of a segment: its entry and those of its error classes."""

    def __init__(self, target: int, words: memoryview) -> None:
        self.target = target
        self.words = words
        self.error_classes: dict[str, memoryview] = {}
        self._seen: tuple[int, int, int, int] = (0, 0, 0, 0)

    def changed(self) -> bool:
        """Whether calls ended since the last time this was asked."""
        words = self.words
        now = (
            words[layout.E_SUM],
            words[layout.E_ERRORS],
            words[layout.E_CANCELLED],
            words[layout.E_IGNORED],
        )
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
        self._newest = 0
        self._by_offset: dict[int, Series] = {}

    @property
    def series(self) -> list[Series]:
        """The series found so far."""
        return list(self._by_offset.values())

    def find_new(self) -> list[Series]:
        """The series that the process has added since the last call."""
        found = []
        newest = self._header[layout.H_FIRST]
        added = list(self._entries(newest, self._newest))
        self._newest = newest
        for offset, words in reversed(added):  # the oldest first: parents before their classes
            if words[layout.E_KIND] == layout.KIND_CALLS:
                series = Series(words[layout.E_TARGET], words)
                self._by_offset[offset] = series
                found.append(series)
            elif words[layout.E_KIND] == layout.KIND_ERROR_CLASS:
                parent = self._by_offset.get(words[layout.E_PARENT])
                if parent is not None:
                    parent.error_classes[_name(words)] = words
        return found

    def counts(self, series: Series) -> Counts:
        """What the series has counted up to now."""
        words = series.words
        blocks = {}
        for block in range(layout.LOWEST_BLOCK, layout.BLOCKS):
            offset = words[layout.E_BLOCKS + block]
            if offset:
                data = self._slice(offset, BLOCK_BYTES)
                blocks[block] = int.from_bytes(data, sys.byteorder)
        total, high = words[layout.E_SUM], words[layout.E_MAX]
        return Counts(
            blocks,
            total,
            words[layout.E_MIN],
            high if blocks else -1,
            words[layout.E_ERRORS],
            words[layout.E_CANCELLED],
            words[layout.E_IGNORED],
            {name: each[layout.E_COUNT] for name, each in series.error_classes.items()},
        )

    def close(self) -> None:
        """Let go of the file; the mapping goes with the last view of it."""
        os.close(self._file)

    def _entries(self, newest: int, known: int) -> Iterator[tuple[int, memoryview]]:
        offset = newest
        while offset and offset != known:
            words = self._words(offset, layout.CELL_BYTES)
            yield offset, words
            offset = words[layout.E_NEXT]

    def _words(self, offset: int, length: int) -> memoryview:
        return self._slice(offset, length).cast("Q")

    def _slice(self, offset: int, length: int) -> memoryview:
        if offset + length > len(self._bytes):
            self._map()
        if offset % layout.WORD or offset + length > len(self._bytes):
            raise NotASegment(f"it ends before offset {offset}")
        return self._bytes[offset : offset + length]

    def _map(self) -> None:
        mapping = mmap.mmap(self._file, 0, access=mmap.ACCESS_READ)  # ValueError: empty
        self._bytes = memoryview(mapping)


def _name(words: memoryview) -> str:
    length = min(words[layout.E_NAME_BYTES], layout.E_NAME_LIMIT)
    return words[layout.E_NAME : 32].tobytes()[:length].decode("utf-8", "replace")
