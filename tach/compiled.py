"""A configuration as the launcher needs it, kept between runs so that YAML is parsed only once.

Parsing costs more than all the rest of the start. What is kept lies in `$XDG_CACHE_HOME/tach` (or
`~/.cache/tach`) and counts only while the file, and each that it includes, is the very one that was
parsed. A configuration that takes values from the environment is never kept: they may be secrets.
"""

from __future__ import annotations

import marshal
import os
import stat
import time

from tach import __version__, layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tach.plan import Plan, TargetPlan

# A file changed this shortly before it was parsed may change again without a newer time stamp.
_SETTLED_NS = 2_000_000_000
# Metric types that need to know when a call is switched out.
YIELDING = ("running", "waiting", "max_run", "yields", "cpu")
_PATH = 2  # where an identity has it
ROTATE_AT = 16 << 20  # bytes of a spool file, unless the whole spool may not be much larger


class Compiled:
    """`plan` is the whole plan as JSON, `agent` what the measured program reads: plain values.

    `file` is where it can be read again, "" where it cannot.
    """

    __slots__ = ("agent", "file", "plan")

    def __init__(self, plan: str, agent: dict[str, Any], file: str = "") -> None:
        self.plan = plan
        self.agent = agent
        self.file = file

    @property
    def is_wanted(self) -> bool:
        """Whether there is something to measure, or may be later."""
        return bool(self.agent["targets"] or "runtime" in self.agent or "reload" in self.agent)


def load(path: str) -> Compiled:
    """The configuration in the file at `path`. Raises `tach.config.ConfigErrors`."""
    kept = _recall(path)
    if kept is not None:
        return kept
    from tach import config

    identity = _identity(path)
    plan = config.load(path)
    compiled = compile_plan(plan)
    compiled.file = _file_to_read_again(path)
    _keep(path, [identity, *map(_identity, plan.included)], compiled)
    return compiled


def compile_plan(plan: Plan) -> Compiled:
    """The plan in the form that is written into the run directory."""
    targets: dict[str, list[dict[str, Any]]] = {}
    for index, target in enumerate(plan.targets):
        targets.setdefault(target.module, []).append(target_of(plan, index, target))
    agent = {
        "layout": layout.VERSION,
        "exit_timeout": plan.exit_timeout,
        "targets": targets,
        "propagate": plan.propagate,
        "events": events_of(plan),
    }
    if plan.runtime is not None:
        agent["runtime"] = {
            "every": plan.runtime.every,
            "block_after": plan.runtime.block_after,
        }
    if plan.reload:
        agent["reload"] = True
    return Compiled(plan.to_json(), agent)


def target_of(plan: Plan, index: int, target: TargetPlan) -> dict[str, Any]:
    """What the program needs to know of a target: what is not said is not wanted."""
    wanted = {
        "event": _event(plan, target),
        "inflight": "inflight" in target.metrics,
        "debug": "debug" in target.metrics,
        "own": "own" in target.metrics and {"callers": False, **target.options.get("own", {})},
        "yielding": [metric for metric in target.metrics if metric in YIELDING],
        "custom": [metric for metric in target.metrics if ":" in metric],
        "value": target.value,
        "queued": target.queued,
        "stamp": target.stamp,
        "exclude": target.exclude,
        "template": target.template,
        "helper": target.helper,
        "after": target.after,
        "max_series": target.max_series if target.has_names else 0,
        "outermost": target.outermost,
        "rebind": target.rebind,
    }
    return {
        "index": index,
        "name": target.name,
        "qualname": target.qualname,
        "ignore": target.ignore,
        **{key: each for key, each in wanted.items() if each},
    }


def _event(plan: Plan, target: TargetPlan) -> dict[str, Any] | None:
    """What the program needs to know to write the target's events; None if it has none."""
    if "events" not in target.metrics:
        return None
    delivering = [each.name for each in plan.notifiers if each.delivers]
    return {
        "event": target.event,
        "payload": {**({"tenant_id": target.tenant} if target.tenant else {}), **target.payload},
        "notifiers": [name for name in target.notifiers if name in delivering],
    }


def events_of(plan: Plan) -> dict[str, Any] | None:
    """What all events have in common. Directories and names are completed when a run begins."""
    if all("events" not in target.metrics for target in plan.targets):
        return None
    return {
        "base": plan.spool.directory,
        "notifiers": [each.name for each in plan.notifiers if each.delivers],
        "rotate_at": max(4096, min(plan.spool.max_size // 8, ROTATE_AT)),
        "sync": plan.spool.fsync == 0,
        "publisher_id": plan.publisher_id,
        "hide": plan.hide,
        "file": plan.file,
    }


def _identity(path: str) -> tuple[str | int, ...] | None:
    """What makes this file, in this state, for this tach, unlike any other."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None  # a pipe, which can be read once
    return (
        __version__,
        layout.VERSION,
        path,
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _file_to_read_again(path: str) -> str:
    return os.path.abspath(path) if os.path.isfile(path) else ""


def _place(path: str) -> str | None:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(base):
        return None
    name = os.path.abspath(path).replace("%", "%25").replace("/", "%2F")
    return os.path.join(base, "tach", name) if len(name) < 200 else None


def _recall(path: str) -> Compiled | None:
    place = _place(path)
    try:
        with open(place or "", "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return None
            identities, plan, agent = marshal.load(file)
            files = [path, *(each[_PATH] for each in identities[1:])]
    except (OSError, ValueError, EOFError, TypeError):
        return None
    if identities != [*map(_identity, files)]:
        return None
    return Compiled(plan, agent, _file_to_read_again(path))


def _may_be_kept(path: str) -> bool:
    with open(path, "rb") as source:
        settled = time.time_ns() - os.fstat(source.fileno()).st_mtime_ns >= _SETTLED_NS
        return settled and b"${" not in source.read()


def _keep(path: str, identities: list[tuple[str | int, ...] | None], compiled: Compiled) -> None:
    place = _place(path)
    if place is None or None in identities or identities[0] != _identity(path):
        return
    try:
        if not all(_may_be_kept(str(each[_PATH])) for each in identities if each is not None):
            return
        os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
        temporary = f"{place}.{os.getpid()}"
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(file, marshal.dumps((identities, compiled.plan, compiled.agent)))
        finally:
            os.close(file)
        os.replace(temporary, place)
    except OSError:
        return  # without a place to keep it, it is parsed each time
