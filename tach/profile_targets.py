"""The functions that are a program's own: what `tach profile` measures if nobody says what."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Sequence

from tach import interpreter

# Functions, methods, and methods of nested classes, private ones too.
SHAPES = ("*", "_*", "*.*", "*._*", "*.*.*")
# Commands whose purpose is to run what lies in the directory they are started in.
RUNNERS = frozenset(["pytest", "py.test", "unittest", "nose2", "behave", "locust"])
SMALL = 4096  # bytes: a script that imports an installed command's package has no more


def of_program(arguments: Sequence[str]) -> list[str]:
    """Patterns of the functions of a program, as the command line names it."""
    return _patterns([*_modules(list(arguments))])


def _patterns(modules: Sequence[str]) -> list[str]:
    return [f"{module}:{shape}" for module in dict.fromkeys(modules) for shape in SHAPES]


def _modules(arguments: list[str]) -> Iterator[str]:
    first, rest = arguments[0], arguments[1:]
    if first == "-m" and rest:
        yield from _of_module(rest[0], rest[1:])
    elif first == "-c" and rest:
        yield "__main__"
        yield from _of_imports(rest[0])
    else:
        yield from _of_command(first, rest)


def _of_module(name: str, arguments: list[str]) -> Iterator[str]:
    """Of `-m NAME`: its package, or that in this directory which it is told to run."""
    package = name.partition(".")[0]
    found = [] if _lies_in(os.getcwd(), package) else [*_told(package, arguments)]
    yield from found or _of_package(package)


def _of_command(first: str, arguments: list[str]) -> Iterator[str]:
    try:
        resolved = interpreter.resolve([first, *arguments])
    except interpreter.CannotStart:
        yield "__main__"  # the launcher says why
        return
    command = resolved.argv
    if "-m" in command[1:] and _is_python(first):
        at = command.index("-m")
        yield from _of_module(command[at + 1], command[at + 2 :]) if command[at + 1 :] else ()
        return
    script = resolved.file
    if _is_python(script):
        script = next((each for each in command[1:] if os.path.isfile(each)), script)
    if script.endswith(".py"):
        yield "__main__"
        yield from _modules_in(os.path.dirname(os.path.abspath(script)), but=script)
        return
    found = [*_told(os.path.basename(first), arguments)]
    if found:
        yield from found
        return
    yield "__main__"
    yield from _of_imports(_source(script))


def _is_python(command: str) -> bool:
    return os.path.basename(command).startswith(("python", "pypy"))


def _told(command: str, arguments: Sequence[str]) -> Iterator[str]:
    """The modules of this directory, if the arguments of a command name one of them.

    As in `gunicorn shop.web:app`, `celery -A tasks worker`, `flask --app shop`, `app=shop:app`.
    """
    here = os.getcwd()
    if command in RUNNERS or any(
        _lies_in(here, word.partition(":")[0].partition(".")[0].strip("'\""))
        for argument in arguments
        for word in (argument, argument.rpartition("=")[2])
    ):
        yield from _modules_in(here)


def _lies_in(directory: str, name: str) -> bool:
    """Whether a module of that name, or a package with code, lies there."""
    place = os.path.join(directory, name)
    return name.isidentifier() and (os.path.isfile(f"{place}.py") or _has_code(place))


def _has_code(directory: str) -> bool:
    try:
        return any(each.endswith(".py") for each in os.listdir(directory))
    except OSError:
        return False


def _modules_in(directory: str, but: str = "") -> Iterator[str]:
    """The modules and packages in a directory; of a project with `src`, in that too."""
    try:
        entries = sorted(os.listdir(directory))
    except OSError:
        return
    for entry in entries:
        name = entry.removesuffix(".py")
        path = os.path.join(directory, entry)
        if entry == os.path.basename(but) or not name.isidentifier():
            continue
        if entry.endswith(".py"):
            yield name
        elif os.path.isfile(os.path.join(path, "__init__.py")):
            yield from _of_package(name)
        elif name == "src":
            yield from _modules_in(path)


def _of_package(package: str) -> list[str]:
    return [package, f"{package}.*"]


def _source(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(SMALL + 1).decode("utf-8", "replace")
    except OSError:
        return ""


def _of_imports(source: str) -> Iterator[str]:
    """The packages that a command's few lines import: its own, that is."""
    if len(source) > SMALL:  # a program of its own, which imports others'
        return
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for each in ast.walk(tree):
        names = [alias.name for alias in each.names] if isinstance(each, ast.Import) else []
        if isinstance(each, ast.ImportFrom) and each.module and not each.level:
            names = [each.module]
        for name in names:
            package = name.partition(".")[0]
            if package not in sys.stdlib_module_names and package != "tach":
                yield from _of_package(package)
