"""The section `notifiers:` of a configuration."""

from __future__ import annotations

from typing import Any

from tach import notifiers
from tach.known_types import KnownTypes
from tach.notifier_options import read_options
from tach.plan import NotifierPlan
from tach.problems import quoted, suggestion
from tach.yaml_nodes import line_of
from tach.yaml_values import Entry, Values

IMPLICIT = NotifierPlan("console", "console", {}, 0)


def read_notifiers(entry: Entry | None, values: Values) -> tuple[NotifierPlan, ...]:
    """The notifiers that the section configures, the console if there are none.

    Those with problems are among them, as targets may name them; none at all if the section is no
    mapping.
    """
    entries = values.mapping(entry.node, "notifiers") if entry else {}
    if entries is None:
        return ()
    types = KnownTypes(notifiers)
    return tuple(_notifier(*each, types, values) for each in entries.items()) or (IMPLICIT,)


def _notifier(name: str, entry: Entry, types: KnownTypes, values: Values) -> NotifierPlan:
    where = f"notifiers.{name}"
    entries = values.mapping(entry.node, where, "a mapping such as {type: console}")
    if entries is None:
        return NotifierPlan(name, "", {}, entry.line)
    type_entry = entries.pop("type", None)
    if type_entry is None:
        values.report(entry.line, where, "the key 'type' is missing", f"known: {', '.join(types)}")
        return NotifierPlan(name, "", {}, entry.line)
    type_name = _type(type_entry, where, types, values)
    cls = _load(type_name, where, entry.line, values) if type_name else None
    options = read_options(cls, entries, where, entry.line, values) if cls else {}
    delivers = hasattr(cls, "deliver")
    return NotifierPlan(name, type_name, options, entry.line, delivers)


def _type(entry: Entry, where: str, types: KnownTypes, values: Values) -> str:
    """The name of a known type; the empty string after a problem."""
    found = values.text(entry.node, f"{where}.type", "a notifier type")
    if found is None or found in types:
        return found or ""
    what = f"unknown notifier type {quoted(found)}"
    values.report(line_of(entry.node), where, what, suggestion(found, types))
    return ""


def _load(type_name: str, where: str, line: int, values: Values) -> type[Any] | None:
    try:
        return notifiers.load(type_name)
    except Exception as error:  # noqa: BLE001 - other people's code, and no traceback may come out
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        what = f"the notifier type {quoted(type_name)} cannot be loaded: {reason}"
        values.report(line, where, what, "install what it needs")
        return None
