"""The directory that one run lives in: made by the launcher, read by all, removed by the sender."""

from __future__ import annotations

import errno
import marshal
import os

from tach import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tach.compiled import Compiled

_BOOTSTRAP_FILE = os.path.join(os.path.dirname(__file__), "agent", "bootstrap", "sitecustomize.py")


class Run:
    """What the sender must know about the run it serves; `plan` is a `Plan` as JSON."""

    __slots__ = ("argv", "directory", "main_pid", "plan", "program")

    def __init__(
        self, directory: str, main_pid: int, program: str, argv: list[str], plan: str
    ) -> None:
        self.directory = directory
        self.main_pid = main_pid
        self.program = program
        self.argv = argv
        self.plan = plan


def base() -> str:
    """Where run directories go: the first place that can be written to.

    Raises OSError where there is none.
    """
    wanted = os.environ.get("TACH_RUN_DIR")
    if wanted:
        os.makedirs(wanted, mode=0o700, exist_ok=True)
        return os.path.abspath(wanted)
    places = ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR"), "/tmp")
    for place in places:
        if place and os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK):
            return os.path.abspath(place)
    raise OSError("no directory to write to; set TACH_RUN_DIR")


def create(compiled: Compiled, main_pid: int, program: str, argv: list[str]) -> Run:
    """Make the run's directory with all that its processes read. Raises OSError."""
    run = Run(_make_directory(main_pid), main_pid, program, argv, compiled.plan)
    try:
        _fill(run, compiled)
    except OSError:
        _remove(run)
        raise
    return run


def _fill(run: Run, compiled: Compiled) -> None:
    agent = {**compiled.agent, "main_pid": run.main_pid}
    if agent["events"] is not None:
        from tach import spooldir

        agent["events"] = spooldir.complete(agent["events"], run.program)
    _write(run, layout.AGENT_PLAN, marshal.dumps(agent, 2))  # 2: every Python reads it
    _write(run, layout.RUN, marshal.dumps((run.main_pid, run.program, run.argv, run.plan), 2))
    for name in (layout.JOURNAL, layout.SENDER_LOCK):
        _write(run, name, b"")
    os.mkfifo(os.path.join(run.directory, layout.WAKE), 0o600)
    bootstrap = os.path.join(run.directory, layout.BOOTSTRAP)
    os.mkdir(bootstrap, 0o700)
    os.symlink(_BOOTSTRAP_FILE, os.path.join(bootstrap, "sitecustomize.py"))


def _remove(run: Run) -> None:
    import shutil

    shutil.rmtree(run.directory, ignore_errors=True)


def _make_directory(main_pid: int) -> str:
    start = os.path.join(base(), f"tach-{os.geteuid()}-{main_pid}-")
    while True:
        directory = start + os.urandom(4).hex()
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            continue
        return directory


def read(directory: str) -> Run:
    """The run that `create` made. Raises OSError."""
    with open(os.path.join(directory, layout.RUN), "rb") as file:
        main_pid, program, argv, plan = marshal.load(file)
    return Run(directory, main_pid, program, argv, plan)


def environment(run: Run) -> dict[str, str]:
    """The environment that brings tach into each Python process of the run.

    Another run's bootstrap directory is left out: tach under tach counts each call once.
    """
    old = os.environ.get("PYTHONPATH")
    # an empty element of the user's own means the current directory, so it stays
    kept = [path for path in old.split(os.pathsep) if not _is_bootstrap(path)] if old else []
    bootstrap = os.path.join(run.directory, layout.BOOTSTRAP)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([bootstrap, *kept])}


def _is_bootstrap(path: str) -> bool:
    directory, name = os.path.split(path)
    return name == layout.BOOTSTRAP and os.path.basename(directory).startswith("tach-")


def _write(run: Run, name: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    file = os.open(os.path.join(run.directory, name), flags, 0o600)
    try:
        if os.write(file, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(file)
