"""Starts the run's sender anew where it died, wakes it, and waits for it."""

from __future__ import annotations

import posix
import sys
from fcntl import LOCK_NB, LOCK_SH, flock

from tach import layout
from tach.agent import clock

_POLL_NS = 2_000_000
_LOOK_NS = 100_000_000
# Not -m, which would let the program's working directory stand in for the standard library.
START = (
    "import sys; sys.path[:] = [each for each in sys.path if each]; "
    "from {} import main; sys.exit(main(sys.argv[1:]))"
)

# which has tach, where the program's own Python need not have it
python = ""


def ensure_sender(run_dir: str) -> None:
    """Start a sender if none lives. It has left this process's family when this returns."""
    if not _sender_lives(run_dir):
        command = [sys.executable, "-c", START.format("tach.sender.guard"), run_dir]
        child = posix.posix_spawn(
            interpreter(), command, _environment(f"{run_dir}/{layout.BOOTSTRAP}")
        )
        try:
            posix.waitpid(child, 0)
        except ChildProcessError:
            return  # the program ignores SIGCHLD: the kernel has waited


def interpreter() -> str:
    """The Python to start: a server that embeds it calls itself sys.executable."""
    own = python or sys.executable or ""
    if own.rpartition("/")[2].startswith("python"):
        return own
    return f"{sys.prefix}/bin/python3"


def _sender_lives(run_dir: str) -> bool:
    try:
        file = posix.open(f"{run_dir}/{layout.SENDER_LOCK}", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return True  # not ours to judge: no run directory, or no right to read it
    try:
        flock(file, LOCK_SH | LOCK_NB)
    except OSError:
        return True
    finally:
        posix.close(file)
    return False


def _environment(bootstrap: str) -> dict[bytes, bytes]:
    """This process's environment, but for what would make the sender a part of the run."""
    paths = posix.environ.get(b"PYTHONPATH", b"").split(b":")
    rest = b":".join(path for path in paths if path != bootstrap.encode())
    return {**posix.environ, b"PYTHONPATH": rest}


def wake_sender(run_dir: str) -> None:
    """Tell the sender that there is something to read now."""
    try:
        file = posix.open(
            f"{run_dir}/{layout.WAKE}", posix.O_WRONLY | posix.O_NONBLOCK | posix.O_CLOEXEC
        )
    except OSError:
        return  # no sender listens
    try:
        posix.write(file, b"\0")
    except OSError:
        pass  # it has been woken often enough already
    finally:
        posix.close(file)


def wait_for_sender(run_dir: str, timeout_ns: int) -> None:
    """Wait until the sender has sent all there is, or for so long."""
    flushed = f"{run_dir}/{layout.FLUSHED}"
    now = look_at = clock.monotonic_ns()
    give_up = now + timeout_ns
    while True:
        if now >= look_at:  # again and again: it may be killed while it is waited for
            ensure_sender(run_dir)
            wake_sender(run_dir)
            look_at = now + _LOOK_NS
        over = posix.access(flushed, posix.F_OK) or not posix.access(run_dir, posix.F_OK)
        if over or now >= give_up:
            return
        clock.sleep(_POLL_NS / 1e9)
        now = clock.monotonic_ns()
