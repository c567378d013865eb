from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from processes import Processes

PROGRAMS = Path(__file__).parent / "programs"
Config = str | Path | Mapping[str, Any]

# Who starts the tests with nohup, or behind a script's `&`, ignores these for all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
for each in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(each, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _signals_reach_the_test_process() -> Iterator[None]:
    """Who leaves signals blocked fails, not the tests after it, whose processes inherit that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    left = signal.pthread_sigmask(signal.SIG_SETMASK, before) - before
    assert not left, f"left blocked: {left}"


@pytest.fixture
def programs() -> Path:
    """The directory of the small programs that the tests run."""
    return PROGRAMS


@pytest.fixture
def tach_run_dir(tmp_path: Path) -> Path:
    """The TACH_RUN_DIR of the test: whatever lies there after a run is a left-over of it."""
    directory = tmp_path / "run"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def environment(tach_run_dir: Path) -> dict[str, str]:
    """The environment variables of the programs that the test runs; the test may change them."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "TACH_", "COVERAGE_")) or name == "TACH_PURE"
    }
    scripts = os.path.dirname(sys.executable)
    path = os.pathsep.join([scripts, os.environ.get("PATH", os.defpath)])
    return {**kept, "PATH": path, "TACH_RUN_DIR": str(tach_run_dir)}


@pytest.fixture
def processes(environment: dict[str, str]) -> Iterator[Processes]:
    """Starts processes; at the end of the test kills them, and fails if any other outlived them."""
    processes = Processes(f"TACH_RUN_DIR={environment['TACH_RUN_DIR']}")
    yield processes
    left = processes.end()
    assert not left, f"outlived the test: {left}"


@pytest.fixture
def spawn_tach(
    processes: Processes, environment: dict[str, str], tmp_path: Path
) -> Callable[..., subprocess.Popen[str]]:
    """Start `tach [options] config argv...` in tmp_path; returns the process, with text pipes.

    The configuration is a file, the text of one, or the data of one.
    """

    def spawn(
        config: Config,
        *argv: str | Path,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: Path = tmp_path,
        **more: Any,
    ) -> subprocess.Popen[str]:
        file = _config_file(config, tmp_path)
        command = [sys.executable, "-m", "tach", *options, str(file), *map(str, argv)]
        return processes.start(command, env={**environment, **(env or {})}, cwd=cwd, **more)

    return spawn


@pytest.fixture
def run_tach(
    spawn_tach: Callable[..., subprocess.Popen[str]],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `tach [options] config argv...` to its end; as `spawn_tach`, with input and timeout."""

    def run(
        config: Config, *argv: str | Path, input: str = "", timeout: float = 60, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        process = spawn_tach(config, *argv, stdin=subprocess.PIPE, **more)
        stdout, stderr = process.communicate(input, timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    return run


def _config_file(config: Config, directory: Path) -> Path:
    if isinstance(config, Path):
        return config
    file = directory / "tach.yaml"
    file.write_text(config if isinstance(config, str) else yaml.safe_dump(dict(config)))
    return file


@pytest.fixture
def terminal(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., Any]]:
    """Starts a command in a terminal."""
    from terminal import Terminal

    terminals: list[Terminal] = []

    def start(*command: str, columns: int = 120) -> Any:
        terminals.append(Terminal([*command], environment, tmp_path, columns))
        return terminals[-1]

    yield start
    for each in terminals:
        each.close()


@pytest.fixture
def statsd_daemon() -> Iterator[Any]:
    """A real statsd daemon on free ports of 127.0.0.1."""
    from statsd_daemon import StatsdDaemon, require_statsd

    require_statsd()
    with StatsdDaemon() as daemon:
        yield daemon
