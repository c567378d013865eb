"""Where a suite is run: its source distribution, and a virtual environment with it and tach."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import outcomes
import yaml
from environment import HOME, PIP_INSTALL, ROOT, Environment, run
from suites import HERE

if TYPE_CHECKING:
    from pathlib import Path

    from pythons import Python
    from suites import Suite

CONSTRAINTS = HERE / "constraints.txt"
METRICS = ["timing", "count", "exceptions", "inflight"]
NAMES = ("*", "_*", "*.*", "*._*", "_*.*", "_*._*", "*.*.*")  # private ones only where asked for
OPTIONS = ("--rootdir=.", "--continue-on-collection-errors", "-p", "no:cacheprovider")
LONGEST = 900.0
_WHICH = """
from tach.agent.patching import Probes, compiled
from wrapt import ObjectProxy
print(Probes(ObjectProxy, compiled()).implementation)
"""


class Workshop:
    """Runs the tests of `suite` on `python`, all below .venv/conformance/.

    With the compiled probe where there is one, unless `pure` ones are wanted.
    """

    def __init__(self, suite: Suite, python: Python, pure: bool) -> None:
        self.suite = suite
        self._pure = pure
        self._environment = Environment(f"conformance/{suite.name}-{python.minor}", python)
        self._python = python
        self._home = self._environment.directory
        self._pip = [str(self._home / "bin" / "python"), "-m", "pip"]
        self._source = self._home / "source"
        self._calls = self._home / "calls.json"
        self.log = str(self._home / "tach.log")

    def prepare(self) -> None:
        """Make the environment, unless that is done. Raises SetupError."""
        Environment(self._python.minor, self._python).prepare(set())  # compiles the probe
        stamp = self._home / "prepared.json"
        content = (self.suite.version, self.suite.sha256, self.suite.requires)
        wanted = json.dumps([self._python.executable, str(ROOT), _digest(), *content])
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return
        print(f"setting up {self._home.relative_to(ROOT)}", flush=True)
        run([self._python.executable, "-m", "venv", "--clear", str(self._home)])
        self._download()
        constraints = ("--constraint", str(CONSTRAINTS))
        requires = ("pytest", "pytest-reportlog", *self.suite.requires)
        self._install(*constraints, str(self._archive()), *requires)
        with open(HOME / "lock", "w") as lock:  # all set-ups share tach's own build directory
            fcntl.flock(lock, fcntl.LOCK_EX)
            # lest the probe be compiled again, beneath the programs that use it
            self._install(*constraints, "--editable", str(ROOT), TACH_PURE="1")
        stamp.write_text(wanted, encoding="utf-8")

    def _download(self) -> None:
        name, version = self.suite.name, self.suite.version
        wanted = self._home / "wanted.txt"
        wanted.write_text(f"{name}=={version} --hash=sha256:{self.suite.sha256}\n")
        options = ("--quiet", "--no-deps", "--no-binary", name, "--dest", str(self._home / "sdist"))
        run([*self._pip, "download", *options, "--requirement", str(wanted)], self._variables())

    def _archive(self) -> Path:
        (found,) = (self._home / "sdist").iterdir()
        return found

    def _install(self, *what: str, **variables: str) -> None:
        run([*self._pip, *PIP_INSTALL, *what], {**self._variables(), **variables})

    def _variables(self) -> dict[str, str]:
        variables = {**self._environment.variables(), "TACH_PURE": "1"}
        if not self._pure:
            del variables["TACH_PURE"]
        return variables

    def implementation(self) -> str:
        """Which probes a process there uses: "compiled" or "pure"."""
        command = [self._pip[0], "-c", _WHICH]
        return subprocess.check_output(command, env=self._variables(), text=True).strip()

    def without_tach(self, title: str) -> outcomes.Outcomes:
        """The outcomes of a run."""
        return self._test(title)

    def under_tach(self, title: str) -> outcomes.Outcomes:
        """The outcomes of a run with every function measured."""
        config = self._home / "tach.yaml"
        self._calls.unlink(missing_ok=True)
        wanted = yaml.safe_dump(self._config(self._calls), sort_keys=False)
        config.write_text(wanted, encoding="utf-8")
        return self._test(title, "tach", str(config))

    def calls(self) -> int:
        """How many calls were measured in the last run under tach; 0 if it left no report."""
        if not self._calls.exists():
            return 0
        lines = self._calls.read_text(encoding="utf-8").splitlines()
        return sum(report.get("calls") or 0 for report in map(json.loads, lines))

    def _config(self, calls: Path) -> dict[str, object]:
        return {
            "notifiers": {"calls": {"type": "console", "format": "json", "file": str(calls)}},
            "defaults": {"metrics": METRICS},
            "targets": self._targets(),
        }

    def _targets(self) -> dict[str, object]:
        """Every function of the package; special methods are what a wildcard never takes."""
        modules = [each for name in self.suite.packages for each in (name, f"{name}.*")]
        functions = [f"{module}:{names}" for module in modules for names in NAMES]
        return {f"{number}": {"function": each} for number, each in enumerate(functions)}

    def _unpack(self) -> Path:
        """The directory to run in: anew, since tests leave things behind."""
        shutil.rmtree(self._source, ignore_errors=True)
        shutil.unpack_archive(self._archive(), self._source)
        (found,) = self._source.iterdir()
        # lest pytest, where the package has no options for it, take those of tach
        (self._source / "pytest.ini").write_text("[pytest]\n")
        return found

    def _test(self, title: str, *launcher: str) -> outcomes.Outcomes:
        log = self._home / f"{title}.jsonl"
        log.unlink(missing_ok=True)
        pytest = ("python", "-m", "pytest", *OPTIONS, f"--report-log={log}")
        command = [*launcher, *pytest, *self.suite.arguments]
        variables = {**self._variables(), **self.suite.environment, "PYTHONHASHSEED": "0"}
        with open(self._home / f"{title}.log", "wb") as output:
            process = subprocess.Popen(
                command,
                cwd=self._unpack(),
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(LONGEST)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if not log.exists():
            return {}
        with open(log, encoding="utf-8") as lines:
            return outcomes.read(lines)


def _digest() -> str:
    content = CONSTRAINTS.read_bytes() + (ROOT / "setup.py").read_bytes()
    return hashlib.sha256(content).hexdigest()
