"""What a changed configuration means for a run that goes on: what is new, and what has to wait."""

from __future__ import annotations

from typing import Any, NamedTuple

from tach import compiled, spooldir
from tach.plan import NotifierPlan, Plan, TargetPlan

# The fields of a plan, and their keys, that a run keeps as long as it lasts.
LASTING = {
    "prefix": "prefix",
    "publisher_id": "publisher_id",
    "hide": "redact",
    "spool": "spool",
    "propagate": "propagate",
}
SPEAKING = ("console", "profile")  # notifiers that write to the program's stderr
# What only says which functions of a module are meant, not how they are measured.
SELECTION = ("exclude", "rebind")


class Change(NamedTuple):
    """From one plan to another: `plan` is the run's from now on.

    In it each target keeps its index: those that are gone stay, new ones come after them. `record`
    is for the processes (`tach.agent.plan_log`), None where nothing changes for them. `added`,
    `changed` and `removed` are names of targets; `restart` says what takes a restart, with its line
    in the file.
    """

    plan: Plan
    record: dict[str, Any] | None
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    restart: tuple[str, ...]


def between(current: Plan, wanted: Plan, generation: int, program: str, can_speak: bool) -> Change:
    """The change from the plan of a run of `program` to what its configuration says now.

    `generation` is that of the change; the sender of the run `can_speak` on the program's stderr.
    """
    plan, restart = _with_what_lasts(current, wanted)
    plan, waiting = _without_what_waits(current, plan, can_speak)
    targets, record = _targets(current, plan)
    plan = plan._replace(targets=targets)
    events = None if compiled.events_of(current) else compiled.events_of(plan)
    if events is not None:
        record["events"] = spooldir.complete(events, program)
    for_processes = record["removed"] or record["targets"] or events is not None
    if current.exit_timeout != plan.exit_timeout or for_processes:
        record = {"generation": generation, "exit_timeout": plan.exit_timeout, **record}
    else:
        record = {}
    old = {each.name: each for each in current.targets if not each.gone}
    new = {each.name: each for each in targets if not each.gone}
    return Change(
        plan,
        record or None,
        tuple(name for name in new if name not in old),
        tuple(name for name in new if name in old and not _is_same(old[name], new[name])),
        tuple(name for name in old if name not in new),
        (*restart, *waiting),
    )


def _is_same(one: TargetPlan, other: TargetPlan) -> bool:
    return one._replace(line=0, file="") == other._replace(line=0, file="")


def _with_what_lasts(current: Plan, wanted: Plan) -> tuple[Plan, list[str]]:
    lines = dict(wanted.lines)
    restart = [
        _place(key, lines.get(key))
        for field, key in LASTING.items()
        if getattr(current, field) != getattr(wanted, field)
    ]
    runtime = current.runtime
    if runtime is not None and wanted.runtime is not None:
        runtime = runtime._replace(notifiers=wanted.runtime.notifiers)
    if runtime != wanted.runtime:
        restart.append(_place("runtime", lines.get("runtime")))
    lasting = {field: getattr(current, field) for field in LASTING}
    return wanted._replace(**lasting, runtime=runtime, file=current.file), restart


def _without_what_waits(current: Plan, wanted: Plan, can_speak: bool) -> tuple[Plan, list[str]]:
    """Leave out notifiers that need what the run does not have: they take a restart."""
    before = {each.name: each for each in current.notifiers}
    has_events = compiled.events_of(current) is not None
    notifiers, restart = [], []
    for each in wanted.notifiers:
        known = before.get(each.name)
        # the processes write their events to the spools that they were told of
        is_late = has_events and each.delivers and not (known and known.delivers)
        is_mute = not can_speak and speaks(each) and not (known and speaks(known))
        if not is_late and not is_mute:
            notifiers.append(each)
            continue
        restart.append(_place(f"notifiers.{each.name}", each.line or None))
        if known is not None:
            notifiers.append(known)
    return wanted._replace(notifiers=tuple(notifiers)), restart


def speaks(notifier: NotifierPlan) -> bool:
    """Whether it writes to the program's stderr."""
    return notifier.type in SPEAKING and not notifier.options.get("file")


def _place(key: str, line: int | None) -> str:
    return f"{key} (line {line})" if line else f"{key} (no longer in the file)"


def _targets(current: Plan, wanted: Plan) -> tuple[tuple[TargetPlan, ...], dict[str, Any]]:
    """The targets by index, and which of them are removed from the processes, and which are new."""
    known = {each.name: index for index, each in enumerate(current.targets) if not each.gone}
    left = set(known.values())
    targets = [each._replace(gone=True) for each in current.targets]
    new: dict[str, list[dict[str, Any]]] = {}
    for target in wanted.targets:
        index = known.pop(target.name, len(targets))
        now = _seen(wanted, target)
        before = _seen(current, current.targets[index]) if index < len(current.targets) else {}
        if _measure(now) != _measure(before):
            index = len(targets)
        targets[index : index + 1] = [target]
        if now == before:
            left.discard(index)
        else:
            new.setdefault(target.module, []).append(compiled.target_of(wanted, index, target))
    return tuple(targets), {"removed": sorted(left), "targets": new}


def _seen(plan: Plan, target: TargetPlan) -> dict[str, Any]:
    """The target as a process sees it, whatever its index."""
    return {**compiled.target_of(plan, 0, target), "module": target.module}


def _measure(seen: dict[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in seen.items() if key not in SELECTION}
