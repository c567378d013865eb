"""Who had taken a function before it was measured: `from m import f`, tables, closures.

Calls through such a reference pass the probe by. A look at all objects of the program is dear, so
there is one for a module, and only if a function of it has more references than it needs.
"""

from __future__ import annotations

import sys
from _weakref import getweakrefcount
from types import CellType, FunctionType, MemberDescriptorType, MethodType, ModuleType

from tach.agent.finding import CannotPatch, find, is_class
from tach.agent.kinds import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tach.agent.finding import Found

_HEAP_TYPE = 1 << 9  # a flag of classes that are made at run time
_SHOWN = 5  # places named for each function
# What refers to a function while it is looked at, or on the way to where it is held.
_PASSING = ("frame", "coroutine", "generator", "Found", "Kind", "Patch", "getset_descriptor")


class Holder:
    """Somebody who holds a function, at `key`; it may be replaced there if that is `safe`.

    `container` is a list, a dict, a cell, or an object with `key` among its attributes. `owner` is
    the module or class in whose namespace that is, or whose list or dict it is. `home` says that
    the function's own module has it: another name of it there, or a table of its own.
    """

    __slots__ = ("container", "home", "key", "namespace", "owner", "place", "safe")

    def __init__(
        self, container: Any, key: Any, place: str, safe: bool = False, owner: Any = None
    ) -> None:
        self.container = container
        self.key = key
        self.place = place
        self.safe = safe
        self.owner = owner
        self.home = False
        self.namespace = False  # whether `container` is that of `owner` itself


class Suspects:
    """Functions of one module that have more references than they need, before they are patched."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Found, Any]] = {}
        example = ModuleType("example")
        exec(_EXAMPLE, vars(example))
        self._bare = _references(example, "function")
        self._wrapped = _references(example, "Class.function")

    def look(self, module: ModuleType, qualname: str) -> None:
        """Note the function if it is held."""
        try:
            raw, function = _references(module, qualname)
        except CannotPatch:
            return
        needed = self._bare if not function else self._wrapped
        found = find(module, qualname)
        bare = Kind(found).function
        if raw > needed[0] or function > needed[1] or getweakrefcount(bare):
            self._found[qualname] = found, bare

    def holders(self) -> dict[str, list[Holder]]:
        """Who holds them, by qualname: one look at all objects of the program."""
        if not self._found:
            return {}
        import gc

        suspects = dict(self._found)
        self._found.clear()
        functions = [function for _, function in suspects.values()]
        own = {id(functions), id(suspects), *map(id, suspects.values())}
        referrers = [each for each in gc.get_referrers(*functions) if id(each) not in own]
        inner = [each for each in referrers if type(each) in (list, dict, tuple)]
        owners = gc.get_referrers(*inner) if inner else []
        return {
            qualname: [
                *(
                    holder
                    for each in referrers
                    for key in _keys(each, function)
                    if (holder := _holder(each, key, found, owners)) is not None
                ),
                *_weak(function),
            ]
            for qualname, (found, function) in suspects.items()
        }


_EXAMPLE = """
def function(): pass
class Class:
    @staticmethod
    def function(): pass
"""


def _references(module: ModuleType, qualname: str) -> tuple[int, int]:
    """How many the attribute has, and the function in it (0 where that is the same)."""
    found = find(module, qualname)
    kind = Kind(found)
    bare = kind.function is found.raw
    return sys.getrefcount(found.raw), 0 if bare else sys.getrefcount(kind.function)


def _weak(function: Any) -> list[Holder]:
    """Who holds the function without keeping it, as lists of listeners do."""
    return [Holder(None, None, "a weak reference")] if getweakrefcount(function) else []


def in_words(holders: list[Holder]) -> str:
    """The places, not too many."""
    places = list(dict.fromkeys(each.place for each in holders))
    more = f", and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return ", ".join(places[:_SHOWN]) + more


def _holder(container: Any, key: Any, found: Found, owners: list[Any]) -> Holder | None:
    """None for what is the function's owner, or only passing by."""
    if type(container) not in (list, dict, tuple):
        return _elsewhere(container, key, found)
    holder = _in_namespace(container, key) if type(container) is dict else None
    if holder is not None and key == found.name and holder.owner in _owners(found):
        return None
    holder = holder or _in_container(container, key, owners)
    if holder is not None and is_class(holder.owner) and _is_probe(holder.owner):
        return None
    if holder is not None:
        holder.home = holder.safe and _module_name(holder.owner) == _module_name(found.owner)
    return holder


def _owners(found: Found) -> tuple[Any, ...]:
    """Who has it by right: its owner, or the classes that inherits it from."""
    if found.own or not is_class(found.owner):
        return (found.owner,)
    owners: tuple[Any, ...] = type.__getattribute__(found.owner, "__mro__")
    return owners


def _elsewhere(container: Any, key: Any, found: Found) -> Holder | None:
    kind = type(container)
    if kind is MethodType:
        return Holder(container, key, f"a bound method of a {type(container.__self__).__name__}")
    if kind.__name__ in _PASSING or container is found.raw or _is_of_tach(container):
        return None
    if kind is CellType:
        return Holder(container, key, "a closure", True)
    place = f"{key} of a {kind.__name__}" if key else f"a {kind.__name__}"
    return Holder(container, key, place, bool(key))


def _in_namespace(names: dict[Any, Any], key: Any) -> Holder | None:
    """Who holds it in the namespace of a module or class; None for another dict."""
    owner = _owner_of(names)
    if owner is None:
        return None
    holder = Holder(names, key, f"{_name(owner)}.{key}", True, owner)
    holder.namespace = True
    return holder


