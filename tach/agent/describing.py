"""Says of a function what a person wants to know of it: kind, place, signature."""

from __future__ import annotations

import inspect

from tach.agent.finding import CannotPatch, Found

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tach.agent.kinds import Kind

_UNCHANGEABLE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE


def describe(found: Found, kind: Kind) -> dict[str, Any]:
    """kind, file, line, signature, parameters, any_keyword, has_self.

    `file` is "" and `line` 0 where there is no source; `signature` is "" where nobody knows it,
    and `parameters`, the names, None then. Raises CannotPatch if it could not be replaced.
    """
    if isinstance(found.owner, type) and found.owner.__flags__ & _UNCHANGEABLE:
        raise CannotPatch("refused", f"its class {found.owner.__name__} cannot be changed")
    code = getattr(_innermost(kind.function), "__code__", None)
    signature = _signature(kind.function)
    parameters = signature.parameters.values() if signature else ()
    return {
        "kind": kind.name,
        "file": str(code.co_filename) if code else "",
        "line": int(code.co_firstlineno) if code else 0,
        "signature": _text(signature) if signature else "",
        "parameters": [each.name for each in parameters] if signature else None,
        "any_keyword": any(each.kind is each.VAR_KEYWORD for each in parameters),
        "has_self": bool(kind.skip),
    }


def _innermost(function: Any) -> Any:
    """What is called in the end, below decorators and partial functions."""
    seen: list[Any] = []
    while not any(each is function for each in seen):
        seen.append(function)
        for name in ("__wrapped__", "func", "__func__"):
            inner = inspect.getattr_static(function, name, None)
            if inspect.isdatadescriptor(inner):
                inner = getattr(function, name, None)
            if callable(inner):
                function = inner
                break
    if not hasattr(function, "__code__") and not inspect.isbuiltin(function):
        return getattr(type(function), "__call__", function)  # noqa: B004 - where its code is
    return function


def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except Exception:  # noqa: BLE001 - functions in C have none, objects may raise what they like
        return None


def _text(signature: inspect.Signature) -> str:
    try:
        return " ".join(str(signature).split())
    except Exception:  # noqa: BLE001 - it shows defaults, which may be objects of any sort
        return f"({', '.join(signature.parameters)})"
