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
    found = [
        _notifier(name, entry, f"notifiers.{name}", types, values)
        for name, entry in entries.items()
    ]
    return tuple(found) or (IMPLICIT,)


def _notifier(
    name: str, entry: Entry, where: str, types: KnownTypes, values: Values
) -> NotifierPlan:
    entries = values.mapping(entry.node, where, "a mapping such as {type: console}")
    if entries is None:
        return NotifierPlan(name, "", {}, entry.line)
    type_entry = entries.pop("type", None)
    if type_entry is None:
        values.report(entry.line, where, "the key 'type' is missing", f"known: {', '.join(types)}")
        return NotifierPlan(name, "", {}, entry.line)
    type_name = _type(type_entry, where, types, values)
    cls = _load(type_name, where, entry.line, values) if type_name else None
    if cls is None:
        return NotifierPlan(name, type_name, {}, entry.line)
    option = getattr(cls, "wraps", None)
    if option is None or option not in entries:
        options = read_options(cls, entries, where, entry.line, values)
        return NotifierPlan(name, type_name, options, entry.line, hasattr(cls, "deliver"))
    wrapped = _notifier(name, entries.pop(option), f"{where}.{option}", types, values)
    read = {option: {"type": wrapped.type, **wrapped.options}}
    options = read_options(cls, entries, where, entry.line, values, read)
    # What is not known of the wrapped one is not known of this one either: no type.
    return NotifierPlan(name, wrapped.type and type_name, options, entry.line, wrapped.delivers)


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
