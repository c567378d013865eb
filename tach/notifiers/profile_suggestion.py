"""A configuration of the functions that are worth measuring, made of a profile."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder

from tach.notifiers.profile_rows import Profile, Row

WORTH = 0.01  # of all own time, or of the profile's: a function with less is not worth measuring
FEW = 25


def paths(argv: Sequence[str]) -> list[str]:
    """Where modules of the program of that command are to be looked for."""
    scripts = [os.path.dirname(os.path.abspath(each)) for each in argv[:2] if each[:1] != "-"]
    return [os.getcwd(), *scripts, *sys.path]


def suggestion(profile: Profile, path: Sequence[str]) -> str:
    """The configuration; `path` is where modules are, as in sys.path."""
    command = " ".join(profile.command.split())
    lines = [
        f"# The functions that took most of: {command}",
        "# Run it with: tach THIS_FILE PROGRAM...",
        "notifiers:",
        "  table: {type: console}",
        "  # statsd: {type: statsd, host: 127.0.0.1, port: 8125}",
        "defaults:",
        "  metrics: [timing, count, exceptions]",
        "  notifiers: [table]",
    ]
    worth = [row for row in profile.rows if _is_worth_it(row, profile)][:FEW]
    lines.append("targets:" if worth else "targets: {}")
    for row in worth:
        share = row.own / profile.own if profile.own else 0.0
        lines.append(f"  # {row.calls:,} calls, {share:.0%} of the time is its own")
        lines.append(f"  {_key(row.name)}: {function(row.name, path)}")
    return "\n".join(lines) + "\n"


def _is_worth_it(row: Row, profile: Profile) -> bool:
    """Whether it takes time itself, or others do for it; not what is measured at a loss."""
    if row.is_small:
        return False
    return row.own >= WORTH * profile.own or row.total >= 10 * WORTH * profile.seconds * 1000


def _key(name: str) -> str:
    """The name of the target: without `__main__`, which tells nobody anything."""
    return name.removeprefix("__main__.")


def function(name: str, path: Sequence[str]) -> str:
    """`module:qualname` of a dotted name: the module is as much of it as there are files of."""
    parts = name.split(".")
    modules = max(1, min(_modules(parts, list(path)), len(parts) - 1))
    return f"{'.'.join(parts[:modules])}:{'.'.join(parts[modules:])}"


def _modules(parts: Sequence[str], path: list[str]) -> int:
    """How many of the parts are the name of a module; nothing is imported."""
    if parts[0] == "__main__":
        return 1
    for place in range(len(parts) - 1):
        try:
            spec = PathFinder.find_spec(".".join(parts[: place + 1]), path)
        except (ImportError, ValueError, OSError):
            spec = None
        if spec is None:
            return place or _by_looks(parts)
        if spec.submodule_search_locations is None:
            return place + 1
        path = list(spec.submodule_search_locations)
    return len(parts) - 1


def _by_looks(parts: Sequence[str]) -> int:
    """The same where there are no files: a class begins with a capital letter."""
    classes = [place for place, part in enumerate(parts) if part[:1].isupper()]
    return classes[0] if classes else len(parts) - 1
