"""Becomes the program: makes the run directory, leaves the sender behind, and executes.

The program keeps the launcher's pid, arguments, terminal, signals and exit status.
"""

from __future__ import annotations

# not signal, which loads enum and more: a tenth of the start
import _signal as signal  # type: ignore[import-not-found]
import errno
import fcntl
import os
import sys

from tach import interpreter, layout, rundir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tach.compiled import Compiled


def launch(compiled: Compiled, arguments: list[str]) -> int:
    """Execute the program of `arguments`, measured as the configuration says.

    Returns an exit status only where there is nothing to execute.
    """
    try:
        command = interpreter.resolve(arguments)
    except interpreter.CannotStart as error:
        _say(str(error))
        return error.status
    _undo_coercion()
    environment = dict(os.environ)
    if compiled.is_wanted:
        try:
            run = rundir.create(compiled, os.getpid(), command.program, command.argv)
            leave_sender(run)
            environment = rundir.environment(run)
        except OSError as error:
            _say(f"not measuring: no run directory ({error})")
    _restore_signals()
    try:
        _execute(command, environment)
    except OSError as error:
        _say(f"cannot execute {command.file}: {error.strerror}")
    return 126


def _undo_coercion() -> None:
    """Take from the environment what Python has put there where no locale was set (PEP 538)."""
    if os.environ.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8"):
        try:
            with open("/proc/self/environ", "rb") as file:
                began_with = file.read()
        except OSError:
            return
        if not any(each.startswith(b"LC_CTYPE=") for each in began_with.split(b"\0")):
            del os.environ["LC_CTYPE"]


def _say(message: str) -> None:
    if sys.stderr is not None:  # it is closed: print would turn to the program's stdout
        print(f"tach: {message}", file=sys.stderr, flush=True)


def _restore_signals() -> None:
    """Undo what Python did to the signals that an executed program inherits as ignored."""
    for each in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(each, signal.SIG_DFL)


def _execute(command: interpreter.Command, environment: dict[str, str]) -> None:
    """Become the program. Raises OSError where that is not possible."""
    try:
        os.execve(command.file, command.argv, environment)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    # a script without a first line that names its interpreter
    os.execve("/bin/sh", ["sh", command.file, *command.argv[1:]], environment)


def leave_sender(run: rundir.Run) -> None:
    """Fork the sender, reparented before this returns, so that the program never waits for it.

    The lock is taken here and inherited: from the program's first moment on, a sender lives.
    """
    opened = os.open(os.path.join(run.directory, layout.SENDER_LOCK), os.O_RDWR)
    # away from 0, 1 and 2, which the sender replaces: here they may have been closed
    lock = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(opened)
    fcntl.flock(lock, fcntl.LOCK_EX)
    child = os.fork()
    if child:
        os.close(lock)
        _wait_for(child)
        return
    try:
        _defend()
        if os.fork() == 0:
            import tach.sender.guard

            tach.sender.guard.run(run)
    finally:
        os._exit(0)


def _wait_for(child: int) -> None:
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        return  # SIGCHLD is ignored, as whoever started this wanted it: the kernel has waited


def _defend() -> None:
    """Be out of reach of what ends the program, before the sender has even been imported."""
    os.setsid()
    # of one user for good: `tach attach` of root's becomes another one for a while
    os.setresgid(*[os.getegid()] * 3)
    os.setresuid(*[os.geteuid()] * 3)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(each, signal.SIG_IGN)
