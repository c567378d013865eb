"""A virtual environment with tach in it as users have it: installed, not a link to sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "benchmarks" / "programs"
SOURCES = ("setup.py", "pyproject.toml", "README.md", "MANIFEST.in", "LICENSE", "tach")
PIP_INSTALL = ("-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check")


class Scratch:
    """A temporary directory with the virtual environment; a context manager."""

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
        shutil.rmtree(self.directory)

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
        # The command that an older pip writes imports re first, which takes some 10 ms.
        subprocess.run([self.python, *PIP_INSTALL, "--upgrade", "pip"], check=True)
        subprocess.run([self.python, *PIP_INSTALL, f"{project}[bench]"], check=True)

    def config(self, name: str, text: str) -> str:
        """The path of a configuration with that text, old enough to be kept compiled."""
        file = self.directory / name
        file.write_text(text)
        old = time.time() - 60
        os.utime(file, (old, old))
        return str(file)

    def variables(self) -> dict[str, str]:
        """The environment variables of what is measured."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        path = os.pathsep.join([str(self.bin), os.environ.get("PATH", os.defpath)])
        return {**kept, "PATH": path, "TACH_RUN_DIR": str(self.run_dir)}

    def run(self, *command: str) -> str:
        """What the command prints, run among the programs; CalledProcessError if it fails."""
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, **self._options())
        return str(done.stdout)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """The command running among the programs, with pipes to its input and from its output."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen(command, **pipes, **self._options())

    def _options(self) -> dict[str, Any]:
        return {"cwd": PROGRAMS, "env": self.variables(), "text": True}
