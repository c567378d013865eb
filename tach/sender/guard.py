"""The guard of a run's sender: forks it, and forks it anew where it is killed."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import resource
import signal
import time

from tach import layout, rundir
from tach.plan import Plan
from tach.plan_change import SPEAKING
from tach.rundir import Run
from tach.sender.bounded_log import BoundedLog
from tach.sender.process import Sender

log = logging.getLogger("tach.sender")

QUICK = 1.0  # seconds: a sender that ends sooner probably cannot work here at all
QUICK_ENDS = 8  # in a row, before the guard gives up
COLLECT = 50_000, 20, 50


def run(run_: Run, restarts: int = 0) -> None:
    """Guard the sender: fork it, and fork it anew if it is killed. Returns when the run is over.

    `restarts` is how many there were before, as far as is known.
    """
    _leave(run_)
    quick_ends = 0
    while quick_ends < QUICK_ENDS:
        began = time.monotonic()
        with contextlib.suppress(BlockingIOError):  # there may be too many processes just now
            child = os.fork()
            if child == 0:
                _serve(rundir.read(run_.directory) if restarts else run_, restarts)
            _, status = os.waitpid(child, 0)
            if status == 0 or not os.path.isdir(run_.directory):
                return
        restarts += 1
        quick_ends = quick_ends + 1 if time.monotonic() - began < QUICK else 0
        time.sleep(0.05 * 2**quick_ends)


def _leave(run_: Run) -> None:
    """Let go of all that the program may want for itself: terminal, pipes, signals, name."""
    os.setsid()
    # where that is inherited as ignored no child can be waited for
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _take_all_descriptors()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(each, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    plan = Plan.from_json(run_.plan)
    speaks = plan.reload or any(notifier.type in SPEAKING for notifier in plan.notifiers)
    if not speaks and all("debug" not in target.metrics for target in plan.targets):
        os.dup2(nothing, 2)
    lock = os.path.join(run_.directory, layout.SENDER_LOCK)
    for number in [int(name) for name in os.listdir("/proc/self/fd")]:
        with contextlib.suppress(OSError):
            if number > 2 and os.readlink(f"/proc/self/fd/{number}") != lock:
                os.close(number)
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as name:
        name.write("tach-sender")


def _take_all_descriptors() -> None:
    """Two are needed for each process of the run, of which the program does not know."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _serve(run_: Run, restarts: int) -> None:
    """Be the sender, then exit: with 0 when the run is over."""
    status = 1
    try:
        # Little is thrown away here that only a collection finds, and each goes through all series.
        gc.set_threshold(*COLLECT)
        # whose words would end up among the program's
        logging.lastResort = None
        logging.raiseExceptions = False
        _log_to(os.path.join(run_.directory, layout.SENDER_LOG))
        Sender(run_, restarts).serve()
        status = 0
    except BaseException:
        log.exception("the sender failed")
    finally:
        os._exit(status)


def _log_to(path: str) -> None:
    handler = BoundedLog(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("tach")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def main(arguments: list[str]) -> int:
    """Be the sender, and its guard, of a run that has lost its own: RUN_DIR."""
    import fcntl

    run_ = rundir.read(arguments[0])
    lock = os.open(os.path.join(run_.directory, layout.SENDER_LOCK), os.O_RDWR)
    for _ in range(10):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:  # another one was faster, or is just looking
            time.sleep(0.01)
    else:
        return 0
    with contextlib.suppress(BlockingIOError):  # the next process of the run tries again
        if os.fork() == 0:
            run(run_, restarts=1)
    return 0
