"""Why something that a target names is not there, and what could have been meant instead."""

from __future__ import annotations

import sys

from tach.agent.finding import CannotPatch, is_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType, TracebackType
    from typing import Any

    Reason = dict[str, Any]

_CANDIDATES = 2000
_HERE = __file__.rpartition("/")[0]


def reason(
    text: str, word: str = "", candidates: tuple[str, ...] = (), instead: str = ""
) -> Reason:
    """A reason with the wrong word, names that could be meant, and the one meant for sure."""
    names = [str(each) for each in candidates[:_CANDIDATES]]
    return {"reason": text, "word": word, "candidates": names, "instead": instead}


def missing(error: CannotPatch, module: ModuleType | None, qualname: str) -> Reason:
    """Why the function cannot be measured; `module` is None where it has not been imported."""
    if error.state != "missing":
        return reason(error.reason)
    word = error.reason.split("'")[1]
    instead = "" if "." in qualname or module is None else _method(module, qualname)
    hidden = word.startswith("_")
    names = tuple(each for each in error.candidates if hidden or not each.startswith("_"))
    return reason(error.reason, word, names, instead)


def _method(module: ModuleType, name: str) -> str:
    """Where a class of the module has a method of that name."""
    for title, each in list(vars(module).items()):
        own = is_class(each) and each.__module__ == module.__name__
        if own and name in type.__getattribute__(each, "__dict__"):
            return f"{title}.{name}"
    return ""


def why(name: str, error: BaseException) -> Reason:
    """Why the module cannot be imported."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and (name == missing or name.startswith(f"{missing}.")):
        return not_there(missing, name)
    kind = type(error)
    known = kind.__module__ == "builtins"
    title = kind.__qualname__ if known else f"{kind.__module__}.{kind.__qualname__}"
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - it is anybody's exception
        text = ""
    where = _where(error)
    what = f"{title}: {text}" if text else title
    return reason(f"cannot import {name!r}: {what}" + (f" ({where})" if where else ""))


def _where(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    where = ""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<frozen importlib") and not file.startswith(_HERE):
            where = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return where


def not_there(name: str, whole: str) -> Reason:
    """That there is no module of that name, which is, or is around, the `whole` one."""
    from tach.agent.modules import inside, is_package

    package, _, last = name.rpartition(".")
    if package and not is_package(package):
        text = f"no module {name!r}: {package!r} is a module, not a package"
        rest = whole[len(name) :]
        is_inside = hasattr(sys.modules.get(package), last)
        return reason(text, instead=f"{package}:{last}{rest}" if is_inside else "")
    return reason(f"no module {name!r}", name, tuple(inside(package)))
