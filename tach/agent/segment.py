"""Writes this process's segment: creates it, grows it, hands out entries and blocks.

All of it is off the per-call path, and none of it takes a lock: cells are numbered by
`itertools.count`, one step of the interpreter, and an entry is linked in by plain word stores.
"""

from __future__ import annotations

import itertools
import posix
import sys

from tach import layout
from tach.agent import clock, files
from tach.layout import WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BYTE_ORDER = sys.byteorder
# an older mmap keeps a number of its own, the lowest free one
_UNTRACKED = {"trackfd": False} if sys.version_info >= (3, 13) else {}


class Segment:
    """The segment of this process, created by the first call of `entry`.

    `begun` is called with its header then.
    """

    def __init__(
        self,
        run_dir: str,
        program: str,
        start_ticks: int,
        begun: Callable[[memoryview], None] = lambda _header: None,
    ) -> None:
        self._begun = begun
        self._run_dir = run_dir
        self._program = program
        self._start_ticks = start_ticks
        self._path = ""
        self._file: files.Identity | None = None  # set as one with its path
        self._header: memoryview | None = None
        self._regions: dict[int, memoryview] = {}  # by offset
        self._forget_cells()

    def _forget_cells(self) -> None:
        self._extents: dict[tuple[str, int], int] = {}
        self._extent_numbers = itertools.count()
        self._cells = {"entries": itertools.count(), "blocks": itertools.count()}

    def after_fork(self, start_ticks: int) -> None:
        """Forget the parent's segment; the next entry starts one of this process's own."""
        self._start_ticks = start_ticks
        if self._file is not None and files.still_open(self._file):
            posix.close(self._file[0])
        self._file = self._header = None
        self._regions = {}
        self._forget_cells()

    def reserve(self) -> None:
        """Create the file now, for a process that may give up the right to do it later.

        Raises OSError.
        """
        import mmap  # noqa: F401 - now, while the file of this module can still be read

        # the time makes the name new after an exec, which keeps pid and start
        name = (
            f"{posix.getpid()}-{self._start_ticks}-{clock.monotonic_ns():x}{layout.SEGMENT_SUFFIX}"
        )
        path = f"{self._run_dir}/{name}"
        file = files.open_high(path, posix.O_RDWR | posix.O_CREAT | posix.O_EXCL)
        # No call from the test to the stores: of two threads here at once, the first one's counts.
        if self._file is None:
            self._path = path
            self._file = file
        else:
            posix.close(file[0])
            posix.unlink(path)

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
        if self._file is None:
            self.reserve()
        posix.posix_fallocate(self._number(), 0, layout.HEADER_BYTES)
        header = self._region(0)[1][: layout.HEADER_BYTES // WORD]
        header[layout.H_VERSION] = layout.VERSION
        header[layout.H_PID] = posix.getpid()
        header[layout.H_START_TICKS] = self._start_ticks
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
            posix.posix_fallocate(self._number(), start, layout.EXTENT_BYTES)
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
        from mmap import mmap

        number = self._number()
        # Makes the file that long, and never shorter whoever else does the same.
        posix.posix_fallocate(number, start + size - 1, 1)
        return memoryview(mmap(number, size, offset=start, **_UNTRACKED)).cast("Q")

    def _number(self) -> int:
        if self._file is None or not files.still_open(self._file):
            # programs that daemonise close what they did not open
            self._file = files.open_high(self._path, posix.O_RDWR)
        return self._file[0]


def _store_text(words: memoryview, length_at: int, start: int, text: str, limit: int) -> None:
    data = layout.pad(text, limit)
    for index in range(0, len(data), WORD):
        words[start + index // WORD] = int.from_bytes(data[index : index + WORD], _BYTE_ORDER)
    words[length_at] = len(data.rstrip(b"\0"))
