"""The directory that one run lives in: made by the launcher, read by all, removed by the sender."""

from __future__ import annotations

import json
import marshal
import os
import tempfile
from typing import NamedTuple

from tach import layout
from tach.plan import Plan

_BOOTSTRAP_FILE = os.path.join(os.path.dirname(__file__), "agent", "bootstrap", "sitecustomize.py")
_RUN_FILE = "run.json"


class Run(NamedTuple):
    """What the sender must know about the run it serves."""

    directory: str
    main_pid: int
    program: str
    argv: list[str]
    plan: Plan


def base() -> str:
    """Where run directories go: the first place that can be written to.

    Raises OSError where there is none.
    """
    wanted = os.environ.get("TACH_RUN_DIR")
    if wanted:
        os.makedirs(wanted, mode=0o700, exist_ok=True)
        return os.path.abspath(wanted)
    for place in ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()):
        if place and os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK):
            return os.path.abspath(place)
    raise OSError("no directory to write to; set TACH_RUN_DIR")


def create(plan: Plan, main_pid: int, program: str, argv: list[str]) -> Run:
    """Make the run's directory with all that its processes read. Raises OSError."""
    directory = tempfile.mkdtemp(prefix=f"tach-{os.geteuid()}-{main_pid}-", dir=base())
    run = Run(directory, main_pid, program, argv, plan)
    _write(run, _RUN_FILE, _to_json(run).encode())
    _write(run, layout.AGENT_PLAN, marshal.dumps(_for_agent(run), 2))  # 2: all Pythons read it
    for name in (layout.JOURNAL, layout.SENDER_LOCK):
        _write(run, name, b"")
    os.mkfifo(os.path.join(directory, layout.WAKE), 0o600)
    bootstrap = os.path.join(directory, layout.BOOTSTRAP)
    os.mkdir(bootstrap, 0o700)
    os.symlink(_BOOTSTRAP_FILE, os.path.join(bootstrap, "sitecustomize.py"))
    return run


def read(directory: str) -> Run:
    """The run that `create` made. Raises OSError."""
    with open(os.path.join(directory, _RUN_FILE), encoding="utf-8") as file:
        fields = json.load(file)
    return Run(
        directory,
        fields["main_pid"],
        fields["program"],
        fields["argv"],
        Plan.from_json(fields["plan"]),
    )


def environment(run: Run) -> dict[str, str]:
    """The environment that brings tach into each Python process of the run.

    Another run's bootstrap directory is left out: tach under tach counts each call once.
    """
    old = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [path for path in old if path and not _is_bootstrap(path)]
    bootstrap = os.path.join(run.directory, layout.BOOTSTRAP)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([bootstrap, *kept])}


def _is_bootstrap(path: str) -> bool:
    directory, name = os.path.split(path)
    return name == layout.BOOTSTRAP and os.path.basename(directory).startswith("tach-")


def _write(run: Run, name: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    file = os.open(os.path.join(run.directory, name), flags, 0o600)
    try:
        os.write(file, data)
    finally:
        os.close(file)


def _to_json(run: Run) -> str:
    fields = run._asdict()
    fields["plan"] = run.plan.to_json()
    return json.dumps(fields)


def _for_agent(run: Run) -> dict[str, object]:
    """The plan as the measured program needs it: plain values, targets by module."""
    targets: dict[str, list[tuple[int, str, tuple[str, ...]]]] = {}
    for index, target in enumerate(run.plan.targets):
        targets.setdefault(target.module, []).append((index, target.qualname, target.ignore))
    return {
        "layout": layout.VERSION,
        "main_pid": run.main_pid,
        "exit_timeout": run.plan.exit_timeout,
        "targets": targets,
    }
