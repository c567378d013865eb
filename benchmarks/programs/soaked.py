"""The functions that soaking.py calls."""

from __future__ import annotations

from collections.abc import Iterator

THING = object()
ERROR = LookupError("kept")


def function(thing: object, *, keyword: object = None) -> object:
    """Returns what it gets."""
    return keyword or thing


def generator(thing: object) -> Iterator[object]:
    """Yields it."""
    yield thing


def fails(error: Exception) -> None:
    """Raises what it gets."""
    raise error


class Owner:
    """Has a method."""

    def method(self, thing: object) -> object:
        """Returns what it gets."""
        return thing


EVERYTHING = (THING, ERROR, function, generator, fails, Owner, Owner.method)
