"""The directory that one run lives in: made by the launcher, read by all, removed by the sender."""

from __future__ import annotations

import errno
import marshal
import os

from tach import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tach.compiled import Compiled

_BOOTSTRAP = os.path.join(os.path.dirname(__file__), "agent", "bootstrap")


class Run:
    """What the sender must know about the run it serves; `plan` is a `Plan` as JSON.

    `file` is the configuration's, absolute; "" if it cannot be read again. `change` is the latest
    of the plan, as the processes of the run are told of it; None if there was none.
    """

    __slots__ = ("argv", "change", "directory", "file", "main_pid", "plan", "program")

    def __init__(
        self,
        directory: str,
        main_pid: int,
        program: str,
        argv: list[str],
        plan: str,
        file: str = "",
        change: dict[str, Any] | None = None,
    ) -> None:
        self.directory = directory
        self.main_pid = main_pid
        self.program = program
        self.argv = argv
        self.plan = plan
        self.file = file
        self.change = change

    @property
    def generation(self) -> int:
        """How often what the processes measure has been changed."""
        return self.change["generation"] if self.change is not None else 0

    def to_plain(self) -> tuple[Any, ...]:
        """Values that marshal can write."""
        return self.main_pid, self.program, self.argv, self.plan, self.file, self.change


def base() -> str:
    """Where run directories go: the first place that can be written to.

    Raises OSError where there is none.
    """
    wanted = os.environ.get("TACH_RUN_DIR")
    if wanted:
        if os.pathsep in wanted:  # PYTHONPATH could not name what lies there
            raise OSError(f"TACH_RUN_DIR {wanted!r} must be without {os.pathsep!r}")
        os.makedirs(wanted, mode=0o700, exist_ok=True)
        return os.path.abspath(wanted)
    places = ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR"), "/tmp")
    for place in places:
        if (
            place
            and os.path.isdir(place)
            and os.access(place, os.W_OK | os.X_OK, effective_ids=True)
        ):
            return os.path.abspath(place)
    raise OSError("no directory to write to; set TACH_RUN_DIR")


def create(compiled: Compiled, main_pid: int, program: str, argv: list[str]) -> Run:
    """Make the run's directory with all that its processes read. Raises OSError."""
    run = Run(_make_directory(main_pid), main_pid, program, argv, compiled.plan, compiled.file)
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
    _write(run, layout.AGENT_PLAN, layout.packed(agent))
    _write(run, layout.RUN, marshal.dumps(run.to_plain(), 2))
    for name in (layout.JOURNAL, layout.SENDER_LOCK):
        _write(run, name, b"")
    os.mkfifo(os.path.join(run.directory, layout.WAKE), 0o600)
    # not the file alone: what Python has compiled of it lies beside it
    os.symlink(_BOOTSTRAP, os.path.join(run.directory, layout.BOOTSTRAP))


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
        return Run(directory, *marshal.load(file))


def change(run: Run) -> None:
    """Keep the run's plan and its latest change, which are other ones now. Raises OSError."""
    temporary = f"{layout.RUN}.new"
    try:
        _write(run, temporary, marshal.dumps(run.to_plain(), 2))
        os.replace(os.path.join(run.directory, temporary), os.path.join(run.directory, layout.RUN))
    except OSError:
        import contextlib  # not for the launcher: a tenth of the start

        with contextlib.suppress(OSError):
            os.unlink(os.path.join(run.directory, temporary))
        raise


def tell(run: Run) -> None:
    """Tell the processes of the run of its latest change, if they have not been. Raises OSError."""
    if run.change is None:
        return
    file = os.open(os.path.join(run.directory, layout.AGENT_PLAN), os.O_RDWR | os.O_CLOEXEC)
    try:
        records = layout.whole_records(os.pread(file, os.fstat(file).st_size, 0))
        if len(records) > run.generation:
            return
        end = records[-1][1]
        os.ftruncate(file, end)  # a record that a sender before this one did not finish
        data = layout.packed(run.change)
        if os.pwrite(file, data, end) < len(data):
            os.ftruncate(file, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(file)


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
