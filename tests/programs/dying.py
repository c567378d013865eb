"""An eventlet service whose workers and main process die: dying.py HOW.

Each of three workers makes 1,000 calls, every 10th raising, and dies by SIGKILL; the main process
makes 500 calls, every 10th raising, and dies in the way that HOW says.
"""

from __future__ import annotations

import warnings

warnings.simplefilter("ignore", DeprecationWarning)

import eventlet

eventlet.monkey_patch()

import os
import signal
import sys
from contextlib import suppress

import dying_targets

WORKERS = 3


def call(times: int) -> None:
    pool = eventlet.GreenPool(20)
    for number in range(times):
        pool.spawn_n(one, number)
    pool.waitall()


def one(number: int) -> None:
    with suppress(KeyError, dying_targets.Refused):
        dying_targets.Service().serve(number)


def die(how: str) -> None:
    if how in ("SIGKILL", "SIGTERM", "SIGINT"):
        os.kill(os.getpid(), getattr(signal, how))
        eventlet.sleep(60)
    elif how == "_exit":
        os._exit(4)
    elif how == "exit":
        sys.exit(3)
    elif how == "uncaught":
        raise RuntimeError("the end")


def main() -> None:
    workers = []
    for _ in range(WORKERS):
        pid = os.fork()
        if pid == 0:
            call(1000)
            os.kill(os.getpid(), signal.SIGKILL)
        workers.append(pid)
    for pid in workers:
        os.waitpid(pid, 0)
    call(500)
    die(sys.argv[1])


main()
