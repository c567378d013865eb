"""Removes what dead runs left: their sender died too, so nobody else will."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
import time

from tach import layout
from tach.sender.processes import start_ticks_of

log = logging.getLogger("tach.sender")

_OLD_ENOUGH = 60.0  # seconds: a younger one may still be in the making


def sweep(base: str) -> None:
    """Remove the run directories of this user below `base` that nobody uses any more."""
    ours = re.compile(rf"tach-{os.geteuid()}-(\d+)-\w+")
    for name in os.listdir(base):
        match = ours.fullmatch(name)
        path = os.path.join(base, name)
        with contextlib.suppress(OSError):
            if match and not _in_use(path, int(match[1])):
                log.info("removing %s, left by a run that died", path)
                shutil.rmtree(path, ignore_errors=True)


def _in_use(path: str, main_pid: int) -> bool:
    if os.stat(path).st_uid != os.geteuid() or time.time() - os.stat(path).st_mtime < _OLD_ENOUGH:
        return True
    pids = [int(each.split("-")[0]) for each in os.listdir(path) if each[0].isdigit()]
    if any(start_ticks_of(pid) for pid in [main_pid, *pids]):
        return True
    try:
        lock = os.open(os.path.join(path, layout.SENDER_LOCK), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False
