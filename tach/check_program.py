"""What a program is to the interpreter that runs it, for `tach check` to imitate it."""

from __future__ import annotations

import itertools
import os
import shlex
import sys
from collections.abc import Iterator
from typing import NamedTuple

from tach import interpreter
from tach.interpreter import CannotStart

# How pip begins a script whose interpreter has too long a path for the first line.
_TRAMPOLINE = "'''exec' "
# They put the working directory on sys.path themselves, or the one that an option names.
_LOOK_HERE = frozenset(
    ["arq", "celery", "daphne", "dramatiq", "flask", "gunicorn", "hypercorn", "uvicorn"]
)
_PLACES = frozenset(["--app-dir", "--chdir", "--path", "--pythonpath", "--workdir"])


class Program(NamedTuple):
    """`python` with `options`, whose sys.path begins with `place`, runs a program with `argv`.

    The program is the `file`, or else the `module`, or else the `source`; it looks for modules in
    the directories `also` too.
    """

    python: str
    options: tuple[str, ...]
    place: str
    argv: tuple[str, ...]
    file: str = ""
    module: str = ""
    source: str = ""
    also: tuple[str, ...] = ()


def find(arguments: list[str]) -> Program:
    """The program that PROGRAM ARG..., -m MODULE ARG... or -c CODE ARG... stands for.

    Raises CannotStart where there is none, where it is not Python, or tach could not measure it.
    """
    command = interpreter.resolve(arguments)
    if interpreter.is_python(command.file) or command.file == sys.executable:
        return _of_python(command.file, command.argv[1:])
    python, options = interpreter.shebang(command.file)
    if python is None:
        python = _behind_trampoline(command.file)
    if python is None:
        raise CannotStart(
            f"{command.file} is no Python script, and what it starts is not known; "
            "name the Python program: tach check CONFIG python FILE",
            2,
        )
    return _of_script(python, tuple(options), [command.file, *command.argv[1:]])


def _behind_trampoline(file: str) -> str | None:
    with open(file, encoding="utf-8", errors="replace") as script:
        line = script.readline(512) and script.readline(4096)
    if not line.startswith(_TRAMPOLINE):
        return None
    words = shlex.split(line.removeprefix(_TRAMPOLINE))
    return words[0] if words and interpreter.is_python(words[0]) else None


def _of_python(python: str, words: list[str]) -> Program:
    options: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        letters = word[1:] if not word.startswith("--") else ""
        place = next((at for at, each in enumerate(letters) if each in "cmWX"), None)
        if place is None:
            options.append(word)
            continue
        value = letters[place + 1 :] or (rest.pop(0) if rest else "")
        if letters[place] in "WX":
            options.append(f"-{letters[: place + 1]}{value}")
            continue
        if letters[:place]:
            options.append(f"-{letters[:place]}")
        if letters[place] == "m":
            argv = (value, *rest)
            return Program(python, tuple(options), os.getcwd(), argv, module=value)
        return Program(python, tuple(options), "", ("-c", *rest), source=value)
    if not rest or rest[0] == "-":
        raise CannotStart("no program to look at: Python would read it from stdin", 2)
    return _of_script(python, tuple(options), rest)


def _of_script(python: str, options: tuple[str, ...], argv: list[str]) -> Program:
    file = os.path.realpath(argv[0])
    place = os.path.dirname(file)
    if os.path.isdir(file):
        place, file = file, os.path.join(file, "__main__.py")
    if not os.path.exists(file):
        raise CannotStart(f"{argv[0]}: no such file", 127)
    also = tuple(_looked_in(os.path.basename(argv[0]), argv[1:]))
    return Program(python, options, place, tuple(argv), file=file, also=also)


def _looked_in(command: str, arguments: list[str]) -> Iterator[str]:
    """Where such commands look for the application that their arguments name."""
    if command not in _LOOK_HERE:
        return
    words = [part for each in arguments for part in each.split("=", 1)]
    for option, value in itertools.pairwise(words):
        if option in _PLACES:
            yield os.path.abspath(value)
    yield os.getcwd()
