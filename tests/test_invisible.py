"""A program under tach finds the world as it is without tach."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from processes import Processes
from reports import Report

PYTHON = sys.executable
ROOT = Path(__file__).parent.parent
LOOK = Path(__file__).parent / "programs" / "look.py"
NOT_BEFORE_THE_PROGRAM = (
    "asyncio", "logging", "queue", "re", "socket", "ssl", "subprocess", "threading", "typing",
    "wrapt", "yaml",
)  # fmt: skip
AS_ROOT = os.geteuid() == 0
# all of the standard library that tach brings along; the last one only with -X dev of Python 3.10
OF_TACH = {"__future__", "atexit", "fcntl", "encodings.ascii"}
if sys.version_info < (3, 12):
    OF_TACH.add("_xxsubinterpreters")
IMPORTS = "import targets; "

Run = Callable[..., "Ended"]


class Ended(NamedTuple):
    """How a program ended, and what it said."""

    pid: int
    status: int
    stdout: bytes
    stderr: bytes


@pytest.fixture
def report(tmp_path: Path, tach_run_dir: Path) -> Report:
    """The report of the runs of this test."""
    return Report(tmp_path / "report.json", tach_run_dir)


@pytest.fixture
def place(tmp_path: Path, programs: Path) -> Path:
    """The directory that the programs run in, with look.py and targets.py in it."""
    place = tmp_path / "place"
    place.mkdir()
    for name in ("look.py", "targets.py"):
        shutil.copy(programs / name, place)
    return place


@pytest.fixture
def run(processes: Processes, environment: dict[str, str], place: Path) -> Run:
    """Run a command to its end in `place`, with `env` added to its environment."""

    def run(
        command: list[str], input: bytes = b"", env: Mapping[str, str] | None = None, **more: Any
    ) -> Ended:
        options = {"cwd": place, "env": {**environment, **(env or {})}, "text": False, **more}
        process = processes.start([*map(str, command)], stdin=subprocess.PIPE, **options)
        stdout, stderr = process.communicate(input, timeout=60)
        return Ended(process.pid, process.returncode, stdout, stderr)

    return run


@pytest.fixture
def both(run: Run, report: Report, tmp_path: Path) -> Callable[..., tuple[Ended, Ended]]:
    """Run a command without tach and with it; returns how each ended.

    `bare` is the command that is the same without tach, where it is not the very same.
    """
    config = tmp_path / "tach.yaml"

    def both(
        command: list[str], bare: list[str] | None = None, **options: Any
    ) -> tuple[Ended, Ended]:
        config.write_text(repr(report.config(function="targets:function")))
        under_tach = [PYTHON, "-m", "tach", str(config), *command]
        return run(bare or command, **options), run(under_tach, **options)

    return both


# What the program sees at its first line


def executable(file: Path, text: str) -> None:
    """Make a program of the text."""
    file.write_text(text)
    file.chmod(0o755)


def prepare(place: Path) -> None:
    """Put look.py there in each form that Python runs."""
    source = LOOK.read_text()
    executable(place / "look", f"#!{PYTHON}\n{source}")
    (place / "package").mkdir()
    (place / "package" / "__init__.py").touch()
    shutil.copy(LOOK, place / "package" / "__main__.py")
    (place / "bin").mkdir()
    shutil.copy(LOOK, place / "bin")
    executable(place / "bin" / "console-look", f"#!{PYTHON}\nfrom look import main\n")
    executable(place / "bin" / "env-look", f"#!/usr/bin/env {Path(PYTHON).name}\n{source}")
    with zipfile.ZipFile(place / "look.zip", "w") as archive:
        archive.writestr("__main__.py", source)


STARTS: dict[str, tuple[list[str], list[str] | None]] = {
    "script": ([PYTHON, "look.py", "a", "--b"], None),
    "script with options": ([PYTHON, "-bb", "-u", "-X", "dev", "-W", "error", "look.py"], None),
    "not executable": (["./look.py", "a", "-m"], [PYTHON, "./look.py", "a", "-m"]),
    "executable": (["./look", "a"], None),
    "on PATH": (["env-look", "-c"], None),
    "console script": (["console-look", "--help"], None),
    "module": (["-m", "look", "a"], [PYTHON, "-m", "look", "a"]),
    "package": (["-m", "package", "-x"], [PYTHON, "-m", "package", "-x"]),
    "directory": ([PYTHON, "package", "a"], None),
    "zip": ([PYTHON, "look.zip", "a"], None),
    "code": (["-c", LOOK.read_text(), "-a"], [PYTHON, "-c", LOOK.read_text(), "-a"]),
    "standard input": ([PYTHON, "-", "a"], None),
    "through a shell": (["sh", "-c", 'exec "$0" look.py', PYTHON], None),
}


@pytest.mark.parametrize("start", STARTS)
def test_the_program_sees_no_difference(
    start: str, both: Callable[..., Any], place: Path, environment: dict[str, str]
) -> None:
    """However it is started, a program finds itself and its process as without tach.

    What is new: PYTHONPATH in the environment, tach's own modules, three of the standard library,
    one finder; and for root, who may yet become another user, three open files with high numbers.
    """
    prepare(place)
    environment["PATH"] = f"{place}/bin:{environment['PATH']}"
    command, bare = STARTS[start]

    without, with_tach = both(command, bare, input=LOOK.read_bytes())

    assert (with_tach.status, with_tach.stderr) == (without.status, without.stderr) == (0, b"")
    old, new = seen(without), seen(with_tach)
    assert (old.pop("pid"), new.pop("pid")) == (without.pid, with_tach.pid)
    assert_new_modules(old.pop("modules"), new.pop("modules"))
    assert (
        new["environment"].pop(b"PYTHONPATH").startswith(os.fsencode(environment["TACH_RUN_DIR"]))
    )
    assert new["meta_path"].pop(0) == "TargetFinder"
    own_files = {number: new["descriptors"].pop(number) for number in high(new["descriptors"])}
    assert len(own_files) == (3 if AS_ROOT else 0)
    assert all(each.startswith(environment["TACH_RUN_DIR"]) for each in own_files.values())
    for each in (old, new):
        each["path_cached"] = [p for p in each["path_cached"] if not p.startswith(f"{ROOT}/tach")]
        each["descriptors"] = {
            number: "pipe" if "pipe:" in target else target
            for number, target in each["descriptors"].items()
        }
    assert new == old


def seen(ended: Ended) -> dict[str, Any]:
    """What look.py printed."""
    return ast.literal_eval(ended.stdout.decode())  # type: ignore[no-any-return]


def high(descriptors: dict[int, str]) -> list[int]:
    """The numbers that a program does not reach by opening files."""
    return [number for number in descriptors if number >= 200]


def assert_new_modules(old: list[str], new: list[str]) -> None:
    """Nothing that a program could want to patch first is new, and little at all."""
    added = set(new) - set(old)
    assert set(old) <= set(new)
    assert not added & {*NOT_BEFORE_THE_PROGRAM}
    assert len(added) <= 15
    assert {name for name in added if name.partition(".")[0] != "tach"} <= OF_TACH


PATHS: dict[str, dict[str, str]] = {
    "of its own": {"PYTHONPATH": "one:two"},
    "with the current directory": {"PYTHONPATH": "one::two:"},
    "empty": {"PYTHONPATH": ""},
    "PYTHONSAFEPATH": {"PYTHONSAFEPATH": "1"},
    "PYTHONDONTWRITEBYTECODE": {"PYTHONDONTWRITEBYTECODE": "1"},
    "PYTHONWARNINGS": {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"},
}


@pytest.mark.parametrize("case", PATHS)
def test_the_user_s_own_variables_of_python_hold(case: str, both: Callable[..., Any]) -> None:
    """sys.path, flags and PYTHONPATH are what the user's variables say; tach's directory apart."""
    old, new = map(seen, both([PYTHON, "look.py"], env=PATHS[case]))

    bootstrap, _, rest = new["environment"][b"PYTHONPATH"].partition(b":")
    assert bootstrap.endswith(b"/bootstrap")
    assert rest == old["environment"].get(b"PYTHONPATH", b"")
    for name in ("path", "flags", "warnoptions", "writes_bytecode"):
        assert new[name] == old[name]


def test_off_means_off(both: Callable[..., Any], report: Report, monkeypatch: Any) -> None:
    """Without targets the program differs in nothing at all."""
    monkeypatch.setattr(Report, "config", lambda *_, **__: {"targets": {}})

    old, new = map(seen, both([PYTHON, "look.py"]))

    for each in (old, new):
        del each["pid"], each["descriptors"][0], each["descriptors"][1], each["descriptors"][2]
    assert new == old


# What goes in and out


def test_bytes_pass_through(both: Callable[..., Any]) -> None:
    """Standard input, output and error carry every byte as it is."""
    code = (
        "import sys; data = sys.stdin.buffer.read();"
        "sys.stdout.buffer.write(data[::-1]); sys.stderr.buffer.write(data[1:])"
    )
    data = bytes(range(256)) * 1000

    without, with_tach = both([PYTHON, "-c", code], input=data)

    assert with_tach[1:] == without[1:] == (0, data[::-1], data[1:])


ENDS = {
    "normal": "pass",
    "exit with a number": "raise SystemExit(3)",
    "exit with a text": "raise SystemExit('so it ends')",
    "uncaught": "def f(): raise ValueError('no')\nf()",
    "syntax error": "def",
    "_exit": "import os; os._exit(4)",
    "SIGTERM": "import os; os.kill(os.getpid(), 15)",
    "SIGKILL": "import os; os.kill(os.getpid(), 9)",
    "SIGINT": "import os; os.kill(os.getpid(), 2)",
    "SIGPIPE": "import os, signal; signal.signal(13, signal.SIG_DFL); os.kill(os.getpid(), 13)",
    "at exit": "import atexit; atexit.register(print, 'over'); raise SystemExit(5)",
    "not closed": "import warnings; warnings.simplefilter('always'); f = open('/dev/null'); del f",
    "children": "import os\ntry: os.wait()\nexcept ChildProcessError: print('none')",
    "threads": "import threading; print([each.name for each in threading.enumerate()])",
}


@pytest.mark.parametrize("how", ENDS)
def test_the_end_is_the_program_s(how: str, both: Callable[..., Any]) -> None:
    """Exit status, signal, traceback and last words are the same, with measured calls before."""
    calls = "import targets\nfor _ in range(10): targets.function()\n"

    without, with_tach = both([PYTHON, "-c", calls + ENDS[how]])

    assert with_tach[1:3] == without[1:3]
    assert addresses_out(with_tach.stderr) == addresses_out(without.stderr)


def addresses_out(text: bytes) -> list[bytes]:
    """The lines, without what differs from process to process."""
    return [line for line in text.splitlines() if b" at 0x" not in line]


def test_warnings_are_errors(both: Callable[..., Any]) -> None:
    """Under -W error and -X dev, patching and recording raise nothing and leak nothing."""
    code = IMPORTS + "targets.function(); targets.fails.__doc__"

    without, with_tach = both([PYTHON, "-W", "error", "-X", "dev", "-c", code])

    assert with_tach[1:] == without[1:] == (0, b"", b"")


# Its own customisation of Python


CUSTOMISATIONS = {
    "good": "sys.customised = True",
    "fails": "raise ValueError('not today')",
    "imports what is not there": "import nowhere_at_all",
}


@pytest.mark.parametrize("kind", CUSTOMISATIONS)
def test_the_user_s_sitecustomize_runs(kind: str, both: Callable[..., Any], place: Path) -> None:
    """The program's own sitecustomize is found behind tach's; its errors look as ever."""
    (place / "own").mkdir()
    (place / "own" / "sitecustomize.py").write_text(
        f"import sys\nif sys.orig_argv[1] == '-c': {CUSTOMISATIONS[kind]}"  # not in tach itself
    )
    code = "import sys; print(sys.customised, sys.modules['sitecustomize'].__file__)"

    without, with_tach = both([PYTHON, "-c", code], env={"PYTHONPATH": str(place / "own")})

    assert with_tach[1:] == without[1:]
    assert (b"True" in without.stdout) == (kind == "good")


# Processes beside it


def test_the_output_is_the_program_s_alone(run: Run, report: Report, tmp_path: Path) -> None:
    """A shell's $(...) gets what the program prints, while the table goes to standard error."""
    (tmp_path / "c.yaml").write_text("targets: {function: targets:function}")
    script = """x=$("$0" -m tach "$1" sh -c 'python -c "$2"' sh "" "$2"); test "$x" = 1"""
    code = IMPORTS + "targets.function(); print(1)"

    ended = run(["sh", "-c", script, PYTHON, tmp_path / "c.yaml", code])

    assert (ended.status, ended.stdout) == (0, b"")
    assert b"function" in ended.stderr


