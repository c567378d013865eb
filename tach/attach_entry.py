"""The files by which `tach attach` and the program come to an agreement, in the run directory.

Who removes the file ATTACH_WANTED has decided: the program, which is measured then, or who waits
for it, who has given up. `tach attach` holds a lock on it as long as it is at it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib.util
import os
import sys
import time
from collections.abc import Callable

from tach import layout, runs
from tach.agent import enter, respawn
from tach.attach_process import CannotAttach, Process
from tach.sender.processes import start_ticks_of

LOOK_EVERY = 0.01
TELL_AFTER = 1.0
AT_WORK_AT_MOST = 60.0  # seconds: imports from a slow disk


class Places:
    """Where the program finds what it has to load: directories of packages, and an interpreter."""

    def __init__(self) -> None:
        wrapt = importlib.util.find_spec("wrapt")
        assert wrapt is not None  # tach needs it
        assert wrapt.origin is not None
        self.package = os.path.dirname(os.path.abspath(os.path.dirname(enter.__file__)))
        self.wrapt = os.path.dirname(os.path.dirname(wrapt.origin))
        self.python = sys.executable

    def check(self, user: str) -> None:
        """Raises CannotAttach where the user as whom this works now may not read them."""
        for each in (self.package, self.wrapt):
            if not os.access(each, os.R_OK | os.X_OK, effective_ids=True):
                raise CannotAttach(
                    f"{user}, to whom the process belongs, may not read {each}: install tach where "
                    f"that user can read it"
                )


class Entry:
    """That of a process into the run in `directory`. Raises OSError."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.script = os.path.join(directory, layout.ATTACH_SCRIPT)
        self._wanted = os.path.join(directory, layout.ATTACH_WANTED)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._lock = os.open(self._wanted, flags, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def write(self, places: Places, depth: int) -> None:
        """Write the script that the program executes, `depth` frames below one of its own.

        Raises OSError.
        """
        arguments = (self._directory, places.package, places.wrapt, places.python, depth)
        with open(enter.__file__, encoding="utf-8") as source:
            text = f"{source.read()}\n\nenter{arguments!r}\n"
        script = os.open(self.script, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(script, "w", encoding="utf-8") as file:
            file.write(text)

    def wait(self, process: Process, within: float, withdraw: Callable[[], None]) -> str:
        """What the program answers: why it is not measured, nothing if it is.

        Raises CannotAttach where it has not begun to answer `within` seconds: then it never will.
        """
        answer = self._wait(process, within)
        if answer is None:
            waiting = process.is_waiting()
            if self.withdraw(withdraw):
                raise CannotAttach(_busy(process, waiting, within))
            answer = self._wait(process, AT_WORK_AT_MOST)
        if answer is None:
            raise CannotAttach(
                f"process {process.pid} has let tach in, but does not come to an end with it: "
                f"tach status {process.pid} tells when it does"
            )
        return answer

    def withdraw(self, withdraw: Callable[[], None]) -> bool:
        """Let nobody in any more; False if the program is in already."""
        try:
            os.unlink(self._wanted)
        except FileNotFoundError:
            return False
        with contextlib.suppress(CannotAttach):  # it has ended
            withdraw()
        end(self._directory)
        return True

    def close(self) -> None:
        """Leave the files to the sender."""
        with contextlib.suppress(OSError):
            os.close(self._lock)

    def _wait(self, process: Process, within: float) -> str | None:
        began = time.monotonic()
        told = not sys.stderr.isatty()
        while time.monotonic() - began < within:
            if not told and time.monotonic() - began > TELL_AFTER:
                told = True
                sys.stderr.write(f"waiting until process {process.pid} runs Python code\n")
            answer = self._answer()
            if answer is not None:
                return answer
            if not start_ticks_of(process.pid):
                raise CannotAttach(f"process {process.pid} has ended meanwhile")
            time.sleep(LOOK_EVERY)
        return self._answer()

    def _answer(self) -> str | None:
        try:
            text = runs.content(os.path.join(self._directory, layout.ATTACH_ANSWER))
        except OSError:
            return None
        return text.decode("utf-8", "replace").strip() if text.endswith(b"\n") else None


def _busy(process: Process, waiting: bool, within: float) -> str:
    how = (
        "it waits in a system call: let it do something meanwhile, such as answer a request"
        if waiting
        else "it is in code that is not Python's: try again later"
    )
    return (
        f"process {process.pid} has run no Python code in its main thread for {within:g} s, and "
        f"only there can tach get in; {how}, or give a longer --timeout. It is as it was"
    )


def end(directory: str) -> None:
    """Let the sender of a run that has no process end."""
    with contextlib.suppress(OSError):
        os.close(os.open(os.path.join(directory, layout.WITHDRAWN), os.O_CREAT | os.O_EXCL, 0o600))
    respawn.wake_sender(directory)


def clear(directory: str, pid: int) -> None:
    """End a run into which nobody has come if who began it is gone. Else raises CannotAttach."""
    path = os.path.join(directory, layout.ATTACH_WANTED)
    try:
        lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
        end(directory)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            raise CannotAttach(f"another tach attach is at work on process {pid}") from None
    finally:
        os.close(lock)
