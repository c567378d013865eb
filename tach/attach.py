"""`tach attach PID CONFIG`: measures a program that was not started by tach."""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import sys
from collections.abc import Iterator

from tach import (
    attach_entry,
    attach_python,
    compiled,
    durations,
    interpreter,
    launcher,
    layout,
    rundir,
    runs,
    status_table,
)
from tach.agent import respawn
from tach.attach_entry import Entry, Places
from tach.attach_process import CannotAttach, Owner, Process
from tach.compiled import Compiled
from tach.config import ConfigErrors
from tach.injection import Injector
from tach.problems import escaped
from tach.status import ANSWER_WITHIN, STATUS

RISKS = {
    True: """\
gdb stops it for about 0.1 s, and has it call two functions of C. A system call that it waits in may
  return early (EINTR), which Python does not mind and a library in C may. Should gdb be killed in
  that moment, the process may crash.""",
    False: """\
Python itself lets tach in (sys.remote_exec): the process is not stopped.""",
}
MORE_RISKS = """\
Its main thread then imports tach and wrapt, and patches the targets, between two instructions of
  whatever it does: that takes it about 0.1 s, and longer where many modules have to be looked at.
Nothing of it can be tried beforehand. Where a crash cannot be afforded, start the program by
  tach CONFIG PROGRAM instead."""


def main(arguments: list[str]) -> int:
    """Attach; 0 if the process is measured, 1 if not, 2 for a wrong file or command."""
    options = _parser().parse_args(arguments)
    try:
        return _attach(options, arguments)
    except ConfigErrors as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (CannotAttach, interpreter.CannotStart) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tach attach",
        description="Measure a program that runs already and was not started by tach: from 3.14 on "
        "Python lets tach in, before gdb has to, which must be installed. All is checked first, "
        "and the risks are told; nothing is done without your consent.",
        epilog="From then on it is a run as any other, for tach status, tach top and tach reload. "
        "Exit status: 0 if the process is measured, 1 if it is not and why is said, 2 for errors "
        "in CONFIG or a wrong command, or without consent.",
    )
    parser.add_argument("pid", metavar="PID", type=runs.pid, help="the process to be measured")
    parser.add_argument("config", metavar="CONFIG", help="what is to be measured of it")
    parser.add_argument("--yes", action="store_true", help="agree to the risks, unasked")
    parser.add_argument(
        "--dry-run", action="store_true", help="only check whether it could be done, and how"
    )
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        type=_seconds,
        default=60.0,
        help="how long to wait until the program runs Python code (1m)",
    )
    return parser


