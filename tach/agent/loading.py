"""Code of the operator's own that runs in the program: helpers and metric types."""

from __future__ import annotations

import sys

from tach.agent.classes import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_TRIES = 10
_LONGEST = 200


class Unusable(Exception):
    """What was to be loaded cannot be used; the text says why."""


class Loaded:
    """What `where` names, made ready by `prepare` when it is first needed.

    `where` is `module:name`, or `/absolute/file.py:name`. It is loaded as late as that because the
    modules that it imports may not be ready before. After some failures it is given up, for each
    is a search of the disk.
    """

    def __init__(self, where: str, prepare: Callable[[Any], Any] = lambda found: found) -> None:
        self._where = where
        self._prepare = prepare
        self._found: Any = None
        self._failures = 0
        self._failure = ""

    def get(self) -> Any:
        """What it is. Raises Unusable, or RecursionError."""
        if self._found is None:
            if self._failures >= _TRIES:
                raise Unusable(self._failure)
            try:
                self._found = self._prepare(_load(self._where))
            except RecursionError:
                raise
            except Exception as error:  # noqa: BLE001 - it is not the program's
                self._failures += 1
                self._failure = in_words(error)
                raise Unusable(self._failure) from None
        return self._found


def in_words(error: Exception) -> str:
    """What class of exception it is, and what it says, as far as it can be asked."""
    if type(error) is Unusable:
        return str(error)
    try:
        text = str(error)[:_LONGEST]
    except Exception:  # noqa: BLE001 - nor can this be the program's trouble
        text = "it cannot say why"
    return f"{name_of(type(error))}: {text}"


def _load(where: str) -> Any:
    place, _, name = where.rpartition(":")
    module: Any
    if place.startswith("/"):
        module = type(sys)(place.rpartition("/")[2].removesuffix(".py"))
        module.__file__ = place
        with open(place, "rb") as file:
            exec(compile(file.read(), place, "exec"), vars(module))
    else:
        from importlib import import_module

        module = import_module(place)
    found = module
    for part in name.split("."):
        found = getattr(found, part)
    return found
