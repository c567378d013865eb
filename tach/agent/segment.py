"""Writes this process's segment: creates it, grows it, hands out entries and blocks.

All of it is off the per-call path, and none of it takes a lock: cells are numbered by
`itertools.count`, one step of the interpreter, and an entry is linked in by plain word stores.
"""

from __future__ import annotations

import itertools
import posix
import sys
from mmap import mmap

from tach import layout
from tach.agent import clock
from tach.layout import WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tach.agent.files import SegmentFile

_BYTE_ORDER = sys.byteorder
# an older mmap keeps a number of its own, the lowest free one
_UNTRACKED = {"trackfd": False} if sys.version_info >= (3, 13) else {}


class Segment:
    """The segment of this process, in `file`, begun by the first call of `entry`.

    `begun` is called with its header then.
    """

    def __init__(
        self,
        file: SegmentFile,
        program: str,
        begun: Callable[[memoryview], None] = lambda _header: None,
    ) -> None:
        self._begun = begun
        self._file = file
        self._program = program
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the parent's segment; the next entry starts one of this process's own."""
        self._header: memoryview | None = None
        self._regions: dict[int, memoryview] = {}  # by offset
        self._extents: dict[tuple[str, int], int] = {}
        self._extent_numbers = itertools.count()
        self._cells = {"entries": itertools.count(), "blocks": itertools.count()}

    def entry(
        self, kind: int, target: int, parent: int = 0, name: str = ""
    ) -> tuple[memoryview, int]:
        """The words of a new entry, and its offset.

        Raises OSError where there is no memory or no permission for it.
        """
        header = self._header
        if header is None:
            header = self._begin()
        words, offset = self._cell("entries")
        words[layout.E_KIND] = kind
        words[layout.E_TARGET] = target
        words[layout.E_PARENT] = parent
        words[layout.E_MIN] = (1 << 64) - 1
        _store_text(words, layout.E_NAME_BYTES, layout.E_NAME, name, layout.E_NAME_LIMIT)
        # two words, no call in between: no other thread can come between them
        words[layout.E_NEXT] = header[layout.H_FIRST]
        header[layout.H_FIRST] = offset
        return words, offset

    def block(self) -> tuple[memoryview, int]:
        """The words of a new block of buckets, and its offset. Raises OSError."""
        return self._cell("blocks")

    def _begin(self) -> memoryview:
        posix.posix_fallocate(self._file.number(), 0, layout.HEADER_BYTES)
        header = self._region(0)[1][: layout.HEADER_BYTES // WORD]
        header[layout.H_VERSION] = layout.VERSION
        header[layout.H_PID] = posix.getpid()
        header[layout.H_START_TICKS] = self._file.start_ticks
        header[layout.H_CREATED] = clock.monotonic_ns()
        _store_text(
            header, layout.H_PROGRAM_BYTES, layout.H_PROGRAM, self._program, layout.H_PROGRAM_LIMIT
        )
        header[layout.H_MAGIC] = layout.MAGIC
        self._header = header
        self._begun(header)
        return header

    def _cell(self, sort: str) -> tuple[memoryview, int]:
        number = next(self._cells[sort])
        extent, place = divmod(number, layout.CELLS_PER_EXTENT)
        start = layout.HEADER_BYTES + layout.EXTENT_BYTES * self._extent(sort, extent)
        offset = start + place * layout.CELL_BYTES
        region_start, words = self._region(offset)
        first = (offset - region_start) // WORD
        return words[first : first + layout.CELL_WORDS], offset

    def _extent(self, sort: str, number: int) -> int:
        """Where extent `number` of this sort lies; its memory is there when this returns."""
        place = self._extents.get((sort, number))
        if place is None:
            place = next(self._extent_numbers)
            start = layout.HEADER_BYTES + layout.EXTENT_BYTES * place
            self._region(start)
            # allocated now, because writing to a hole of a full file system is a SIGBUS
            posix.posix_fallocate(self._file.number(), start, layout.EXTENT_BYTES)
            place = self._extents.setdefault((sort, number), place)
        return place

    def _region(self, offset: int) -> tuple[int, memoryview]:
        """The mapping that `offset` lies in, made if it is not there yet, and where it starts."""
        # A header and whole extents in each, so that no cell lies across two.
        start, size = 0, layout.FIRST_REGION_BYTES + layout.HEADER_BYTES
        while offset >= start + size:
            start, size = start + size, (size - layout.HEADER_BYTES if start == 0 else size) * 2
        words = self._regions.get(start)
        if words is None:
            words = self._regions.setdefault(start, self._map(start, size))
        return start, words

    def _map(self, start: int, size: int) -> memoryview:
        number = self._file.number()
        # Makes the file that long, and never shorter whoever else does the same.
        posix.posix_fallocate(number, start + size - 1, 1)
        return memoryview(mmap(number, size, offset=start, **_UNTRACKED)).cast("Q")


def _store_text(words: memoryview, length_at: int, start: int, text: str, limit: int) -> None:
    data = layout.pad(text, limit)
    for index in range(0, len(data), WORD):
        words[start + index // WORD] = int.from_bytes(data[index : index + WORD], _BYTE_ORDER)
    words[length_at] = len(data.rstrip(b"\0"))
