"""Reads the spool files that programs write (`tach.spool` says how)."""

from __future__ import annotations

import errno
import functools
import json
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

from tach import spool
from tach.samples import Event
from tach.sender.processes import lives

GAP = 0  # the kind of what is no record
_CHUNK = 2 * spool.BODY_LIMIT  # any record fits


class Record(NamedTuple):
    """One record of a file, or (kind GAP) bytes that are none; the next begins at offset `end`."""

    kind: int
    call: int
    body: bytes
    end: int


class SpoolFile:
    """One file. `offset` is how far it has been dealt with.

    Raises OSError when made, also for what is no file.
    """

    def __init__(self, directory: str, name: str, offset: int = 0) -> None:
        self.name = name
        self.path = os.path.join(directory, name)
        self.process, _, number = name.removesuffix(spool.SUFFIX).rpartition("-")
        self.number = int(number, 16) if is_spool_name(name) else 0
        self.offset = offset
        self.only_errors = False  # the rest has been dropped for want of room
        self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            os.close(self._file)
            raise OSError(errno.EINVAL, "not a file", self.path)
        self._synced = 0

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    @property
    def size(self) -> int:
        """Its bytes now."""
        return os.fstat(self._file).st_size

    @property
    def modified(self) -> float:
        """When it was last written to, in seconds of the epoch."""
        return os.fstat(self._file).st_mtime

    @property
    def removed(self) -> bool:
        """Whether it has no name any more."""
        return os.fstat(self._file).st_nlink == 0

    def sync(self) -> None:
        """See to it that what is there reaches the disk. Raises OSError."""
        size = self.size
        if size > self._synced:
            os.fdatasync(self._file)
            self._synced = size

    def records(self, complete: bool) -> Iterator[Record]:
        """The records from the offset on.

        `complete`: nobody writes it any more, so what is cut short at the end is torn, and not in
        the middle of being written.
        """
        start = self.offset
        while data := os.pread(self._file, _CHUNK, start):
            at = 0
            while (record := _parse(data, at)) is not None:
                at = record.end
                yield record._replace(end=start + at)
            if at == 0:
                at = _next_record(data, 1)
                if at == len(data) and not complete:
                    return
                if at == len(data) == _CHUNK:
                    at -= spool.BODY_LIMIT  # a record may begin there and go on behind it
                yield Record(GAP, 0, b"", start + at)
            start += at


class Item(NamedTuple):
    """An event on offer. `file` and `record` are None for those that the sender itself has made."""

    event: Event
    file: SpoolFile | None
    record: Record | None


def _parse(data: bytes, at: int) -> Record | None:
    """The record at `at`, if there is a whole one; its `end` is relative to the data."""
    head_end = at + spool.HEAD.size + spool.REST.size
    if len(data) < head_end:
        return None
    magic, length, checksum = spool.HEAD.unpack_from(data, at)
    end = head_end + length
    if magic != spool.MAGIC or length > spool.BODY_LIMIT or len(data) < end:
        return None
    rest, body = data[at + spool.HEAD.size : head_end], data[head_end:end]
    if crc32(body, crc32(rest)) != checksum:
        return None
    kind, call = spool.REST.unpack(rest)
    return Record(kind, call, body, end)


def _next_record(data: bytes, start: int) -> int:
    """Where the next whole record begins; the end of the data if there is none."""
    while (at := data.find(spool.MAGIC, start)) >= 0:
        if _parse(data, at) is not None:
            return at
        start = at + 1
    return len(data)


def to_event(body: bytes) -> Event:
    """The event in a record. Raises ValueError, KeyError or TypeError if it is none."""
    fields = json.loads(body)
    return Event(body, fields["event_type"], fields["priority"], fields["message_id"])


def timestamp_of(body: bytes) -> str:
    """When the event in a record happened, as it says itself."""
    found: str = json.loads(body)["timestamp"]
    return found


def is_important(body: bytes) -> bool:
    """Whether the event outlives a spool that is full: errors do, the rest goes first."""
    return b'"priority":"ERROR"' in body[:1024]


def is_spool_name(name: str) -> bool:
    """Whether a file of that name may have been written by a program under tach."""
    parts = name.removesuffix(spool.SUFFIX).split("-")
    if not name.endswith(spool.SUFFIX) or len(parts) != 4:
        return False
    return parts[0].isdigit() and parts[1].isdigit() and all(map(_is_hex, parts[2:]))


def _is_hex(text: str) -> bool:
    return bool(text) and all(character in "0123456789abcdef" for character in text)


def is_running(process: str) -> bool:
    """Whether the process that a file is named after still runs."""
    pid, start_ticks, boot = process.split("-")
    return _boot() == boot and lives((int(pid), int(start_ticks)))


@functools.cache
def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read(8)
    except OSError:
        return "00000000"
