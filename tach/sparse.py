"""Files with holes: of one that is appended to for months only what still counts takes memory."""

from __future__ import annotations

import errno
import mmap
import os


def content(file: int, start: int = 0, end: int | None = None) -> tuple[bytes, int]:
    """What the open file holds from `start` to `end`, its holes left out, and where that ends.

    Without an `end` it is that of the file. Raises OSError.
    """
    found: list[bytes] = []
    end = os.fstat(file).st_size if end is None else end
    place = start
    while place < end:
        begin, place = _next_data(file, place, end)
        found.append(os.pread(file, place - begin, begin))
    return b"".join(found), max(start, end)


def _next_data(file: int, place: int, end: int) -> tuple[int, int]:
    """Where there is data from `place` on: from here to there."""
    try:
        begin = os.lseek(file, place, os.SEEK_DATA)
        return min(begin, end), min(os.lseek(file, begin, os.SEEK_HOLE), end)
    except OSError as error:
        if error.errno == errno.ENXIO:  # there is only a hole
            return end, end
        return place, end  # a file system that knows of no holes, such as gVisor's


def replace(file: int, length: int, text: bytes) -> None:
    """Put `text` in the place of the first `length` bytes, which are more, and a hole behind it.

    Whoever appends meanwhile is not disturbed; who reads meanwhile may see some of both. Raises
    OSError.
    """
    first = -(-len(text) // mmap.PAGESIZE) * mmap.PAGESIZE
    last = max(first, length // mmap.PAGESIZE * mmap.PAGESIZE)
    os.pwrite(file, text + bytes(min(first, length) - len(text)), 0)
    if first < last:
        try:
            with mmap.mmap(file, last) as whole:
                whole.madvise(mmap.MADV_REMOVE, first, last - first)
        except OSError:  # a file system without holes
            os.pwrite(file, bytes(last - first), first)
    if last < length:
        os.pwrite(file, bytes(length - last), last)
