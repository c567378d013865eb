"""Becomes the program: makes the run directory, leaves the sender behind, and executes.

The program keeps the launcher's pid, arguments, terminal, signals and exit status.
"""

from __future__ import annotations

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
        print(f"tach: {error}", file=sys.stderr)
        return error.status
    environment = dict(os.environ)
    if compiled.agent["targets"]:
        try:
            run = rundir.create(compiled, os.getpid(), command.program, command.argv)
            _leave_sender(run)
            environment = rundir.environment(run)
        except OSError as error:
            print(f"tach: not measuring: no run directory ({error})", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    return _execute(command, environment)


def _execute(command: interpreter.Command, environment: dict[str, str]) -> int:
    try:
        os.execve(command.file, command.argv, environment)
    except OSError as error:
        if error.errno == 8:  # ENOEXEC: a script without a first line that names its interpreter
            os.execve("/bin/sh", ["sh", command.file, *command.argv[1:]], environment)
        print(f"tach: cannot execute {command.file}: {error.strerror}", file=sys.stderr)
        return 126


def _leave_sender(run: rundir.Run) -> None:
    """Fork the sender, reparented before this returns, so that the program never waits for it.

    The lock is taken here and inherited: from the program's first moment on, a sender lives.
    """
    lock = os.open(os.path.join(run.directory, layout.SENDER_LOCK), os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    child = os.fork()
    if child:
        os.close(lock)
        os.waitpid(child, 0)
        return
    try:
        if os.fork() == 0:
            import tach.sender.process

            tach.sender.process.run(run)
    finally:
        os._exit(0)
