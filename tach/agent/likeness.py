"""Classes of wrapt's proxy that show no more than the objects they stand for can do."""

from __future__ import annotations

import sys
from types import CodeType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# The special methods that abstract classes of the standard library look for; wrapt's proxies have
# most of them. After the colon, what Python makes do with where the first is missing.
_LOOKED_FOR: dict[str, tuple[str, ...]] = {
    "__hash__": (),
    "__len__": (),
    "__iter__": ("__getitem__",),
    "__next__": (),
    "__contains__": ("__iter__", "__getitem__"),
    "__reversed__": ("__getitem__",),
    "__enter__": (),
    "__exit__": (),
    "__await__": (),
    "__aenter__": (),
    "__aexit__": (),
    "__aiter__": (),
    "__anext__": (),
    "__fspath__": (),
    "__index__": (),
    "__int__": ("__index__", "__trunc__"),
    "__float__": ("__index__",),
    "__complex__": ("__float__", "__index__"),
    "__bytes__": ("__iter__", "__index__", "__buffer__"),
    "__abs__": (),
    "__round__": (),
}
_OPERATORS = (
    *("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift"),
    *("and", "xor", "or"),
)
# `warnings`, and `logging` since Python 3.11, pass over frames of importlib's files: of any file
# whose name has the two words. So they find the program's own line where a call is measured.
PASSED_OVER = "<tach, passed over like importlib._bootstrap>"

_made: dict[tuple[type, type], type] = {}


def likeness(proxy: type[Any], kind: type) -> type[Any]:
    """A proxy class, built upon wrapt's, for objects of class `kind`."""
    found = _made.get((proxy, kind))
    return found or _made.setdefault((proxy, kind), _make(proxy, kind))


def _make(proxy: type[Any], kind: type) -> type[Any]:
    inner_of, hides = _inner_of(proxy)
    namespace: dict[str, Any] = {}
    for name, instead in _LOOKED_FOR.items():
        if _has(kind, name):
            if not _has(proxy, name):
                namespace[name] = _forward(inner_of, name)
        elif _has(proxy, name) and not any(_has(kind, other) for other in instead):
            namespace[name] = None
    if not _has(proxy, "__iter__") and not _has(kind, "__iter__") and _has(kind, "__getitem__"):
        namespace["__iter__"] = lambda self, /: iter(inner_of(self))
    for operator in _OPERATORS:
        namespace[f"__i{operator}__"] = _in_place(inner_of, f"__i{operator}__")
    namespace["__slots__"] = ()
    namespace["__module__"] = type.__getattribute__(kind, "__module__")
    namespace["__repr__"] = _forward(inner_of, "__repr__")
    namespace["__reduce__"] = _forward(inner_of, "__reduce__")
    namespace["__reduce_ex__"] = _forward(inner_of, "__reduce_ex__")
    namespace["__copy__"] = lambda self, /: _copy(inner_of(self), self, "copy")
    namespace["__deepcopy__"] = lambda self, memo, /: _copy(inner_of(self), self, "deepcopy", memo)
    if hides:  # what the object itself says of a `__wrapped__`, not that tach has wrapped it
        namespace["__wrapped__"] = property(lambda self: inner_of(self).__wrapped__)
    make_class: Any = type(proxy)
    made: type[Any] = make_class(kind.__name__, (proxy,), namespace)
    return made


def _in_place(inner_of: Callable[[Any], Any], name: str) -> Callable[..., Any]:
    """Never changes what the proxy stands for, as wrapt's own would: others have it too."""

    def operate(self: Any, other: Any, /) -> Any:
        inner = inner_of(self)
        method = getattr(type(inner), name, None)
        if method is None:
            return NotImplemented
        result = method(inner, other)
        return self if result is inner else result

    return operate


def _forward(inner_of: Callable[[Any], Any], name: str) -> Callable[..., Any]:
    return lambda self, /, *args: getattr(inner_of(self), name)(*args)


def _inner_of(proxy: type[Any]) -> tuple[Callable[[Any], Any], bool]:
    """What finds the object of a proxy, and whether `__wrapped__` is not needed for that.

    Where wrapt is without its extension, it finds the object by that name itself.
    """
    wrapped: Any = vars(proxy).get("__wrapped__")
    if type(wrapped).__name__ == "getset_descriptor":
        return wrapped.__get__, True
    return lambda self: object.__getattribute__(self, "__wrapped__"), False


def _has(kind: type, name: str) -> bool:
    for base in type.__getattribute__(kind, "__mro__"):
        names = type.__getattribute__(base, "__dict__")
        if name in names:
            return names[name] is not None
    return False


def _copy(inner: Any, stand_in: Any, how: str, *memo: Any) -> Any:
    """What `copy` makes of it: where that is the object itself, what stands for it."""
    made = getattr(sys.modules["copy"], how)(inner, *memo)
    return stand_in if made is inner else made


def passed_over(function: Any) -> Any:
    """The function, its own code and that of its inner `call` being of the file PASSED_OVER."""
    code = function.__code__
    consts = [
        each.replace(co_filename=PASSED_OVER)
        if type(each) is CodeType and each.co_name == "call"
        else each
        for each in code.co_consts
    ]
    function.__code__ = code.replace(co_filename=PASSED_OVER, co_consts=tuple(consts))
    return function
