"""Reads the segment of one process while that process writes it."""

from __future__ import annotations

import math
import mmap
import os
from array import array
from collections.abc import Iterator

from tach import buckets, layout
from tach.samples import Running
from tach.sender.counts import NOTHING, Counts

ALL_BLOCKS = (1 << layout.BLOCKS) - 1
NOBODY = (1 << 64) - 1
_QUANTITIES = (layout.KIND_DURATION, layout.KIND_NUMBER)


class NotASegment(Exception):
    """The file is not a segment, not yet one, or one of another version of tach."""


class Series:
    """One series of a segment: its entries, and those of its error classes and quantities.

    There is more than one where several threads were the first to need it; one of them is used.
    `own_name` is "" for a series that goes by its target's name; `owner` is the totals' to give.
    Entries are offsets.
    """

    __slots__ = ("entries", "error_classes", "own_name", "owner", "quantities", "target")

    def __init__(self, target: int, own_name: str) -> None:
        self.target = target
        self.own_name = own_name
        self.owner = NOBODY
        self.entries: tuple[int, ...] = ()
        self.error_classes: tuple[tuple[str, int], ...] = ()
        self.quantities: tuple[tuple[str, int], ...] = ()


class SegmentReader:
    """One segment file. Raises NotASegment or OSError when made."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.view = memoryview(b"")
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._map()
            header = self._slice(0, layout.HEADER_BYTES).cast("Q")
        except (ValueError, NotASegment) as error:
            os.close(self._file)
            raise NotASegment(str(error)) from None
        if (header[layout.H_MAGIC], header[layout.H_VERSION]) != (layout.MAGIC, layout.VERSION):
            os.close(self._file)
            raise NotASegment("it does not begin as a segment of this version does")
        self._header = header
        self.pid: int = header[layout.H_PID]
        self.slot = 0
        self.place = 0  # of its bytes, among those of all segments
        self.damaged = False
        self._newest = 0
        self._by_name: dict[tuple[int, str], Series] = {}
        self.runtimes: dict[str, Series] = {}  # of the process as a whole
        self._by_offset: dict[int, Series] = {}
        self._offsets = array("Q")  # of the entries of calls
        self._owners = array("Q")
        self._seen = bytearray()

    @property
    def series(self) -> list[Series]:
        """The series found so far."""
        return list(self._by_name.values())

    def find_new(self) -> list[Series]:
        """The series that the process has added since the last call, or added to.

        Raises NotASegment where the file has been damaged since.
        """
        found: dict[Series, None] = {}
        newest = self._header[layout.H_FIRST]
        added = list(self._entries(newest, self._newest))
        self._newest = newest
        for offset, words in reversed(added):  # the oldest first: parents before their classes
            kind = words[layout.E_KIND]
            if kind == layout.KIND_RUNTIME:
                name = _name(words)
                runtime = self.runtimes.setdefault(name, Series(layout.NO_TARGET, name))
                runtime.entries += (offset,)
                self._by_offset[offset] = runtime
                continue
            series = self._take(kind, offset, words)
            if series is not None:
                found[series] = None
        return [series for series in found if series.target != layout.NO_TARGET]

    def _take(self, kind: int, offset: int, words: memoryview) -> Series | None:
        """The series, whether new or not, that the entry belongs to; None if to none."""
        if kind == layout.KIND_CALLS:
            key = words[layout.E_TARGET], _name(words)
            series = self._by_name.get(key)
            if series is None:
                series = self._by_name[key] = Series(*key)
            self._offsets.append(offset)
            self._seen += bytes(buckets.CHANGING)
            series.entries += (offset,)
            self._by_offset[offset] = series
            return series
        series = self._by_offset.get(words[layout.E_PARENT])
        if series is not None and kind == layout.KIND_ERROR_CLASS:
            series.error_classes += ((_name(words), offset),)
        elif series is not None and kind in _QUANTITIES:
            series.quantities += ((_name(words), offset),)
        return series

    def changed(self, news: array[int]) -> dict[int, int]:
        """Mark in `news` what has changed of the owners' series; the peaks of their running calls.

        A bit for each block that may count more than when this was last asked, and bit 0.
        """
        for offset in self._offsets[len(self._owners) :]:
            self._owners.append(self._by_offset[offset].owner)
        found: dict[int, int] = {}
        for entry, peak in buckets.changed(
            self.view, self._offsets, self._owners, self._seen, news
        ):
            owner = self._owners[entry]
            found[owner] = found.get(owner, 0) + peak
        return found

    def words(self, offset: int) -> memoryview:
        """The words of the cell there. Raises NotASegment where the file ends before."""
        return self._slice(offset, layout.CELL_BYTES).cast("Q")

    def follow_growth(self) -> bool:
        """See the whole file, which may have grown; whether it has."""
        if os.fstat(self._file).st_size <= len(self.view):
            return False
        self._map()
        return True

    def counts(self, series: Series) -> Counts:
        """What the series has counted up to now."""
        counts = self._counts(*series.entries)
        if not series.quantities and not series.error_classes:
            return counts
        return counts._replace(
            errors_by_type=self.errors_by_type(series), quantities=self.quantities(series)
        )

    def errors_by_type(self, series: Series) -> dict[str, int]:
        """How often its calls have raised each class."""
        found: dict[str, int] = {}
        for name, offset in series.error_classes:
            found[name] = found.get(name, 0) + self.words(offset)[layout.E_COUNT]
        return found

    def quantities(self, series: Series) -> dict[str, Counts]:
        """What else has been measured of its calls."""
        found: dict[str, Counts] = {}
        for name, offset in series.quantities:
            found[name] = found.get(name, NOTHING).plus(self._quantity(offset))
        return found

    def _quantity(self, offset: int) -> Counts:
        counts = self._counts(offset)
        words = self.words(offset)
        if words[layout.E_KIND] != layout.KIND_NUMBER:
            return counts
        if not counts.pairs:
            return NOTHING
        doubles = words.cast("B").cast("d")
        total, low, high = (
            _in_units(doubles[at]) for at in (layout.E_SUM, layout.E_MIN, layout.E_MAX)
        )
        return counts._replace(
            total=total,
            low=low,
            high=high,
            scale=1 / layout.NUMBER_UNITS,
            last=doubles[layout.E_LAST],
        )

    def _counts(self, *offsets: int) -> Counts:
        places = array("Q", [word for offset in offsets for word in (0, offset)])
        self.follow_growth()
        return Counts(*buckets.added_up([self.view], places, ALL_BLOCKS, b""), {})

    def running(self, series: Series, now: int) -> Running:
        """The calls of the series that run at `now` (monotonic nanoseconds)."""
        active = 0
        oldest = now
        for words in map(self.words, series.entries):
            active += words[layout.E_ACTIVE]
            starts = words[layout.E_SLOTS : layout.E_SLOTS + layout.SLOTS].tolist()
            crowd = words[layout.E_CROWD]
            if crowd:  # of those without a slot only the mean is known
                starts.append(words[layout.E_CROWD_STARTS] // crowd * layout.CROWD_UNIT)
            oldest = min([oldest, *(each for each in starts if each)])
        return Running(active, active, (now - oldest) / 1e9 if active else 0.0)

    def tell_news(self) -> None:
        """Let the process look at the plan, which has been changed."""
        self._header[layout.H_NEWS] = 1

    def close(self) -> None:
        """Let go of the file; the mapping goes with the last view of it."""
        os.close(self._file)

    def _entries(self, newest: int, known: int) -> Iterator[tuple[int, memoryview]]:
        offset, seen = newest, 0
        while offset and offset != known:
            words = self.words(offset)
            yield offset, words
            seen += 1
            if seen * layout.CELL_BYTES > len(self.view):
                raise NotASegment("its entries lead round in a circle")
            offset = words[layout.E_NEXT]

    def _slice(self, offset: int, length: int) -> memoryview:
        if offset + length > len(self.view):
            self._map()
        if offset % layout.WORD or offset + length > len(self.view):
            raise NotASegment(f"it ends before offset {offset}")
        return self.view[offset : offset + length]

    def _map(self) -> None:
        mapping = mmap.mmap(self._file, 0, access=mmap.ACCESS_WRITE)  # ValueError: empty
        self.view = memoryview(mapping)


def _in_units(number: float) -> int:
    if not math.isfinite(number):
        return 0  # only in a damaged segment
    whole = int(number)  # apart, or a large one would lose some
    return whole * layout.NUMBER_UNITS + round((number - whole) * layout.NUMBER_UNITS)


def _name(words: memoryview) -> str:
    length = min(words[layout.E_NAME_BYTES], layout.E_NAME_LIMIT)
    return words[layout.E_NAME : 32].tobytes()[:length].decode("utf-8", "replace")
