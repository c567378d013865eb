"""Files that the agent keeps open, out of the program's way and safe from its own closing."""

from __future__ import annotations

import posix

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