def _in_container(container: Any, key: Any, owners: list[Any]) -> Holder | None:
    """Who holds it in a list, dict or tuple; None for a tuple that nobody has by a name."""
    kind = f"a {type(container).__name__}"
    for names in owners:
        if type(names) is dict and names is not container:
            for name in _keys(names, container):
                owner = _owner_of(names)
                if owner is not None:
                    place = f"{kind} {_name(owner)}.{name}"
                    return Holder(container, key, place, type(container) is not tuple, owner)
    if type(container) is tuple:
        return _in_list(container, owners)
    whose = _whose(container, owners)
    return Holder(container, key, f"{kind} of a {whose}" if whose else kind, bool(whose))


def _whose(container: Any, owners: list[Any]) -> str:
    """The class of an object that has the list or dict as an attribute, such as an application."""
    import gc

    for each in owners:
        if _is_object(each):
            return type(each).__name__
        if type(each) is dict and each is not container and _owner_of(each) is None:
            for holder in gc.get_referrers(each):
                if _is_object(holder):
                    return type(holder).__name__
    return ""


def _is_object(found: Any) -> bool:
    """Whether it is of a class of Python code's, and neither one itself nor tach's."""
    kind = type(found)
    return (
        bool(type.__getattribute__(kind, "__flags__") & _HEAP_TYPE)
        and not issubclass(kind, (type, ModuleType))
        and str(type.__getattribute__(kind, "__module__")).partition(".")[0] != "tach"
    )


def _in_list(container: tuple[Any, ...], owners: list[Any]) -> Holder | None:
    """Who has the tuple, in a list such as a decorator makes or as the arguments of a partial; None
    for one that passes by.
    """
    import gc

    for within in owners:
        if type(within).__name__ == "partial" and _refers(within, container):
            return Holder(container, None, "a partial")
        if type(within) is list and any(each is container for each in within):
            for names in gc.get_referrers(within):
                owner = _owner_of(names) if type(names) is dict else None
                if owner is not None:
                    name = _keys(names, within)[0]
                    return Holder(container, None, f"a tuple in a list {_name(owner)}.{name}")
    return None


def _module_name(owner: Any) -> Any:
    return owner.__module__ if is_class(owner) else getattr(owner, "__name__", None)


def _keys(holder: Any, wanted: Any) -> list[Any]:
    if type(holder) is dict:
        return [key for key, each in list(holder.items()) if each is wanted]
    if type(holder) in (list, tuple):
        return [place for place, each in enumerate(holder) if each is wanted]
    if not _refers(holder, wanted):
        return []  # it holds another one of those that are looked for
    return _attributes(holder, wanted) or [None]


def _refers(holder: Any, wanted: Any) -> bool:
    import gc

    return any(each is wanted for each in gc.get_referents(holder))


def _attributes(holder: Any, wanted: Any) -> list[str]:
    """The attributes of an object of the program's that are that, without asking the object."""
    if not _is_object(holder):
        return []
    classes = type.__getattribute__(type(holder), "__mro__")
    namespaces = [type.__getattribute__(each, "__dict__") for each in classes]
    slots = {
        name: member
        for each in namespaces
        if "__slots__" in each  # members of what is written in C are not to be touched
        for name, member in each.items()
        if type(member) is MemberDescriptorType
    }
    found = [name for name, member in slots.items() if _slot(member, holder) is wanted]
    try:
        names = object.__getattribute__(holder, "__dict__")
    except AttributeError:
        return found
    return [*found, *(_keys(names, wanted) if type(names) is dict else ())]


def _slot(member: MemberDescriptorType, holder: Any) -> Any:
    try:
        return member.__get__(holder)
    except AttributeError:  # it is empty
        return None


def _owner_of(names: dict[Any, Any]) -> Any:
    """The module or class whose namespace it is; None if it is none."""
    name = names.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is not None and getattr(module, "__dict__", None) is names:
        return module
    for each in ("__dict__", "__weakref__"):
        owner = getattr(names.get(each), "__objclass__", None)
        if owner is not None:
            return owner
    return _class_of(names) if "__module__" in names else None


def _class_of(names: dict[Any, Any]) -> Any:
    """The class whose namespace it is, where nothing in that says so: that of a derived class."""
    import gc

    for each in gc.get_referrers(names):
        if is_class(each):
            own = type.__getattribute__(each, "__dict__")
            if len(own) == len(names) and all(own.get(key) is names[key] for key in names):
                return each
    return None


def _name(owner: Any) -> str:
    if is_class(owner):
        return f"{owner.__module__}.{owner.__qualname__}"
    return str(owner.__name__)


def _is_of_tach(holder: Any) -> bool:
    """Whether it is a function of ours, a probe, or something that belongs to one."""
    kind = type(holder)
    if kind is CellType:
        import gc

        closures = [each for each in gc.get_referrers(holder) if type(each) is tuple]
        owners = gc.get_referrers(*closures)
        functions = [each for each in owners if type(each) is FunctionType]
        # without one it was of a call that has just ended
        return not functions or any(map(_is_of_tach, functions))
    if _is_probe(kind):
        return True
    module = holder.__module__ if kind is FunctionType else kind.__module__
    return str(module).startswith("tach.agent")


def _is_probe(kind: type) -> bool:
    return "_tach" in type.__getattribute__(kind, "__dict__")
