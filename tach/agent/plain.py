"""Writes values of the program as JSON: small, free of secrets, and without running its code."""

from __future__ import annotations

from itertools import islice
from json.encoder import encode_basestring_ascii as quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["HIDDEN", "Plain", "quote"]

DEPTH = 4
ITEMS = 50  # of a list or a mapping
ALL_ITEMS = 500  # of a value with all that is in it
TEXT = 1024
HIDDEN = '"***"'
# Of these the standard library's own __str__ is safe and says all.
_TEXTUAL = frozenset(
    [
        ("datetime", "datetime"),
        ("datetime", "date"),
        ("datetime", "time"),
        ("datetime", "timedelta"),
        ("decimal", "Decimal"),
        ("uuid", "UUID"),
    ]
)


class Plain:
    """Writes JSON; keys that contain one of the words `hide` keep their values to themselves.

    Texts, lists and mappings are cut. A value that is no JSON becomes `"<module.Class>"`.
    """

    def __init__(self, hide: tuple[str, ...]) -> None:
        self._hide = tuple(word.lower() for word in hide)

    def hides(self, key: str) -> bool:
        """Whether what has this name must not be told."""
        lower = key.lower()
        return any(word in lower for word in self._hide)

    def json(self, found: Any, depth: int = DEPTH, room: list[int] | None = None) -> str:
        """The value, of at most `depth` levels, as JSON in ASCII.

        `room` holds how many more items may be written, all levels together.
        """
        kind = type(found)
        if kind is str:
            return quote(found[:TEXT])
        if found is None:
            return "null"
        if kind is int:
            return _number(found)
        if kind is bool:
            return "true" if found else "false"
        if kind is dict or kind in (list, tuple, set, frozenset):
            if depth == 0:
                return _name(kind)
            room = room or [ALL_ITEMS]
            if kind is dict:
                return self._mapping(found, depth - 1, room)
            return self._items(found, depth - 1, room)
        return _other(found, kind)

    def _items(self, found: Iterable[Any], depth: int, room: list[int]) -> str:
        texts = []
        for each in islice(found, ITEMS):
            if not _take(room):
                break
            texts.append(self.json(each, depth, room))
        return f"[{','.join(texts)}]"

    def _mapping(self, found: dict[Any, Any], depth: int, room: list[int]) -> str:
        texts = []
        for key, each in islice(found.items(), ITEMS):
            if not _take(room):
                break
            name = key[:TEXT] if type(key) is str else self.json(key, 0).strip('"')
            value = HIDDEN if self.hides(name) else self.json(each, depth, room)
            texts.append(f"{quote(name)}:{value}")
        return f"{{{','.join(texts)}}}"


def _take(room: list[int]) -> bool:
    room[0] -= 1
    return room[0] > 0


def _number(found: int) -> str:
    return int.__repr__(found) if -(1 << 63) <= found < 1 << 64 else '"<int>"'


def _other(found: Any, kind: type[Any]) -> str:
    if kind is float:
        return float.__repr__(found) if found - found == 0 else "null"  # not NaN, infinity
    if kind in (bytes, bytearray):
        return quote(bytes(found[:TEXT]).decode("utf-8", "replace"))
    if (kind.__module__, kind.__qualname__) in _TEXTUAL:
        return quote(str(found)[:TEXT])
    # Subclasses (enums, ORM texts) through the base's own methods, past any override. What the
    # object says of itself does not count: mocks lie.
    if issubclass(kind, str):
        return quote(str.__getitem__(found, slice(TEXT)))
    if issubclass(kind, int):
        return _number(int.__add__(found, 0))
    if issubclass(kind, float):
        return _other(float.__add__(found, 0.0), float)
    return _name(kind)


def _name(kind: type[Any]) -> str:
    return quote(f"<{kind.__module__}.{kind.__qualname__}>"[:TEXT])
