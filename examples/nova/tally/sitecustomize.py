"""Counts calls without tach: each function of $TALLY_FUNCTIONS writes a line to $TALLY as it ends.

The functions are `module:Class.method` or `module:function`, separated by blanks. They get a
decorator as the source of their module is compiled, outside of those that they have.
"""

from __future__ import annotations

import ast
import functools
import inspect
import os
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from os import O_APPEND, O_CREAT, O_WRONLY, write
from types import CodeType
from typing import Any

NAMES: dict[str, set[str]] = {}
for function in os.environ["TALLY_FUNCTIONS"].split():
    module, _, name = function.partition(":")
    NAMES.setdefault(module, set()).add(name)
FILE = os.open(os.environ["TALLY"], O_WRONLY | O_APPEND | O_CREAT, 0o600)
INNERMOST = {"classmethod", "staticmethod"}


def tally(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that writes `name` to the file whenever a call ends."""
    line = f"{name}\n".encode()

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            finally:
                write(FILE, line)

        counted.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return counted

    return decorate


def decorated(source: bytes, path: str, module: str) -> CodeType:
    """The module's code with its functions decorated."""
    tree = ast.parse(source, path)
    _decorate(tree, "", module)
    return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


def _decorate(node: ast.AST, inside: str, module: str) -> None:
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.ClassDef):
            _decorate(each, f"{inside}{each.name}.", module)
        elif isinstance(each, ast.FunctionDef) and f"{inside}{each.name}" in NAMES[module]:
            outside = sum(ast.unparse(one) in INNERMOST for one in each.decorator_list)
            call = f"__import__('sitecustomize').tally({f'{module}:{inside}{each.name}'!r})"
            line = (each.decorator_list or [each])[0].lineno
            decorator = ast.parse(call, mode="eval").body
            for part in ast.walk(decorator):
                ast.copy_location(part, each)
                part.lineno = part.end_lineno = line
            each.decorator_list.insert(outside, decorator)


original = SourceFileLoader.get_code


def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
    """As SourceFileLoader has it, but with the functions of the tally decorated."""
    if fullname not in NAMES:
        return original(self, fullname)
    path = self.get_filename(fullname)
    return decorated(self.get_data(path), path, fullname)


SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
