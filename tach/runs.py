"""Finds the runs that go on, on this machine."""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import stat
from collections.abc import Sequence
from typing import NamedTuple

from tach import layout, sparse
from tach.sender.processes import lives
from tach.sender.status import announced

_RUN = re.compile(r"tach-(\d+)-(\d+)-[0-9a-f]+")


class FoundRun(NamedTuple):
    """A run by its directory; `pids` are the living processes that have announced themselves."""

    directory: str
    uid: int
    main_pid: int
    pids: frozenset[int]


def places() -> list[str]:
    """Where a run may have its directory, as `tach.rundir.base` chooses."""
    wanted = os.environ.get("TACH_RUN_DIR")
    others = ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR"), "/tmp")
    found = [os.path.realpath(each) for each in ((wanted,) if wanted else others) if each]
    return [each for each in dict.fromkeys(found) if os.access(each, os.R_OK | os.X_OK)]


def living(within: Sequence[str]) -> list[FoundRun]:
    """The living runs below `within` that this user may ask, by the pid of their main process."""
    found = [_found(place, name) for place in within for name in os.listdir(place)]
    alive = [run for run in found if run is not None and (run.pids or _has_sender(run.directory))]
    return sorted(alive, key=lambda run: run.main_pid)


def _found(place: str, name: str) -> FoundRun | None:
    match = _RUN.fullmatch(name)
    directory = os.path.join(place, name)
    if match is None or os.geteuid() not in (0, int(match[1])):
        return None
    try:
        # Anybody may make a directory of that name: its owner is who counts.
        if os.lstat(directory).st_uid != int(match[1]):
            return None
        with open(opened(os.path.join(directory, layout.JOURNAL)), "rb") as journal:
            known = announced(sparse.content(journal.fileno())[0])
    except OSError:
        return None
    pids = frozenset(each.pid for each in known if lives((each.pid, each.start_ticks)))
    return FoundRun(directory, int(match[1]), int(match[2]), pids)


def _has_sender(directory: str) -> bool:
    try:
        lock = opened(os.path.join(directory, layout.SENDER_LOCK))
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def opened(path: str) -> int:
    """The regular file, for reading, whatever its owner has put there. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(f"{path} is no file")
    return file


def content(path: str) -> bytes:
    """What is in that file. Raises OSError."""
    with open(opened(path), "rb") as file:
        return file.read()


def of_process(found: list[FoundRun], wanted: int | None) -> list[FoundRun]:
    """Those of them that the process belongs to; all if it is None."""
    return [run for run in found if wanted is None or wanted in (run.main_pid, *run.pids)]


def pid(text: str) -> int:
    """The pid in an argument. Raises argparse.ArgumentTypeError."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a process")
    return int(text)


def none_found(wanted: int | None, places: Sequence[str]) -> str:
    """That there is no such run, and where it was looked for."""
    whose = "run" if os.geteuid() == 0 else "run of yours"
    what = f"no {whose} is going on" if wanted is None else f"no {whose} has a process {wanted}"
    return f"{what}; looked in {', '.join(places) or 'no directory'}"
