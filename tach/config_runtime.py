"""The section `runtime:` of a configuration: what is told of processes as a whole."""

from __future__ import annotations

import yaml

from tach.plan import NotifierPlan, RuntimePlan
from tach.problems import quoted, suggestion
from tach.yaml_nodes import is_null, line_of
from tach.yaml_values import Entry, Values

RUNTIME_KEYS = ("every", "block_after", "notifiers")
LEAST = 0.01


def read_runtime(
    entry: Entry | None, notifiers: tuple[NotifierPlan, ...], values: Values
) -> RuntimePlan | None:
    """What the section asks for; None if for nothing."""
    names = tuple(each.name for each in notifiers)
    if entry is None or is_null(entry.node):
        return None
    if not isinstance(entry.node, yaml.MappingNode):
        return RuntimePlan(names) if values.boolean(entry.node, "runtime") else None
    fields = values.fields(entry.node, "runtime", RUNTIME_KEYS) or {}
    plan = RuntimePlan(names)
    return RuntimePlan(
        _notifiers(fields.get("notifiers"), names, values),
        _duration(fields.get("every"), "runtime.every", plan.every, values),
        _duration(fields.get("block_after"), "runtime.block_after", plan.block_after, values),
    )


def _duration(entry: Entry | None, where: str, default: float, values: Values) -> float:
    found = values.duration(entry.node, where) if entry else None
    if entry and found is not None and found < LEAST:
        values.report(line_of(entry.node), where, "must be at least 10ms")
    return found or default


def _notifiers(entry: Entry | None, known: tuple[str, ...], values: Values) -> tuple[str, ...]:
    if entry is None:
        return known
    wanted = values.names(entry.node, "runtime.notifiers", "notifier name") or {}
    for name, line in wanted.items():
        if known and name not in known:
            what = f"unknown notifier {quoted(name)}"
            values.report(line, "runtime.notifiers", what, suggestion(name, known))
    return tuple(wanted)
