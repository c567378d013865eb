"""Finds what a target names in a module, without running any code of the program's."""

from __future__ import annotations

from types import ModuleType

from tach.agent.hook import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeGuard


class Found:
    """The raw attribute `name` of `owner`; not its `own` if a base class has it."""

    __slots__ = ("name", "own", "owner", "raw")

    def __init__(self, owner: Any, name: str, raw: Any, own: bool) -> None:
        self.owner = owner
        self.name = name
        self.raw = raw
        self.own = own


class CannotPatch(Exception):
    """Why a target stays unmeasured. `state` is "missing" or "refused".

    `candidates` are the names that were there instead of a missing one.
    """

    def __init__(self, state: str, reason: str, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason
        self.candidates = candidates


def find(module: ModuleType, qualname: str) -> Found:
    """What `module:qualname` is. Raises CannotPatch."""
    *path, name = qualname.split(".")
    owner: Any = module
    if not (is_module(owner) or is_class(owner)):
        raise CannotPatch("refused", f"the module has put an object {type_of(owner)} in its place")
    for part in path:
        owner = _attribute(owner, part)[1]
        if not is_class(owner):
            raise CannotPatch("refused", f"{part!r} is {type_of(owner)}, not a class")
    name, raw, own = _attribute(owner, name)
    return Found(owner, name, raw, own)


def is_class(found: Any) -> TypeGuard[type]:
    """Whether it is one. isinstance would ask it for its `__class__`, which wakes lazy objects."""
    return issubclass(type(found), type)


def is_module(found: Any) -> bool:
    """Whether it is one, asked in the same way."""
    return issubclass(type(found), ModuleType)


def is_there(module: ModuleType, qualname: str) -> bool:
    """Whether the module has it."""
    try:
        find(module, qualname)
    except CannotPatch:
        return False
    return True


def inherited(found: Found, default: Any) -> Any:
    """The raw attribute that the owner of one that is not its own has from its bases now."""
    for place in type.__getattribute__(found.owner, "__mro__")[1:]:
        if found.name in _names(place):
            return _names(place)[found.name]
    return default


def _attribute(owner: Any, name: str) -> tuple[str, Any, bool]:
    """Its name as the owner has it, the raw attribute, and whether it is the owner's own."""
    places = type.__getattribute__(owner, "__mro__") if is_class(owner) else (owner,)
    for place in places:
        names = _names(place)
        for each in (name, _mangled(place, name)):
            if each in names:
                return each, names[each], place is owner
    candidates = tuple(key for place in places for key in _names(place) if isinstance(key, str))
    kind = f"class {owner.__name__}" if is_class(owner) else f"module {owner.__name__}"
    raise CannotPatch("missing", f"no {name!r} in {kind}", candidates)


def _names(place: Any) -> Any:
    if is_class(place):
        return type.__getattribute__(place, "__dict__")
    return vars(place)


def _mangled(place: Any, name: str) -> str:
    """What `__private` in the source of a class is called in its namespace."""
    if is_class(place) and name.startswith("__") and not name.endswith("__"):
        return f"_{place.__name__.lstrip('_')}{name}"
    return name


def depth(module: ModuleType, qualname: str) -> int:
    """How many classes the target's class is made of; 0 where there is no class, or not there."""
    found: Any = module
    for part in qualname.split(".")[:-1]:
        found = vars(found).get(part)
        if not is_class(found):
            return 0
    return len(type.__getattribute__(found, "__mro__")) if is_class(found) else 0


def expand(module: ModuleType, pattern: str, exclude: tuple[str, ...]) -> list[str]:
    """The names of the functions of the module that match the pattern, but none of `exclude`.

    Only what the module itself defines; no dunders; names with an underscore in front only where
    the pattern has one there too.
    """
    *classes, last = pattern.split(".")
    owners: list[tuple[str, Any]] = [("", module)]
    for part in classes:
        owners = [
            (f"{path}{name}.", each)
            for path, owner in owners
            for name, each in list(_names(owner).items())
            if is_class(each) and (name == part or fits(part, name))
            if name == part or _names(each).get("__module__") == module.__name__
        ]
    return [
        f"{path}{name}"
        for path, owner in owners
        for name in _functions(module, owner)
        if fits(last, name) and not is_excluded(f"{path}{name}", exclude)
    ]


def defines(module: ModuleType, qualname: str) -> bool:
    """Whether what the module has of that name is its own, not what it has imported."""
    first = _names(module).get(qualname.partition(".")[0])
    if is_class(first):
        return bool(_names(first).get("__module__") == module.__name__)
    function = _function_of(first)
    return function is None or _module_of(function) == module.__name__


def fits(pattern: str, name: Any) -> bool:
    """Whether a wildcard takes the attribute of that name: no dunder, `_private` only if asked."""
    if not isinstance(name, str) or (name.startswith("__") and name.endswith("__")):
        return False
    return matches(pattern, name) and (not name.startswith("_") or pattern.startswith("_"))


def is_excluded(qualname: str, exclude: tuple[str, ...]) -> bool:
    """Whether `exclude` takes the function out again, by its name or all of its qualname."""
    name = qualname.rpartition(".")[2]
    return any(matches(each, name) or matches(each, qualname) for each in exclude)


def _functions(module: ModuleType, owner: Any) -> Iterator[str]:
    """The names of what the owner has of the module's own functions."""
    for name, raw in list(_names(owner).items()):
        if is_class(owner) or type(raw) not in (classmethod, staticmethod, property):
            function = _function_of(raw)
            if function is not None and _module_of(function) == module.__name__:
                yield name


def _function_of(raw: Any) -> Any:
    """The function that an attribute is or contains; None where it is nothing of that sort."""
    kind = type(raw)
    if kind in (classmethod, staticmethod):
        return raw.__func__
    if kind is property:
        return raw.fget
    if f"{kind.__module__}.{kind.__qualname__}" in (
        "functools.cached_property",
        "functools.partialmethod",
    ):
        return raw.func
    return raw if kind.__name__ in _FUNCTIONS or hasattr(kind, "_tach") else None


_FUNCTIONS = frozenset(
    [
        "builtin_function_or_method",
        "cython_function_or_method",
        "function",
        "_lru_cache_wrapper",
    ]
)


def _module_of(function: Any) -> Any:
    try:
        return function.__module__
    except Exception:  # noqa: BLE001 - it may be anything that a decorator has made
        return None


def type_of(found: Any) -> str:
    """What kind of thing that is no function it is."""
    if is_module(found):
        return "a module"
    if is_class(found):
        return "a class"
    kind = type(found)
    return f"of type {kind.__module__}.{kind.__qualname__}"
