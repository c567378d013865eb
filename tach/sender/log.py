"""A file of records that survives the death of its writer: append, read back, compact."""

from __future__ import annotations

import errno
import marshal
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any

FORMAT = 2  # later ones look for what is twice in a record, at twice the cost
_HEAD = struct.Struct("=II")  # length, crc32


class RecordLog:
    """Records (values that marshal can write) in a file; a torn last record is ignored.

    `limit` is the size in bytes from which `crowded` says that compacting is worth while.
    """

    def __init__(self, path: str, limit: int = 4 << 20) -> None:
        self._path = path
        self._limit = limit
        self._compacted_size = 0

    def read(self, repair: bool = True) -> Iterator[Any]:
        """The whole records, in the order they were added.

        What is torn at the end is cut off to `repair` it: that is its writer's to do.
        """
        try:
            with open(self._path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return
        at = 0
        while at + _HEAD.size <= len(data):
            length, checksum = _HEAD.unpack_from(data, at)
            body = data[at + _HEAD.size : at + _HEAD.size + length]
            # zeros are what a file system may leave of a record when the power fails
            if not length or len(body) < length or zlib.crc32(body) != checksum:
                break
            yield marshal.loads(body)
            at += _HEAD.size + length
        if at < len(data) and repair:
            os.truncate(self._path, at)  # else no record added from now on could be read

    def append(self, record: Any) -> None:
        """Add a record with one write. Raises OSError."""
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            data = _packed(record)
            written = os.write(file, data)
            if written < len(data):
                os.ftruncate(file, os.fstat(file).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
        finally:
            os.close(file)

    def crowded(self) -> bool:
        """Whether the file has grown far beyond what it would need."""
        try:
            size = os.stat(self._path).st_size
        except FileNotFoundError:
            return False
        return size > self._limit and size > 4 * self._compacted_size

    def replace(self, record: Any) -> None:
        """Put one record in the place of all. Raises OSError."""
        self.replace_all([record])

    def replace_all(self, records: list[Any]) -> None:
        """Put these records in the place of all. Raises OSError."""
        temporary = f"{self._path}.new"
        data = b"".join(_packed(record) for record in records)
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if os.write(file, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), temporary)
        except OSError:
            os.unlink(temporary)
            raise
        finally:
            os.close(file)
        os.replace(temporary, self._path)
        self._compacted_size = len(data)


def _packed(record: Any) -> bytes:
    body = marshal.dumps(record, FORMAT)
    return _HEAD.pack(len(body), zlib.crc32(body)) + body
