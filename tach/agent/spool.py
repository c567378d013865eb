"""Appends records to this process's spool file: one write each, so that none is half there.

Without a lock, which a signal handler or a greenthread could find taken: a file that is full is
replaced behind its number, so that who is about to write needs not know.
"""

from __future__ import annotations

import atexit
import itertools
import posix

from tach import spool
from tach.agent import clock, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FLAGS = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_EXCL


class SpoolWriter:
    """The spool of this process in `directory`.

    A file is left for the next one at `rotate_at` bytes. `sync` makes each record reach the disk
    before the call goes on.
    """

    def __init__(
        self,
        directory: str,
        process: str,
        rotate_at: int,
        sync: bool,
        on_trouble: Callable[[str], None],
    ) -> None:
        self._directory = directory
        self._process = process
        self._rotate_at = rotate_at
        self._sync = sync
        self._on_trouble = on_trouble
        self._file: files.Identity | None = None
        self._size = 0
        self._rotating = False
        self._failing = False
        self._lost = 0
        self._lost_said = 0
        self._says_at_exit = False
        self.call_numbers = _call_numbers()

    def after_fork(self, process: str) -> None:
        """Leave the parent's file alone."""
        if self._file is not None and files.still_open(self._file):
            posix.close(self._file[0])
        self._process = process
        self._file = None
        self._rotating = False
        self._failing = False
        self._lost = 0
        self._lost_said = 0
        self.call_numbers = _call_numbers()

    def reserve(self) -> None:
        """Create the file now, for a process that may give up the right to. Never raises."""
        try:
            self._number()
        except OSError as error:
            self._fail(str(error.strerror))

    def append(self, kind: int, call: int, body: bytes) -> None:
        """Add a record. Never raises OSError: what cannot be written is lost, counted and said."""
        record = spool.pack(kind, call, body)
        try:
            number = self._number()
            written = posix.write(number, record)
            self._size += written
            if self._sync:
                posix.fdatasync(number)
        except OSError as error:
            self._lose(str(error.strerror))
            return
        if written < len(record):
            self._lose("the disk is full")
        else:
            self._failing = False

    def _lose(self, reason: str) -> None:
        self._fail(reason)
        self._lost += 1
        if not self._says_at_exit:  # of a process that is killed, what was said before must do
            self._says_at_exit = True
            atexit.register(self._say_lost)
        if self._lost >= 10 * max(self._lost_said, 1):
            self._say_lost(" so far")

    def _say_lost(self, so_far: str = "") -> None:
        if self._lost > self._lost_said:
            self._lost_said = self._lost
            text = f"{self._lost} events lost{so_far}: spool {self._directory} did not take them"
            self._on_trouble(text)

    def _fail(self, reason: str) -> None:
        if self._size:
            # A file that has been left can be removed, which may make room on the disk.
            self._size = self._rotate_at + 1
        if not self._failing:
            self._failing = True
            self._on_trouble(f"spool {self._directory}: events are lost: {reason}")

    def _number(self) -> int:
        file = self._file
        if file is None:
            return self._new(file)
        if self._rotating:
            return file[0]
        if not _is_there(file):
            return self._instead_of(file)
        if self._size > self._rotate_at and not self._rotating:
            self._rotating = True
            try:
                self._rotate(file)
            finally:
                self._rotating = False
        return file[0]

    def _instead_of(self, file: files.Identity) -> int:
        if self._rotating:  # another thread has just begun to: the number stays
            return file[0]
        return self._new(file) if self._file is file else self._number()

    def _new(self, before: files.Identity | None) -> int:
        path, file = self._create()
        # No call from the test to the store: of two threads here, both take the first one's.
        if self._file is before:
            self._file = file
            self._size = 0
            return file[0]
        posix.close(file[0])
        posix.unlink(path)
        return self._number()

    def _rotate(self, old: files.Identity) -> None:
        self._size = 0
        try:
            _, new = self._create()
        except OSError:  # it has given up the right to: the old file goes on, however long
            return
        posix.dup2(new[0], old[0], False)
        self._file = (old[0], new[1], new[2])
        posix.close(new[0])

    def _create(self) -> tuple[str, files.Identity]:
        name = f"{self._process}-{clock.monotonic_ns():x}{spool.SUFFIX}"
        path = f"{self._directory}/{name}"
        return path, files.open_high(path, _FLAGS)


def _call_numbers() -> itertools.count[int]:
    """Numbers that no program had which this process was before an exec."""
    return itertools.count(clock.monotonic_ns())


def _is_there(file: files.Identity) -> bool:
    """Whether the number still means this file (programs that daemonise close all they find), and
    nobody has removed it."""
    try:
        status = posix.fstat(file[0])
    except OSError:
        return False
    return status.st_ino == file[2] and status.st_dev == file[1] and status.st_nlink > 0


def process_name(start_ticks: int) -> str:
    """What names this process for good, across reboots: pid, start and boot."""
    try:
        file = posix.open("/proc/sys/kernel/random/boot_id", posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            boot = posix.read(file, 8).decode()
        finally:
            posix.close(file)
    except OSError:
        boot = "00000000"
    return f"{posix.getpid()}-{start_ticks}-{boot}"
