"""Series named after the arguments of their calls, or what comes of them: a bounded number."""

from __future__ import annotations

from tach.agent.classes import name_of
from tach.agent.loading import in_words
from tach.agent.paths import Lookup, Missing, Signature
from tach.names import LONGEST, component, sanitise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tach.agent.recorder import Recorder

    Args = tuple[Any, ...]
    Kwargs = dict[str, Any]

UNKNOWN = "unknown"  # stands for a value that could not be had
NONE = "none"  # the name of no exception
_SPELLINGS = 4  # distinct values kept for each series


class SeriesTable:
    """The recorders of one target by name: at most `limit`, and one for the calls beyond that."""

    def __init__(self, make: Callable[[str], Recorder], limit: int, other: str) -> None:
        self._make = make
        self._limit = limit
        self._other = other
        self._recorders: dict[str, Recorder] = {}

    def recorder(self, name: str) -> Recorder:
        """The one for that name."""
        found = self._recorders.get(name)
        if found is not None:
            return found
        if len(self._recorders) >= self._limit and name != self._other:
            return self.recorder(self._other)
        return self._recorders.setdefault(name, self._make(name))

    def after_fork(self) -> None:
        """Start anew, in the child's own segment."""
        for recorder in list(self._recorders.values()):
            recorder.after_fork()


class Naming:
    """Finds the recorder of a call of one function.

    `template` is text and paths (as `tach.agent.paths` has them) in turn; the root `exception` is
    the class of what was raised. Names that need the result are known when the call has ended.
    """

    def __init__(
        self,
        template: tuple[Any, ...],
        table: SeriesTable,
        function: Callable[..., Any],
        skip: int,
        on_trouble: Callable[[str], None],
    ) -> None:
        signature = Signature(function, skip)
        self._table = table
        self._texts = [part if isinstance(part, str) else None for part in template]
        self._lookups = [
            None if isinstance(part, str) else Lookup(part, signature) for part in template
        ]
        paths = [part for part in template if not isinstance(part, str)]
        self._roots = [None if isinstance(part, str) else part[0] for part in template]
        self._needs_end = any(path[0] in ("result", "exception") for path in paths)
        one_argument = len(paths) == 1 and not self._needs_end
        self._only = Lookup(paths[0], signature) if one_argument else None
        self._known: dict[Any, Recorder] = {}
        self._on_trouble = on_trouble
        self._keep = _SPELLINGS * table._limit

    def begin(self, args: Args, kwargs: Kwargs) -> tuple[Recorder | None, None]:
        """The recorder of a call that begins; None where only its end will tell."""
        if self._only is not None:  # the usual, and quicker
            try:
                value = self._only.find(args, kwargs, None)
                known = self._known.get(value) if type(value) is str else None
                if known is not None:
                    return known, None
                text = _text(value)
            except Exception as trouble:  # noqa: BLE001 - attributes of the program may raise it all
                text = self._unknown(trouble)
            return self._recorder((text,), text), None
        if self._needs_end:
            return None, None
        return self._find(args, kwargs, None, None), None

    def end(self, args: Args, kwargs: Kwargs, result: Any, error: BaseException | None) -> Recorder:
        """The recorder of a call that has ended."""
        return self._find(args, kwargs, result, error)

    def _find(
        self, args: Args, kwargs: Kwargs, result: Any, error: BaseException | None
    ) -> Recorder:
        texts = tuple(
            [
                self._value(lookup, root, args, kwargs, result, error)
                for lookup, root in zip(self._lookups, self._roots, strict=True)
                if lookup is not None
            ]
        )
        return self._recorder(texts, texts)

    def _recorder(self, texts: tuple[str, ...], key: object) -> Recorder:
        found = self._known.get(key)
        if found is None:
            found = self._table.recorder(self._name(texts))
            if len(self._known) < self._keep:
                self._known[key] = found
        return found

    def _name(self, texts: tuple[str, ...]) -> str:
        rest = iter(texts)
        parts = [component(next(rest)) if text is None else text for text in self._texts]
        return sanitise("".join(parts))

    def _value(
        self,
        lookup: Lookup,
        root: str | None,
        args: Args,
        kwargs: Kwargs,
        result: Any,
        error: BaseException | None,
    ) -> str:
        """What stands in the name for one placeholder. Raises no Exception."""
        if root == "exception":
            return NONE if error is None else name_of(type(error))
        try:
            if error is not None and root == "result":
                return UNKNOWN
            return _text(lookup.find(args, kwargs, result))
        except Exception as trouble:  # noqa: BLE001 - attributes of the program may raise it all
            return self._unknown(trouble)

    def _unknown(self, trouble: Exception) -> str:
        reason = f"no {trouble}" if type(trouble) is Missing else in_words(trouble)
        self._on_trouble(f"a name has {UNKNOWN!r} in it: {reason}")
        return UNKNOWN


def _text(value: Any) -> str:
    """The value as a short text, exactly a str: nobody's code hashes it or compares."""
    kind: Any = type(value)
    if kind is bool or value is None:
        return str(value)
    if issubclass(kind, int):  # of an IntEnum not all Pythons' own text is the number
        return int.__repr__(value)[:LONGEST]
    if issubclass(kind, (bytes, bytearray)):
        return bytes(value[:LONGEST]).decode("utf-8", "replace")
    if issubclass(kind, str):
        text = str.__str__(value)
    elif kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        text = name_of(kind)  # its own would hold an address
    else:
        text = str.__str__(str(value))
    return text[:LONGEST]
