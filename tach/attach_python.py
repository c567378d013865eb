"""Finds out which Python a process runs, and where in its memory that can be reached."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from typing import NamedTuple

from tach import interpreter
from tach.attach_process import OLDEST, CannotAttach, Process
from tach.elf import ElfError, ElfFile

CALLED = frozenset({"Py_AddPendingCall", "PyRun_SimpleString"})
_VERSION = "Py_Version"  # since Python 3.11
_SINCE_3_10 = "PyModule_AddObjectRef"
_FREE_THREADED = "_Py_MergeZeroLocalRefcount"
_WANTED = CALLED | {_VERSION, _SINCE_3_10, _FREE_THREADED}

Version = tuple[int, int]


class Python(NamedTuple):
    """What a process runs: its version, and where functions of it are in the process's memory."""

    version: Version
    is_free_threaded: bool
    addresses: dict[str, int]

    @property
    def is_own(self) -> bool:
        """Whether extension modules of the Python that runs here are for that one too."""
        own = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
        return (self.version, self.is_free_threaded) == (sys.version_info[:2], own)


def look(process: Process) -> Python:
    """The Python that the process runs. Raises CannotAttach if it is none that can be measured."""
    executable = process.executable()
    for path, start in _candidates(process, executable):
        found = _in_file(process, path, start)
        if found is not None:
            _check(process, executable, found)
            return found
    raise CannotAttach(
        f"process {process.pid} runs {executable}, which is no Python: give the PID of the Python "
        f"process itself, such as a child of it"
    )


def _candidates(process: Process, executable: str) -> Iterator[tuple[str, int]]:
    for path, start in process.mapped().items():
        if path == executable or "libpython" in os.path.basename(path):
            yield process.file_of(path), start


def _in_file(process: Process, path: str, start: int) -> Python | None:
    try:
        file = ElfFile(path)
    except ElfError:
        return None
    except OSError as error:
        raise CannotAttach(
            f"process {process.pid} runs {path}, which cannot be read: {error.strerror}"
        ) from None
    try:
        symbols = file.symbols(_WANTED)
        if not symbols.keys() >= CALLED:
            return None
        if _VERSION in symbols:
            number = file.number(symbols[_VERSION])
            version = (number >> 24 & 255, number >> 16 & 255)
        else:
            version = OLDEST if _SINCE_3_10 in symbols else (3, 9)
        move = start - file.first_address()
        addresses = {name: symbols[name] + move for name in CALLED}
        return Python(version, _FREE_THREADED in symbols, addresses)
    finally:
        file.close()


def _check(process: Process, executable: str, found: Python) -> None:
    which = f"process {process.pid} runs"
    if found.version < OLDEST:
        raise CannotAttach(f"{which} a Python before 3.10, which tach needs: upgrade it")
    if found.is_free_threaded:
        raise CannotAttach(
            f"{which} a free-threaded Python, in which attaching has not been tried: start it "
            f"under tach (tach CONFIG PROGRAM)"
        )
    if not interpreter.is_python(executable):
        raise CannotAttach(
            f"{which} {executable}, which has Python in it but is no interpreter: attaching to "
            f"such has not been tried; start it under tach (tach CONFIG PROGRAM)"
        )


def address_of(process: Process, library: str, function: str) -> int:
    """Where the function of the library that the process has loaded is. Raises CannotAttach."""
    for path, start in process.mapped().items():
        name = os.path.basename(path)
        if name.startswith((f"{library}.", f"{library}-", "ld-musl")):
            file = ElfFile(process.file_of(path))
            try:
                found = file.symbols(frozenset({function})).get(function)
                if found is not None:
                    return found + start - file.first_address()
            finally:
                file.close()
    raise CannotAttach(
        f"process {process.pid} has no {function} of a {library}: it cannot be attached to"
    )


def command_of(process: Process) -> str:
    """The Python of the process as it was started, such as that of a virtual environment.

    Only the file where it cannot be told by what name it was called.
    """
    executable = process.executable()
    first = process.arguments[0] if process.arguments else ""
    environment = process.environment()
    if "/" in first:
        candidates = [os.path.join(os.readlink(f"/proc/{process.pid}/cwd"), first)]
    else:
        path = environment.get("PATH", os.defpath).split(os.pathsep)
        candidates = [os.path.join(each, first) for each in path if first]
    if "VIRTUAL_ENV" in environment:
        candidates.append(os.path.join(environment["VIRTUAL_ENV"], "bin", "python"))
    for each in candidates:
        if os.path.realpath(each) == executable:
            return os.path.normpath(each)
    return executable