def test_a_pipe_ends_with_the_program(run: Run, tmp_path: Path) -> None:
    """Whoever reads the program's output and errors sees their end when the program ends."""
    (tmp_path / "c.yaml").write_text("targets: {function: targets:function}")
    script = '"$0" -m tach "$1" "$0" -c "print(1)" 2>&1 | cat'

    assert b"1" in run(["sh", "-c", script, PYTHON, tmp_path / "c.yaml"]).stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "ignored"),
    [("SIGINT", False), ("SIGINT", True), ("SIGHUP", True), ("SIGPIPE", False)],
)
def test_signals_are_inherited(name: str, ignored: bool, both: Callable[..., Any]) -> None:
    """A signal is ignored in a program that is no Python only if tach's parent ignores it."""
    number = getattr(signal, name)
    disposition = signal.SIG_IGN if ignored else signal.SIG_DFL

    without, with_tach = both(
        ["grep", "^SigIgn", "/proc/self/status"],
        preexec_fn=lambda: signal.signal(number, disposition),
    )

    assert with_tach.stdout == without.stdout


def test_two_tachs_are_one(run: Run, report: Report, tmp_path: Path, environment: Any) -> None:
    """tach under tach counts each call once, for the inner one."""
    inner, outer = (tmp_path / name for name in ("inner.yaml", "outer.yaml"))
    inner.write_text(repr(report.config(inner="targets:function")))
    outer.write_text(repr(report.config(outer="targets:function")))
    tach = [PYTHON, "-m", "tach"]

    ended = run([*tach, outer, *tach, inner, PYTHON, "-c", IMPORTS + "targets.function()"])

    assert ended.status == 0
    assert report.calls() == {"inner": 1}


def test_two_runs_do_not_mix(
    processes: Processes, report: Report, tmp_path: Path, environment: Any, place: Path
) -> None:
    """Two runs at the same time, of the same program, count each for itself."""
    code = IMPORTS + "import sys; [targets.function() for _ in range(int(sys.argv[1]))]; input()"
    started = []
    for number in (1, 2):
        config = tmp_path / f"{number}.yaml"
        config.write_text(repr(report.config(**{f"run{number}": "targets:function"})))
        command = [PYTHON, "-m", "tach", str(config), PYTHON, "-c", code, str(number * 10)]
        started.append(processes.start(command, env=environment, cwd=place, stdin=subprocess.PIPE))
    for process in started:
        process.communicate("\n", timeout=60)

    assert report.calls() == {"run1": 10, "run2": 20}
