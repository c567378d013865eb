"""Finds functions in the source of a program that must not be run to be looked at."""

from __future__ import annotations

import ast

from tach.agent.finding import CannotPatch, fits, is_excluded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeGuard

    Function = ast.FunctionDef | ast.AsyncFunctionDef
    Names = dict[str, ast.stmt]


class Definitions:
    """What the statements of `source`, the module `name`, define. Raises SyntaxError."""

    def __init__(self, source: str | bytes, name: str, file: str) -> None:
        self._name = name
        self._file = file
        self._module = ast.parse(source, file)

    def describe(self, qualname: str) -> dict[str, Any]:
        """What the function is, as `tach.agent.describing.describe`. Raises CannotPatch."""
        *path, last = qualname.split(".")
        names, where = _names(self._module.body), f"module {self._name}"
        for part in path:
            owner = _get(names, part, where)
            if not isinstance(owner, ast.ClassDef):
                raise CannotPatch("refused", f"{part!r} is not a class")
            names, where = _names(owner.body), f"class {part}"
        found = _get(names, last, where)
        if isinstance(found, ast.ClassDef):
            raise CannotPatch("refused", "it is a class; name a method of it")
        if not _is_function(found):
            raise CannotPatch("refused", "it is not defined by def")
        kind, skip = _kind(found, bool(path))
        arguments = found.args
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        returns = f" -> {ast.unparse(found.returns)}" if found.returns else ""
        return {
            "kind": kind,
            "file": self._file,
            "line": min([found.lineno, *(each.lineno for each in found.decorator_list)]),
            "signature": f"({ast.unparse(arguments)}){returns}",
            "parameters": [each.arg for each in parameters],
            "any_keyword": arguments.kwarg is not None,
            "has_self": skip,
        }

    def expand(self, pattern: str, exclude: tuple[str, ...]) -> list[str]:
        """The names of functions and methods that match, as `tach.agent.finding.expand`."""
        found = []
        for name, each in _names(self._module.body).items():
            inner = _names(each.body) if isinstance(each, ast.ClassDef) else {}
            names = {name: each, **{f"{name}.{part}": one for part, one in inner.items()}}
            found += [name for name, one in names.items() if _is_function(one)]
        return [
            name
            for name in found
            if name.count(".") == pattern.count(".") and fits(pattern, name)
            if not is_excluded(name, exclude)
        ]


def _is_function(statement: ast.stmt) -> TypeGuard[Function]:
    return isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef))


def _get(names: Names, name: str, where: str) -> ast.stmt:
    if name not in names:
        raise CannotPatch("missing", f"no {name!r} in {where}", tuple(names))
    return names[name]


def _names(body: list[ast.stmt]) -> Names:
    """What statements define, also those under `if`, `try` and `with`."""
    found: Names = {}
    for each in body:
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found[each.name] = each
        elif isinstance(each, (ast.Assign, ast.AnnAssign)):
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            found.update((name.id, each) for name in targets if isinstance(name, ast.Name))
        else:
            for inner in ("body", "orelse", "finalbody"):
                found.update(_names(getattr(each, inner, [])))
            for handler in getattr(each, "handlers", []):
                found.update(_names(handler.body))
    return found


def _kind(function: Function, in_class: bool) -> tuple[str, bool]:
    """What to call it, and whether its first argument is self or cls."""
    decorators = {ast.unparse(each).rpartition(".")[2] for each in function.decorator_list}
    named = {
        "classmethod": "class method",
        "staticmethod": "static method",
        "property": "property",
        "cached_property": "cached property",
    }
    for decorator, kind in named.items():
        if in_class and decorator in decorators:
            return kind, decorator != "staticmethod"
    flow = "coroutine " if isinstance(function, ast.AsyncFunctionDef) else ""
    if _yields(function):
        flow = "async generator " if flow else "generator "
    return f"{flow}{'method' if in_class else 'function'}", in_class


def _yields(function: Function) -> bool:
    inner: list[ast.AST] = list(function.body)
    for node in inner:
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            inner += ast.iter_child_nodes(node)
    return False
