"""The small language in which a configuration names parts of a call: `args.instance.uuid`.

A path is a root (`args`, `kwargs`, `self`, `result`) and steps: `.name` is an attribute, or an item
of a mapping; `[0]` and `[name]` are items. Compiled in the launcher, so a path here is a tuple:
(root, step...), a step being (0, name) for a name, (1, key) for an item.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Path = tuple[Any, ...]
    Args = tuple[Any, ...]
    Kwargs = dict[str, Any]

NAME = 0
ITEM = 1
_NOTHING = object()


class Missing(Exception):
    """A step of a path leads nowhere."""


class Signature:
    """The names of a function's parameters; `skip` is 1 where the first is self or cls."""

    def __init__(self, function: Callable[..., Any], skip: int) -> None:
        inner = function
        while "__wrapped__" in getattr(inner, "__dict__", ()):
            inner = inner.__dict__["__wrapped__"]
        code = getattr(inner, "__code__", None)
        names = code.co_varnames[: code.co_argcount] if code else ()
        self.skip = skip
        self.places = {name: place for place, name in enumerate(names)}
        defaults = getattr(inner, "__defaults__", None) or ()
        self.defaults = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
        self.defaults.update(getattr(inner, "__kwdefaults__", None) or {})


class Lookup:
    """Finds what `path` leads to in calls of a function with that signature."""

    __slots__ = ("_default", "_index", "_least", "_name", "_root", "_steps")

    def __init__(self, path: Path, signature: Signature) -> None:
        root, *steps = path
        self._root: str = root
        self._index = 1 << 30  # of the positional argument, if it may be one
        self._least = signature.skip  # positional arguments that no negative number reaches
        self._name: str | None = None
        self._default: Any = _NOTHING
        if root == "self" and signature.skip:
            self._index = 0
        elif root == "args":
            _, key = steps.pop(0)
            self._choose(key, signature)
        self._steps: tuple[tuple[int, Any], ...] = tuple(steps)

    def _choose(self, key: str | int, signature: Signature) -> None:
        if isinstance(key, str):
            self._name = key
            self._index = signature.places.get(key, self._index)
            self._default = signature.defaults.get(key, _NOTHING)
        else:
            # from the end: what a negative number may reach is known at the call only
            self._index = key + signature.skip if key >= 0 else key

    def find(self, args: Args, kwargs: Kwargs, result: Any) -> Any:
        """What is there. Raises Missing, and whatever the program's own attributes raise."""
        if self._least - len(args) <= self._index < len(args):
            found = args[self._index]
        elif self._root == "result":
            found = result
        elif self._root == "kwargs":
            found = kwargs
        else:
            found = kwargs.get(self._name, self._default) if self._name else _NOTHING
            if found is _NOTHING:
                raise Missing(self._name or self._root)
        for sort, key in self._steps:
            found = _step(found, sort, key)
        return found


def _step(found: Any, sort: int, key: Any) -> Any:
    kind = type(found)
    is_dict = issubclass(kind, dict)
    if is_dict:
        item = dict.get(found, key, _NOTHING)  # past any __missing__, which would change it
        if item is not _NOTHING:
            return item
    if sort == NAME and kind is not dict:
        try:
            return getattr(found, key)
        except AttributeError:
            if is_dict or not hasattr(kind, "__getitem__"):
                raise Missing(key) from None
    elif is_dict:
        raise Missing(str(key))
    try:
        return found[key]
    except (LookupError, TypeError):
        raise Missing(str(key)) from None
