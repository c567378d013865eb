"""Writes values of the program as JSON: small, free of secrets, and without running its code."""

from __future__ import annotations

from _json import encode_basestring_ascii as quote  # json itself may be a target
from itertools import islice

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
_LONG_WORD = 5  # letters: who has as many is unlikely to be part of some other word
_LONG_NAME = 128
_NAMES = 500  # known names of one target
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
    """Writes JSON; keys that have one of the words `hide` keep their values to themselves.

    Texts, lists and mappings are cut. A value that is no JSON becomes `"<module.Class>"`.
    """

    def __init__(self, hide: tuple[str, ...]) -> None:
        words = [snake for word in hide if (snake := _snake(word))]
        self._ends = tuple(end for word in words for end in (f"{word}_", f"{word}s_"))
        self._parts = tuple(word.replace("_", "") for word in words)
        self._long_parts = tuple(part for part in self._parts if len(part) >= _LONG_WORD)
        self._known: dict[str, bool] = {}

    def hides(self, key: str) -> bool:
        """Whether what has this name must not be told.

        So it is if a word in it ends with a hidden one: `auth` hides authToken and oauth2, but not
        author. Hidden ones of five letters and more may stand anywhere: `token` hides tokenvalue.
        """
        hidden = self._known.get(key)
        if hidden is not None:
            return hidden
        lower = key.lower()
        if len(key) > _LONG_NAME:  # to take it apart would take long
            return any(part in lower for part in self._parts)
        text = f"{_snake(key)}_{lower}_"  # both: SSNs is no SS and Ns
        hidden = any(each in lower for each in self._long_parts)
        hidden = hidden or any(each in text for each in self._ends)
        if len(self._known) >= _NAMES:
            self._known.clear()
        self._known[key] = hidden
        return hidden

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


def _snake(name: str) -> str:
    """The words of a name in small letters: X-AuthToken2 and xAuth_token2 are x_auth_token_2."""
    words = [""]
    before = ""
    for each in name:
        kind = "A" if each.isupper() else "a" if each.isalpha() else "1" if each.isdigit() else ""
        if before == "A" and kind == "a":  # of an acronym the last letter begins the next word
            words[-1:] = [words[-1][:-1], words[-1][-1]]
        elif kind != before:
            words.append("")
        if kind:
            words[-1] += each
        before = kind
    return "_".join(filter(None, words)).lower()


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
