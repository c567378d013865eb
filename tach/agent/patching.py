"""Puts a probe in the place of a function, where the function is of a kind that tach measures."""

from __future__ import annotations

from types import FunctionType, ModuleType

from tach.agent.probe import make_event_probe, make_probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from tach.agent.events import Events
    from tach.agent.recorder import Recorder

    # (function, how many of its first arguments are self or cls) -> what writes its events
    MakeEvents = Callable[[Callable[..., Any], int], Events]

_GENERATOR, _COROUTINE, _ITERABLE_COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x100, 0x200
_KINDS = (
    (_ASYNC_GENERATOR, "an async generator function"),
    (_COROUTINE | _ITERABLE_COROUTINE, "a coroutine function"),
    (_GENERATOR, "a generator function"),
)


class CannotPatch(Exception):
    """Why a target stays unmeasured. `state` is "missing" or "refused".

    `candidates` are the names that were there instead of a missing one.
    """

    def __init__(self, state: str, reason: str, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason
        self.candidates = candidates


class Patch:
    """A probe in its place, with what is needed to take it out again."""

    def __init__(self, owner: Any, name: str, raw: Any, replacement: Any, own: bool) -> None:
        self.owner = owner
        self.name = name
        self.raw = raw
        self.replacement = replacement
        self.own = own  # False: inherited, the owner had no attribute of that name itself

    def undo(self) -> bool:
        """Put the original back; False where somebody else has replaced the probe since."""
        if vars(self.owner).get(self.name) is not self.replacement:
            return False
        if not self.own:
            _remove(self.owner, self.name)
        else:
            _store(self.owner, self.name, self.raw)
        return True


def patch(
    proxy: type[Any],
    module: ModuleType,
    qualname: str,
    recorder: Recorder,
    make_events: MakeEvents | None = None,
) -> Patch | None:
    """Measure `module:qualname`; None where that is done already.

    With `make_events`, notifications of its calls are written too. Raises CannotPatch.
    """
    *path, name = qualname.split(".")
    owner: Any = module
    if not isinstance(owner, (ModuleType, type)):
        raise CannotPatch("refused", f"the module has put an object {_kind(owner)} in its place")
    for part in path:
        owner = _find(owner, part)[0]
        if not isinstance(owner, type):
            raise CannotPatch("refused", f"{part!r} is {_kind(owner)}, not a class")
    raw, own = _find(owner, name)
    if recorder in _recorders_of(raw):
        return None
    replacement = _wrap(proxy, raw, recorder, make_events, isinstance(owner, type))
    try:
        _store(owner, name, replacement)
    except (TypeError, AttributeError) as error:
        raise CannotPatch("refused", f"its class cannot be changed ({error})") from None
    return Patch(owner, name, raw, replacement, own)


def depth(module: ModuleType, qualname: str) -> int:
    """How many classes the target's class is made of; 0 where there is no class, or not there."""
    found: Any = module
    for part in qualname.split(".")[:-1]:
        found = vars(found).get(part)
        if not isinstance(found, type):
            return 0
    return len(type.__getattribute__(found, "__mro__")) if isinstance(found, type) else 0


def _find(owner: Any, name: str) -> tuple[Any, bool]:
    """The raw attribute, without running the program's code, and whether it is the owner's own."""
    places = type.__getattribute__(owner, "__mro__") if isinstance(owner, type) else (owner,)
    for place in places:
        names = type.__getattribute__(place, "__dict__") if isinstance(place, type) else vars(place)
        if name in names:
            return names[name], place is owner
    # `__private` in the source of a class is another name in its namespace
    candidates = tuple(key for place in places for key in vars(place) if isinstance(key, str))
    kind = f"class {owner.__name__}" if isinstance(owner, type) else f"module {owner.__name__}"
    raise CannotPatch("missing", f"no {name!r} in {kind}", candidates)


def _wrap(
    proxy: type[Any],
    raw: Any,
    recorder: Recorder,
    make_events: MakeEvents | None,
    in_class: bool,
) -> Any:
    is_method = type(raw) in (classmethod, staticmethod)
    function = raw.__func__ if is_method else raw
    _refuse_other_kinds(function)
    if make_events is None:
        probe = make_probe(proxy, function, recorder)
    else:
        skip = int(in_class and type(raw) is not staticmethod)
        probe = make_event_probe(proxy, function, recorder, make_events(function, skip))
    if not is_method:
        return probe
    replacement = type(raw)(probe)
    vars(replacement).update(vars(raw))
    return replacement


def _refuse_other_kinds(function: Any) -> None:
    while _has_recorder(function):
        function = function.__wrapped__  # another target's probe: measured by both
    if type(function) is not FunctionType:
        raise CannotPatch("refused", f"it is {_kind(function)}, which tach does not measure yet")
    marks = vars(function)
    if "_is_coroutine_mark" in marks or "_is_coroutine_marker" in marks or "_is_coroutine" in marks:
        raise CannotPatch("refused", "it is a coroutine function, which tach does not measure yet")
    for flags, kind in _KINDS:
        if function.__code__.co_flags & flags:
            raise CannotPatch("refused", f"it is {kind}, which tach does not measure yet")


def _recorders_of(raw: Any) -> Iterator[Recorder]:
    """Those of the probes around the function, the outermost first."""
    function = raw.__func__ if type(raw) in (classmethod, staticmethod) else raw
    while _has_recorder(function):
        yield function._tach_recorder
        function = function.__wrapped__


def _has_recorder(function: Any) -> bool:
    return "_tach_recorder" in type.__getattribute__(type(function), "__dict__")


def _kind(found: Any) -> str:
    while _has_recorder(found):
        found = found.__wrapped__
    if isinstance(found, ModuleType):
        return "a module"
    if isinstance(found, type):
        return "a class"
    kind = type(found)
    return f"of type {kind.__module__}.{kind.__qualname__}"


def _store(owner: Any, name: str, value: Any) -> None:
    """Set the attribute past any `__setattr__` of the program's."""
    if not isinstance(owner, type):
        vars(owner)[name] = value
        return
    try:
        type.__setattr__(owner, name, value)
    except TypeError:  # its metaclass is written in C, and keeps books
        setattr(owner, name, value)


def _remove(owner: type, name: str) -> None:
    try:
        type.__delattr__(owner, name)
    except TypeError:
        delattr(owner, name)
