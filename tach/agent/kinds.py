"""Of what kind a callable is, and how it is taken apart and put together with a probe in it."""

from __future__ import annotations

import sys
from types import (
    BuiltinFunctionType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    WrapperDescriptorType,
)

from tach.agent.finding import CannotPatch, is_class, is_module, type_of
from tach.agent.probe import unprobed
from tach.agent.probes import compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tach.agent.finding import Found

_GENERATOR, _COROUTINE, _ITERABLE_COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x100, 0x200
_FLOWS = (
    (_ASYNC_GENERATOR, "async generator"),
    (_COROUTINE | _ITERABLE_COROUTINE, "coroutine"),
    (_GENERATOR, "generator"),
)
_MARKS = ("_is_coroutine_mark", "_is_coroutine_marker", "_is_coroutine")
# Types that bind as functions do; they cannot be named without importing more.
_BINDING = ("_lru_cache_wrapper", "cython_function_or_method")
# What the agent calls itself while it measures, by module: measured, that would not end.
NEEDED = {
    "_thread": frozenset(["_count", "_is_main_interpreter"]),
    "atexit": frozenset(["register", "unregister"]),
    "builtins": frozenset(
        [
            *("__build_class__", "__import__", "all", "any", "callable", "delattr", "divmod"),
            *("getattr", "hasattr", "id", "isinstance", "issubclass", "iter", "len", "max", "min"),
            *("next", "repr", "setattr", "vars"),
        ]
    ),
    "gc": frozenset(["get_referents", "get_referrers"]),
    "marshal": frozenset(["dumps", "loads"]),
    "posix": frozenset(
        [
            *("_exit", "access", "close", "dup2", "fchmod", "fdatasync", "fstat", "geteuid"),
            *("getpid", "getppid", "open", "pipe", "posix_fallocate", "posix_spawn", "pread"),
            *("read", "register_at_fork", "set_inheritable", "stat", "unlink", "urandom"),
            *("waitpid", "write"),
        ]
    ),
    "sys": frozenset(["_getframe", "getrefcount", "gettrace", "settrace"]),
}
# Those that look at who calls them: a probe in Python would be that.
_LOOK_AT_CALLER = frozenset(["dir", "eval", "exec", "globals", "locals"])


class Kind:
    """One callable attribute. `function` is what gets the probe.

    `name` is for people; `flow` is "" or what a call returns instead of being done: "generator",
    "coroutine", "async generator". It `binds` as a function in a class does; `skip` is 1 where its
    first argument is self or cls.
    """

    __slots__ = ("binds", "flow", "function", "name", "raw", "skip")

    def __init__(self, found: Found) -> None:
        in_class = is_class(found.owner)
        raw = self.raw = found.raw
        self.function, self.name = _take_apart(raw, in_class)
        inner = unprobed(self.function)[0]
        _refuse(found, inner)
        self.flow = flow_of(inner)
        self.binds = _binds(inner)
        self.skip = int(in_class and type(raw) is not staticmethod)
        if not self.name:
            self.name = _name(inner, self.flow, in_class)

    def with_probe(self, probe: Any) -> Any:
        """What to put in the attribute's place."""
        raw = self.raw
        if self.function is raw:
            return probe
        if type(raw) in (classmethod, staticmethod):
            replacement = type(raw)(probe)
            vars(replacement).update(vars(raw))
            return replacement
        if type(raw) is property:
            replacement = raw.getter(probe)
            replacement.__doc__ = raw.__doc__  # which may be its own
            return replacement
        replacement = object.__new__(type(raw))
        vars(replacement).update(vars(raw))
        vars(replacement)["func"] = probe
        return replacement


def _take_apart(raw: Any, in_class: bool) -> tuple[Any, str]:
    """The callable in the attribute, and the kind of attribute if that says all."""
    kind = type(raw)
    if kind is classmethod:
        return raw.__func__, "class method"
    if kind is staticmethod:
        return raw.__func__, "static method"
    if kind is property and in_class:
        if raw.fget is None:
            raise CannotPatch("refused", "it is a property without a getter")
        return raw.fget, "property"
    if in_class and _is(raw, "cached_property"):
        return raw.func, "cached property"
    if in_class and _is(raw, "partialmethod"):
        return raw.func, "partial method"
    return raw, ""


def _is(raw: Any, name: str) -> bool:
    """Whether it is a `functools` one of that name: which is not imported for our sake."""
    functools = sys.modules.get("functools")
    return functools is not None and type(raw) is vars(functools)[name]


def _refuse(found: Found, inner: Any) -> None:
    """Raises CannotPatch where what is there cannot be measured."""
    if is_class(inner):
        advice = f"{found.name}.__init__" if not is_class(found.owner) else "its __init__"
        raise CannotPatch("refused", f"it is a class; name a method of it, such as {advice}")
    kind = type(inner)
    seen = _binds(inner) or issubclass(kind, _UNBINDING) or _is(inner, "partial")
    unseen = hasattr(kind, "__get__") and not seen
    if unseen and is_class(found.owner):
        raise CannotPatch("refused", f"it is a descriptor {type_of(inner)}: its calls are not seen")
    if is_module(inner) or not callable(inner):
        raise CannotPatch("refused", f"it is {type_of(inner)}, which cannot be called")
    if is_module(found.owner):
        _refuse_needed(found.owner.__name__, found.name)
    if inner is object.__new__ or inner is object.__init__:
        raise CannotPatch("refused", f"the class has no {found.name} of its own")


def _refuse_needed(module: str, name: str) -> None:
    """Raises CannotPatch where a probe could not work without what it is for."""
    if name in NEEDED.get(module, ()):
        raise CannotPatch("refused", "it is what tach itself needs to measure")
    if module == "builtins" and name in _LOOK_AT_CALLER and compiled() is None:
        text = "it looks at its caller, for which tach would have to be compiled"
        raise CannotPatch("refused", text)


_UNBINDING = (MethodType,)


def _binds(inner: Any) -> bool:
    kind = type(inner)
    if kind in (FunctionType, MethodDescriptorType, WrapperDescriptorType):
        return True
    # in Python 3.13 a partial has `__get__`, but for a warning
    return kind.__name__ in _BINDING or (sys.version_info >= (3, 14) and _is(inner, "partial"))


def flow_of(inner: Any) -> str:
    """What a call of it returns instead of being done, as `Kind.flow` says it."""
    function = inner
    while _is(function, "partial"):
        function = unprobed(function.func)[0]
    if type(function) is MethodType:
        function = unprobed(function.__func__)[0]
    if type(function) is not FunctionType:
        of_class = getattr(type(function), "__call__", None)  # noqa: B004 - its code is wanted
        function = unprobed(of_class)[0]
    if type(function) is not FunctionType:
        return ""
    if any(mark in vars(function) for mark in _MARKS):
        return "coroutine"
    for flags, flow in _FLOWS:
        if function.__code__.co_flags & flags:
            return flow
    return ""


def _name(inner: Any, flow: str, in_class: bool) -> str:
    if type(inner) in (FunctionType, MethodDescriptorType, WrapperDescriptorType):
        name = "method" if in_class else "function"
        return f"{flow} {name}" if flow else name
    if type(inner) is BuiltinFunctionType:
        return "function in C"
    if type(inner).__name__ == "_lru_cache_wrapper":
        return "cached function"
    return "partial function" if _is(inner, "partial") else "callable object"
