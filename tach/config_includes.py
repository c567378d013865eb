"""Targets of other files: those that tach brings along (`tach/includes/`), and one's own."""

from __future__ import annotations

import os
from typing import NamedTuple

from tach.problems import ConfigErrors, Problems, quoted, suggestion
from tach.yaml_nodes import is_null, read
from tach.yaml_values import Entry, Values

DIRECTORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "includes")
ENDS = (".yaml", ".yml")
IGNORED_KEYS = "x-"


class Included(NamedTuple):
    """The targets of one file, and what reads them and notes the file's `problems`."""

    file: str
    targets: dict[str, Entry]
    values: Values
    problems: Problems


def names() -> list[str]:
    """What tach brings along, sorted."""
    return sorted(file.removesuffix(ENDS[0]) for file in os.listdir(DIRECTORY))


def read_includes(entry: Entry | None, values: Values, directory: str) -> tuple[Included, ...]:
    """The files that `include:` names, in its order; paths in it are relative to `directory`."""
    if entry is None or is_null(entry.node):
        return ()
    found = []
    for name, line in (values.names(entry.node, "include", "include or file") or {}).items():
        file = _file(name, line, values, directory)
        if file:
            found.append(_read(file))
    return tuple(found)


def _file(name: str, line: int, values: Values, directory: str) -> str:
    """The path of what is meant; "" after a problem."""
    if "/" not in name and not name.endswith(ENDS):
        if name in names():
            return os.path.join(DIRECTORY, name + ENDS[0])
        advice = suggestion(name, names())
        values.report(line, "include", f"unknown include {quoted(name)}", advice)
        return ""
    file = os.path.abspath(os.path.join(directory, os.path.expanduser(name)))
    if os.path.isfile(file):
        return file
    advice = "the path is relative to this configuration"
    values.report(line, "include", f"there is no file {quoted(name)}", advice)
    return ""


def _read(file: str) -> Included:
    problems = Problems(file)
    values = Values(problems)
    try:
        entries = values.mapping(read(file, problems), "") or {}
        used = {key: entry for key, entry in entries.items() if not key.startswith(IGNORED_KEYS)}
        targets = values.only(used, "", ("targets",)).get("targets")
        found = values.mapping(targets.node, "targets") if targets else {}
        if targets is None:
            values.report(0, "", "there are no targets in it", "add targets:")
    except ConfigErrors:  # which `problems` has noted
        found = {}
    return Included(file, found or {}, values, problems)
