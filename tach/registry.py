"""Plug-ins by name: the built-in ones, and those that other packages declare as entry points."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints


def names(group: str, builtin: Mapping[str, str]) -> list[str]:
    """The names that `load` knows, sorted."""
    return sorted({*builtin, *_entry_points(group).names})


def load(group: str, builtin: Mapping[str, str], name: str) -> type[Any]:
    """The class of that name; KeyError if there is none, ImportError if it cannot be imported."""
    if name in builtin:
        module, _, attribute = builtin[name].partition(":")
        found: type[Any] = getattr(import_module(module), attribute)
        return found
    loaded: type[Any] = _entry_points(group)[name].load()
    return loaded


def _entry_points(group: str) -> EntryPoints:
    # Imported here because it costs more than all of tach's own start-up.
    from importlib.metadata import entry_points

    return entry_points(group=group)
