"""Which command a program's name means, and whether tach can reach into the Python that runs it."""

from __future__ import annotations

import os
import sys

_PYTHON_NAMES = ("python", "pypy")
_VERSION = "0123456789.td"  # what may follow: python3.13t, for one
# options of the interpreter that keep it from reading PYTHONPATH or from importing site
_BLIND = {"I": "isolated mode", "E": "ignoring PYTHON* variables", "S": "without site"}
_WITH_VALUE = ("W", "X", "c", "m")


class CannotStart(Exception):
    """Why the program is not started. `status` is the exit status that a shell would give."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Command:
    """What to execute: the file, its argument vector, and a short name for the program."""

    __slots__ = ("argv", "file", "program")

    def __init__(self, file: str, argv: list[str], program: str) -> None:
        self.file = file
        self.argv = argv
        self.program = program


def resolve(arguments: list[str]) -> Command:
    """The command that PROGRAM ARG..., -m MODULE ARG... or -c CODE ARG... stands for.

    Raises CannotStart where there is no such program, or where tach could not measure it.
    """
    first = arguments[0]
    if first in ("-m", "-c"):
        if len(arguments) < 2:
            raise CannotStart(f"{first} needs {'a module' if first == '-m' else 'code'}", 2)
        name = arguments[1] if first == "-m" else "python"
        return Command(sys.executable, [sys.executable, *arguments], name)
    if first.startswith("-"):
        raise CannotStart(f"{first} is no program; only -m and -c may stand in its place", 2)
    file = _find(first)
    name = short_name(arguments)
    if file.endswith(".py") and not os.access(file, os.X_OK):
        return Command(sys.executable, [sys.executable, file, *arguments[1:]], name)
    _check_interpreter(file, arguments[1:])
    return Command(file, arguments, name)


def short_name(arguments: list[str]) -> str:
    """What a person would call the program: of `python -u app.py` it is app."""
    name = os.path.basename(arguments[0]).removesuffix(".py")
    if not is_python(arguments[0]):
        return name
    rest = iter(arguments[1:])
    for word in rest:
        if word == "-m":
            return next(rest, name)
        if not word.startswith("-"):
            return os.path.basename(word).removesuffix(".py")
        if word in ("-c", "-"):
            break
        if word in ("-W", "-X"):
            next(rest, None)
    return name


def _find(name: str) -> str:
    """The file that a shell would run; a .py file need not be executable."""
    found = name if "/" in name else _on_path(name)
    if found is None and name.endswith(".py") and os.path.isfile(name):
        found = name
    if found is None:
        raise CannotStart(f"{name or repr(name)}: command not found", 127)
    if not os.path.exists(found):
        raise CannotStart(f"{name}: no such file", 127)
    if os.path.isdir(found):
        raise CannotStart(f"{name}: is a directory", 126)
    if not found.endswith(".py") and not os.access(found, os.X_OK):
        raise CannotStart(f"{name}: not executable (chmod +x, or name its interpreter)", 126)
    return found


def _on_path(name: str) -> str | None:
    # shutil.which does the same, but importing it is a tenth of the start.
    for directory in os.get_exec_path():
        file = os.path.join(directory, name)
        if os.path.isfile(file) and os.access(file, os.X_OK):
            return file
    return None


def _check_interpreter(file: str, arguments: list[str]) -> None:
    """Refuse a Python that would not load tach; other programs may start a Python later."""
    python, options = shebang(file)
    advice = f", or name its Python yourself: tach CONFIG python {file}"
    if python is None:
        if not is_python(file):
            return
        python, options, advice = file, arguments, ""
    blind = _blind_option(options)
    if blind:
        raise CannotStart(
            f"{file} runs Python with -{blind} ({_BLIND[blind]}), which keeps tach out; "
            f"start it without that option{advice}",
            2,
        )
    if not _is_own(python):
        check_foreign(python, file)


def is_python(file: str) -> bool:
    """Whether a file of that name is an interpreter."""
    return os.path.basename(file).rstrip(_VERSION) in _PYTHON_NAMES


def shebang(file: str) -> tuple[str | None, list[str]]:
    """The Python that a script's first line names, and its options; (None, []) if it names none.

    Raises CannotStart where the interpreter that it names is not there.
    """
    try:
        with open(file, "rb") as script:
            line = script.readline(512)
    except OSError:
        return None, []
    words = line[2:].decode("utf-8", "replace").split() if line.startswith(b"#!") else []
    if words and not os.access(words[0], os.X_OK):
        raise CannotStart(f"{file}: its interpreter {words[0]} cannot be executed", 126)
    if words and os.path.basename(words[0]) == "env":
        del words[0]
        while words and (words[0].startswith("-") or "=" in words[0]):
            del words[0]
    if not words or not is_python(words[0]):
        return None, []
    python = words[0] if "/" in words[0] else _on_path(words[0])
    return python, words[1:]


def _blind_option(options: list[str]) -> str | None:
    """The first of -I, -E and -S among the interpreter's own options."""
    words = iter(options)
    for word in words:
        if not word.startswith("-") or word.startswith("--"):
            return None
        for place, letter in enumerate(word[1:], start=1):
            if letter in _BLIND:
                return letter
            if letter in _WITH_VALUE:
                if letter in "cm":
                    return None
                if place == len(word) - 1:
                    next(words, None)
                break
    return None


def _is_own(python: str) -> bool:
    """Whether this is the environment that tach itself runs in (a link to its python is not)."""
    directory = os.path.dirname(os.path.abspath(python))
    own = os.path.dirname(os.path.abspath(sys.executable))
    return directory == own and os.path.realpath(python) == os.path.realpath(sys.executable)


def check_foreign(python: str, file: str) -> None:
    """Raises CannotStart where that Python, under which `file` runs, cannot load tach."""
    import subprocess

    from tach import layout

    code = (
        "import sys\n"
        "assert sys.version_info >= (3, 10), 'tach needs Python 3.10 or later'\n"
        "import wrapt\nfrom tach import layout\n"
        f"assert layout.VERSION == {layout.VERSION}, 'its tach is of another version'\n"
    )
    found = subprocess.run(
        [python, "-c", code],
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if found.returncode:
        last = (found.stderr.strip().splitlines() or ["it does not run"])[-1]
        raise CannotStart(
            f"{file} runs under {python}, which cannot load tach ({last}); "
            f"install tach there: {python} -m pip install tach",
            2,
        )
