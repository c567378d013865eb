"""Virtual environments with tach in them, below .venv/, one for each name."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pythons import Python

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv"
PIP_INSTALL = ("install", "--quiet", "--no-input", "--disable-pip-version-check", "--prefer-binary")
# What decides about the requirements, the entry points and the compiled parts of an installed tach.
SOURCES = (
    "setup.py",
    "pyproject.toml",
    "tach/_buckets.c",
    "tach/_layout.h",
    "tach/agent/_accounts.h",
    "tach/agent/_aside.h",
    "tach/agent/_clock.h",
    "tach/agent/_hubs.h",
    "tach/agent/_news.h",
    "tach/agent/_probe.c",
    "tach/agent/_series.h",
    "tach/agent/_stand.h",
    "tach/agent/_switches.h",
    "tach/agent/_words.h",
    "tach/metrics/__init__.py",
    "tach/notifiers/__init__.py",
)


class SetupError(Exception):
    """Something cannot be set up here; the text says what to do about it."""


class Environment:
    """A virtual environment of `python`; `constraints` is a file of pinned versions for pip."""

    def __init__(self, name: str, python: Python, constraints: Path | None = None) -> None:
        self.python = python
        self.constraints = constraints
        self.directory = HOME / name
        self._bin = self.directory / "bin"
        self._stamp = self.directory / "installed.json"

    def prepare(self, extras: set[str]) -> None:
        """Make the environment and install tach with `extras` into it, unless that is done."""
        HOME.mkdir(exist_ok=True)
        with alone():
            done = self._done()
            extras = extras | set(done.get("extras", ()))
            wanted = {"made": self._identity(), "of": self._digest(), "extras": sorted(extras)}
            if done == wanted:
                return
            print(f"setting up {self.directory.relative_to(ROOT)}", flush=True)
            if not done:
                self.make()
            self._install(extras)
            self._stamp.write_text(json.dumps(wanted), encoding="utf-8")

    def variables(self) -> dict[str, str]:
        """The environment variables of a command that is to run in it."""
        dropped = ("PYTHONPATH", "PYTHONHOME", "PYENV_VERSION")
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        path = os.pathsep.join([str(self._bin), os.environ.get("PATH", os.defpath)])
        return {**kept, "PATH": path, "VIRTUAL_ENV": str(self.directory)}

    def _done(self) -> dict[str, Any]:
        """What the last set-up has done; nothing if the environment must be made anew."""
        try:
            done = json.loads(self._stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return done if done.get("made") == self._identity() else {}

    def _identity(self) -> list[str]:
        """An environment is of no use any more when its interpreter or itself has moved."""
        return [str(self.directory), self.python.executable, self.python.full]

    def _digest(self) -> str:
        digest = hashlib.sha256()
        files = [ROOT / source for source in SOURCES]
        for file in [*files, self.constraints] if self.constraints else files:
            digest.update(file.read_bytes())
        return digest.hexdigest()

    def make(self) -> None:
        """Make it, empty. Raises SetupError."""
        if not self.python.has_pip and can_install_packages():
            with contextlib.suppress(SetupError):
                apt_install("python3-venv", f"python{self.python.minor}-venv")
        make = [self.python.executable, "-m", "venv", "--clear", str(self.directory)]
        if _succeeds(make):
            return
        if not _succeeds([*make, "--without-pip"]) or not _succeeds(self.pip("--version")):
            raise SetupError(
                f"{self.python.executable} cannot make a virtual environment with pip in it; "
                f"install one of the packages python{self.python.minor}-venv and python3-pip "
                f"(Debian: apt-get install python{self.python.minor}-venv) and try again"
            )

    def _install(self, extras: set[str]) -> None:
        constraints = ["--constraint", str(self.constraints)] if self.constraints else []
        project = f".[{','.join(sorted(extras))}]"
        run(self.pip(*PIP_INSTALL, *constraints, "--editable", project), self.variables())

    def pip(self, *arguments: str) -> list[str]:
        """A command of its own pip, else of that of the interpreter beside which it was made."""
        own = str(self._bin / "python")
        if (self._bin / "pip").exists():
            return [own, "-m", "pip", *arguments]
        return [self.python.executable, "-m", "pip", "--python", own, *arguments]


def apt_install(*packages: str) -> None:
    """Install Debian packages; only for root. Raises SetupError with apt's own words."""
    noninteractive = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "-qq", "update"], noninteractive)
    run(["apt-get", "-qq", "install", "--no-install-recommends", "-y", *packages], noninteractive)


def run(command: list[str], variables: dict[str, str] | None = None) -> None:
    """Run `command` at the top of the project; SetupError with its output if it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SetupError(f"{' '.join(command)} failed:\n{done.stdout}")


def _succeeds(command: list[str]) -> bool:
    try:
        run(command)
    except SetupError:
        return False
    return True


def can_install_packages() -> bool:
    """Whether Debian packages can be installed here without asking anybody."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Set-ups, of other runs of make too, take turns: they share tach's own build directory."""
    with open(HOME / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
