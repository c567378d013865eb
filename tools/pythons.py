"""The Python interpreters of this machine that tach supports."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

SUPPORTED = ("3.10", "3.11", "3.12", "3.13", "3.14")

# A virtual environment and a version manager's shim both answer with the interpreter behind them.
_QUESTION = """
import importlib.util, json, sys
print(json.dumps([sys.implementation.name, sys.version_info[:3],
                  getattr(sys, "_base_executable", sys.executable),
                  importlib.util.find_spec("ensurepip") is not None]))
"""


class Python(NamedTuple):
    """An interpreter. `has_pip` says whether it can put pip into a virtual environment itself."""

    version: tuple[int, ...]
    has_pip: bool
    executable: str

    @property
    def minor(self) -> str:
        """Such as 3.12."""
        return ".".join(map(str, self.version[:2]))

    @property
    def full(self) -> str:
        """Such as 3.12.1."""
        return ".".join(map(str, self.version))


def find() -> list[Python]:
    """One interpreter of each supported version that is here, the oldest first."""
    best: dict[str, Python] = {}
    for python in sorted(filter(None, map(ask, candidates())), key=lambda each: each[:2]):
        if python.has_pip or not best.get(python.minor, python).has_pip:
            best[python.minor] = python
    return sorted(best[minor] for minor in SUPPORTED if minor in best)


def candidates() -> list[str]:
    """The files that may be an interpreter of a supported version."""
    names = ["python3", *(f"python{minor}" for minor in SUPPORTED)]
    paths = [directory / name for directory in directories() for name in names]
    return list(dict.fromkeys(str(path) for path in paths if os.access(path, os.X_OK)))


def directories() -> list[Path]:
    """Where interpreters lie: on PATH, in pyenv's versions, in the usual places."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"))
    on_path = [Path(each) for each in os.environ.get("PATH", "").split(os.pathsep) if each]
    usual = [Path("/usr/local/bin"), Path("/usr/bin")]
    try:
        versions = sorted(pyenv.glob("versions/*/bin"))
    except OSError:
        versions = []
    return [*on_path, *versions, *usual]


def ask(executable: str) -> Python | None:
    """What the interpreter says of itself; None if it does not run or is not CPython."""
    try:
        answer = subprocess.run(
            [executable, "-I", "-S", "-c", _QUESTION],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=30,
            check=True,
        ).stdout
        name, version, real, has_pip = json.loads(answer)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Python(tuple(version), has_pip, real) if name == "cpython" else None