def _seconds(text: str) -> float:
    try:
        return durations.seconds(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 500ms or 2s") from None


def _say(message: str) -> None:
    sys.stdout.write(f"{message}\n")


def _fail(message: str, status: int = 1) -> int:
    sys.stderr.write(f"tach: {escaped(message)}\n")
    return status


def _attach(options: argparse.Namespace, arguments: list[str]) -> int:
    configuration = compiled.load(options.config)
    if not configuration.is_wanted:
        return _fail(f"{options.config} names no targets: nothing to measure", 2)
    process = Process(options.pid)
    process.check()
    python = attach_python.look(process)
    if not python.is_own:
        _hand_over(process, python.version, arguments)
    _check_unmeasured(process)
    injector = Injector(process, python)
    injector.check()
    with _as(process.owner):
        places = Places()
        places.check(process.owner.name)
    if options.dry_run:
        how = "by gdb" if injector.is_debugger else "by sys.remote_exec"
        _say(f"process {process.pid} can be attached to, {how}: nothing has been done")
        return 0
    if not options.yes and not _agreed(process, injector):
        return 2
    return _enter(process, injector, places, configuration, options.timeout)


def _hand_over(process: Process, version: tuple[int, int], arguments: list[str]) -> None:
    """Go on under the process's own Python. Raises CannotAttach, CannotStart if not."""
    python = attach_python.command_of(process)
    command = f"{python} -m tach attach {' '.join(arguments)}"
    what = f"process {process.pid} runs Python {version[0]}.{version[1]}, and this tach another"
    if process.owner.uid != os.geteuid():
        # root does not execute what others may have written
        raise CannotAttach(f"{what}: call that of its own, {command}")
    try:
        interpreter.check_foreign(python, f"process {process.pid}")
        start = respawn.START.format("tach.cli")
        os.execv(python, [python, "-c", start, "attach", *arguments])
    except OSError as error:
        raise CannotAttach(f"{what}, and {python} cannot be executed: {error.strerror}") from None


def _check_unmeasured(process: Process) -> None:
    """Raises CannotAttach where it is measured by tach already, or about to be."""
    environment = process.environment()
    theirs = [environment.get(name) for name in ("TACH_RUN_DIR", "XDG_RUNTIME_DIR")]
    places = [each for each in theirs if each and os.access(each, os.R_OK | os.X_OK)]
    found = runs.living(list(dict.fromkeys([*runs.places(), *map(os.path.realpath, places)])))
    segment = f"/{process.pid}-"
    if any(process.pid in run.pids for run in found) or any(
        path.endswith(layout.SEGMENT_SUFFIX) and segment in path for path in process.mapped()
    ):
        raise CannotAttach(
            f"process {process.pid} is measured by tach already: change its configuration, then "
            f"tach reload {process.pid}"
        )
    for run in found:
        if run.main_pid == process.pid:
            attach_entry.clear(run.directory, process.pid)


def _agreed(process: Process, injector: Injector) -> bool:
    """Tell the risks, and ask on the terminal."""
    name = _name(process)
    sys.stderr.write(
        f"tach attach is about to get into process {process.pid} ({name}) while it runs.\n"
        f"* {RISKS[injector.is_debugger]}\n* " + MORE_RISKS.replace("\nN", "\n* N") + "\n"
    )
    if not sys.stdin.isatty():
        sys.stderr.write("tach: nothing has been done: agree with --yes\n")
        return False
    sys.stderr.write("Go on? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    sys.stderr.write("tach: nothing has been done\n")
    return False


def _name(process: Process) -> str:
    """A short name for the program; some write a text of their own over their arguments."""
    words = process.arguments or ["python"]
    return (interpreter.short_name(words).partition(":")[0].split() or ["python"])[0]


def _enter(
    process: Process, injector: Injector, places: Places, configuration: Compiled, timeout: float
) -> int:
    with _as(process.owner):
        try:
            run = rundir.create(configuration, process.pid, _name(process), process.arguments)
            entry = Entry(run.directory)
            entry.write(places, injector.depth)
            with _without_pipes():
                launcher.leave_sender(run)
        except OSError as error:
            raise CannotAttach(f"no run directory ({error}): see TACH_RUN_DIR") from None
    try:
        injector.inject(entry.script)
        reason = entry.wait(process, timeout, injector.withdraw)
    except BaseException:
        entry.withdraw(injector.withdraw)
        raise
    finally:
        entry.close()
    if reason:
        attach_entry.end(run.directory)
        raise CannotAttach(f"process {process.pid} could not be measured: {reason}")
    _show(process, run.directory)
    return 0


@contextlib.contextmanager
def _without_pipes() -> Iterator[None]:
    """Standard error is none meanwhile but for a terminal: who reads this command's waits for it.

    The sender, which keeps it, goes on as long as the program.
    """
    if os.isatty(2) or sys.stderr is None:
        yield
        return
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _show(process: Process, directory: str) -> None:
    """Say how the run stands, as `tach status` does."""
    with _as(process.owner):
        status = STATUS.ask([directory], ANSWER_WITHIN)[directory]
    _say(f"attached to process {process.pid}")
    if status is not None:
        status_table.show_one(status)


@contextlib.contextmanager
def _as(owner: Owner) -> Iterator[None]:
    """Root works as the owner of the process meanwhile, and leaves files of that one."""
    if os.geteuid() != 0 or owner.uid == 0:
        yield
        return
    before = dict(os.environ)
    groups, group = os.getgroups(), os.getegid()
    with contextlib.suppress(KeyError):
        os.environ["HOME"] = pwd.getpwuid(owner.uid).pw_dir
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)
    os.setgroups(owner.groups)
    os.setegid(owner.gid)
    os.seteuid(owner.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
        os.environ.clear()
        os.environ.update(before)
