"""Files that the agent keeps open, out of the program's way and safe from its own closing."""

from __future__ import annotations

import posix

from tach import layout
from tach.agent import clock

# High enough to leave the program the low numbers that it may count on.
_LEAST_NUMBER = 200

Identity = tuple[int, int, int]


def open_high(path: str, flags: int) -> Identity:
    """Open (or create, mode 0600) a file and give it a high number: (number, device, inode).

    Raises OSError.
    """
    number = posix.open(path, flags | posix.O_CLOEXEC, 0o600)
    if flags & posix.O_CREAT:
        posix.fchmod(number, 0o600)  # whatever the program's umask is
    number = _move_up(number)
    status = posix.fstat(number)
    return number, status.st_dev, status.st_ino


def _move_up(number: int) -> int:
    from fcntl import F_DUPFD_CLOEXEC, fcntl

    try:
        high = fcntl(number, F_DUPFD_CLOEXEC, _LEAST_NUMBER)
    except OSError:  # the program's limit on open files is lower than that
        return number
    posix.close(number)
    return high


def still_open(file: Identity) -> bool:
    """Whether the number still means this file; programs that daemonise close all they find."""
    number, device, inode = file
    try:
        status = posix.fstat(number)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == (device, inode)


class SegmentFile:
    """The file of this process's segment. Raises OSError where it cannot be made or opened.

    It may be there long before the segment: a process that gives up its rights, or is shut up in a
    part of the file system, could not make it any more.
    """

    def __init__(self, run_dir: str, start_ticks: int) -> None:
        self.start_ticks = start_ticks
        self._run_dir = run_dir
        self._path = ""
        self._open: Identity | None = None  # set as one with its path

    def reserve(self) -> None:
        """Make it now, if there is none."""
        if self._open is None:
            self._make()

    def _make(self) -> None:
        # the time makes the name new after an exec, which keeps pid and start
        name = f"{posix.getpid()}-{self.start_ticks}-{clock.monotonic_ns():x}"
        path = f"{self._run_dir}/{name}{layout.SEGMENT_SUFFIX}"
        made = open_high(path, posix.O_RDWR | posix.O_CREAT | posix.O_EXCL)
        # No call from the test to the stores: of two threads here at once, the first one's counts.
        if self._open is None:
            self._path = path
            self._open = made
        else:
            posix.close(made[0])
            posix.unlink(path)

    def number(self) -> int:
        """The number by which it is open."""
        self.reserve()
        if self._open is None or not still_open(self._open):
            # programs that daemonise close what they did not open
            self._open = open_high(self._path, posix.O_RDWR)
        return self._open[0]

    def after_fork(self, start_ticks: int) -> None:
        """Leave the parent's to the parent: this process has none yet."""
        self.close()
        self.start_ticks = start_ticks

    def close(self) -> None:
        """Let go of it."""
        if self._open is not None and still_open(self._open):
            posix.close(self._open[0])
        self._open = None


def start_ticks() -> int:
    """When this process started, in the kernel's ticks since boot; 0 where that is not known."""
    try:
        file = posix.open("/proc/self/stat", posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            text = posix.read(file, 1024)
        finally:
            posix.close(file)
        return int(text.rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
