"""A virtual environment with tach in it as users have it: installed, not a link to sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "benchmarks" / "programs"
CONSTRAINTS = ROOT / "benchmarks" / "peers.txt"
SOURCES = ("setup.py", "pyproject.toml", "README.md", "MANIFEST.in", "LICENSE", "bin", "tach")
OTHERS = ("eventlet", "flask", "gevent", "gunicorn")  # what the programs need
LAST_SENDERS = 20.0  # seconds for senders to end, after which runs that are left are removed
PIP_INSTALL = ("-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check")


class Scratch:
    """A temporary directory with the virtual environment; a context manager."""

    peers = True  # whether to measure other tools too

    def __enter__(self) -> Scratch:
        self.directory = Path(tempfile.mkdtemp(prefix="tach-bench-"))
        self.run_dir = self.directory / "run"
        self.bin = self.directory / "venv" / "bin"
        self.python = str(self.bin / "python")
        self.tach = str(self.bin / "tach")
        try:
            self._install()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        give_up = time.monotonic() + LAST_SENDERS
        while _holds_runs(self.run_dir) and time.monotonic() < give_up:
            time.sleep(0.05)
        shutil.rmtree(self.directory)

    def rounds(self, number: int) -> int:
        """How many rounds to measure, where `number` are enough for a good figure."""
        return number

    def seconds(self, number: float) -> float:
        """For how long to measure, where so many seconds are enough for a good figure."""
        return number

    def _install(self) -> None:
        project = self.directory / "project"
        project.mkdir()
        for name in SOURCES:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, project / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, project)
        subprocess.run([sys.executable, "-m", "venv", self.bin.parent], check=True)
        wanted = (f"{project}[amqp]", *OTHERS)
        pip = (self.python, *PIP_INSTALL, "--constraint", str(CONSTRAINTS))
        subprocess.run([*pip, *wanted], check=True)

    def config(self, name: str, text: str) -> str:
        """The path of a configuration with that text, old enough to be kept compiled."""
        file = self.directory / name
        file.write_text(text)
        old = time.time() - 60
        os.utime(file, (old, old))
        return str(file)

    def variables(self) -> dict[str, str]:
        """The environment variables of what is measured."""
        return {**clean_variables(self.bin), "TACH_RUN_DIR": str(self.run_dir)}

    def run(
        self,
        *command: str,
        variables: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> str:
        """What the command prints, run among the programs; SubprocessError if it fails."""
        options = {"check": True, "stdout": subprocess.PIPE, "timeout": timeout}
        done = subprocess.run(command, **options, **self._options(variables))
        return str(done.stdout)

    def start(
        self, *command: str, variables: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """The command running among the programs, with pipes to its input and from its output."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen(command, **{**pipes, **self._options(variables), **options})

    def _options(self, variables: Mapping[str, str] | None) -> dict[str, Any]:
        return {"cwd": PROGRAMS, "env": variables or self.variables(), "text": True}


class Here(Scratch):
    """The environment that this very process runs in, and few rounds: to try a benchmark out."""

    peers = False

    def rounds(self, number: int) -> int:
        return min(number, 2)

    def seconds(self, number: float) -> float:
        return number / 2

    def _install(self) -> None:
        self.bin = Path(sys.executable).parent
        self.python = sys.executable
        self.tach = str(self.bin / "tach")


def _holds_runs(run_dir: Path) -> bool:
    return run_dir.is_dir() and any(run_dir.iterdir())


def clean_variables(commands: Path) -> dict[str, str]:
    """The environment variables of a program that finds commands there first."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "TACH_", "VIRTUAL_ENV"))
    }
    return {**kept, "PATH": os.pathsep.join([str(commands), os.environ.get("PATH", os.defpath)])}
