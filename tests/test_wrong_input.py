"""What is wrong with the input is said in plain lines, before the program starts if it can be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import Processes
from reports import Report

PYTHON = sys.executable
MARK = "open('started', 'w')"

Tach = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def report(tmp_path: Path, tach_run_dir: Path) -> Report:
    """The report of the runs of this test."""
    return Report(tmp_path / "report.json", tach_run_dir)


@pytest.fixture
def started(
    processes: Processes, environment: dict[str, str], tmp_path: Path
) -> Callable[[str | Path], tuple[int, list[str], bool]]:
    """Run a program with this configuration: the status, the lines of stderr, whether it ran."""

    def run(config: str | Path, **options: Any) -> tuple[int, list[str], bool]:
        command = [PYTHON, "-m", "tach", str(config), PYTHON, "-c", MARK]
        process = processes.start(command, cwd=tmp_path, env=environment, **options)
        stdout, stderr = process.communicate(timeout=60)
        assert stdout == ""
        return process.returncode, stderr.splitlines(), (tmp_path / "started").exists()

    return run


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20)
)
EVERYTHING_UNKNOWN = """\
intervall: 5
targets:
  a: {function: "targets:function", metrics: [timming], notifiers: [statds], foo: 1}
  b: nocolon
notifiers:
  statsd: {type: statd}
  out: {type: statsd, prot: 1}
defaults: {metric: [count]}
target: {}
"""
# the configuration -> the lines, without the name of the file
WRONG: dict[str, tuple[bytes | str, list[str]]] = {
    "empty": ("", [" is empty; see tach.yaml.example for what a configuration looks like"]),
    "binary": (b"\x7fELF\xff\xfe", ["1: byte 0xff is not UTF-8; save the file as UTF-8 text"]),
    "rubbish": (
        bytes(range(1, 128)) * 99,
        ["1: the character '\\x01' cannot stand in YAML; remove it"],
    ),
    "not a mapping": ("5", ["1: expected a mapping, got '5'; see tach.yaml.example "]),
    "half a list": ("targets: [\n", ["2: YAML syntax: "]),
    "tabs": ("targets:\n\ta: b:c", ["2: YAML syntax: "]),
    "bomb": (BOMB, ["6: YAML syntax: more than 100000 values, with the aliases written out; "]),
    "abyss": ("[" * 100_000, ["1: YAML syntax: nested more than 32 levels deep, "]),
    "in itself": ("a: &a {b: *a}", ["1: YAML syntax: the alias *a stands inside what it names; "]),
    "huge": ("a: " + "x" * 2_000_000, [" is larger than 1 MiB; is it a configuration of tach?"]),
    "code": (
        "targets: {a: !!python/object/apply:os.system ['touch started']}",
        ["1: targets.a: expected a function such as package.module:Class.method or a mapping, "],
    ),
    "duplicate keys": (
        "targets:\n  a: targets:function\n  a: targets:fails\n",
        ["3: targets: duplicate key 'a'; the first one is on line 2, remove one of them"],
    ),
    "not set": ("targets: {a: '${NOWHERE_SET}:f'}", ["1: targets.a.function: the environment "]),
    "unknown everything": (
        EVERYTHING_UNKNOWN,
        [
            "1: top level: unknown key 'intervall'; did you mean 'interval'?",
            "3: targets.a: unknown key 'foo'; known: ",
            "3: targets.a: unknown metric 'timming'; did you mean 'timing'?",
            "3: targets.a: unknown notifier 'statds'; did you mean 'statsd'?",
            "4: targets.b: malformed function 'nocolon'; write it as package.module:Class.method",
            "6: notifiers.statsd: unknown notifier type 'statd'; did you mean 'statsd'?",
            "7: notifiers.out: unknown key 'prot'; did you mean 'port'?",
            "8: defaults: unknown key 'metric'; did you mean 'metrics'?",
            "9: top level: unknown key 'target'; did you mean 'targets'?",
        ],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_configuration_stops_it_all(case: str, started: Any, tmp_path: Path) -> None:
    """Status 2, a line for each error with file and line, no traceback, the program not started."""
    content, expected = WRONG[case]
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "tach.yaml").write_bytes(content)

    status, lines, ran = started("tach.yaml")

    assert (status, ran) == (2, False)
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(f"tach.yaml:{start}")
        assert line.isprintable()


NOT_FILES = {
    "missing.yaml": "no such file; see tach.yaml.example for what a configuration looks like",
    ".": "is a directory; name the YAML file in it",
    "loop": "cannot be read: Too many levels of symbolic links; check its path and permissions",
    "/dev/zero": "is larger than 1 MiB; is it a configuration of tach?",
    "/dev/null": "is empty; see tach.yaml.example for what a configuration looks like",
    "x" * 5000: "cannot be read: File name too long; check its path and permissions",
}


@pytest.mark.parametrize("path", NOT_FILES, ids=lambda path: path[:20])
def test_what_is_no_configuration_file(path: str, started: Any, tmp_path: Path) -> None:
    """The same where there is no file to be read."""
    (tmp_path / "loop").symlink_to("loop")

    assert started(path) == (2, [f"{path}: {NOT_FILES[path]}"], False)


def test_a_configuration_in_a_pipe(started: Any, tmp_path: Path) -> None:
    """A configuration can come out of a pipe, as from a shell's <(...)."""
    read, write = os.pipe()
    os.write(write, b"targets: {}")
    os.close(write)

    assert started(f"/dev/fd/{read}", pass_fds=[read]) == (0, [], True)

    os.close(read)


def test_check_says_the_same(processes: Processes, environment: Any, tmp_path: Path) -> None:
    """`tach check` finds what a run would find, with the same status."""
    (tmp_path / "tach.yaml").write_text(EVERYTHING_UNKNOWN)
    command = [PYTHON, "-m", "tach", "check", "tach.yaml"]
    process = processes.start(command, cwd=tmp_path, env=environment)

    stdout, stderr = process.communicate(timeout=60)

    assert (process.returncode, stdout) == (2, "")
    assert len(stderr.splitlines()) == len(WRONG["unknown everything"][1])


# function -> state and reason, of a program that calls targets.function and exits with 3
UNMEASURED = {
    "targets:functoin": ("missing", "no 'functoin' in module targets; did you mean 'function'?"),
    "targets:Base.methd": ("missing", "no 'methd' in class Base; did you mean 'method'?"),
    "targets:Bse.method": ("missing", "no 'Bse' in module targets; did you mean 'Base'?"),
    "targets:nothing_like_it": ("missing", "no 'nothing_like_it' in module targets"),
    "targets:Base": ("refused", "it is a class; name a method of it, such as Base.__init__"),
    "targets:builtins": ("refused", "it is a module, which cannot be called"),
    "targets:recursive.inner": ("refused", "'recursive' is of type builtins.function, not a class"),
    "tragets:function": (
        "waiting",
        "module 'tragets' was never imported; did you mean 'targets'?",
    ),
    "nowhere.at.all:function": ("waiting", "module 'nowhere.at.all' was never imported"),
}


def test_what_only_shows_at_run_time(report: Report, run_tach: Tach, environment: Any) -> None:
    """The program runs, its status its own; each target not measured is reported with the reason.

    For a name that is not there the report has the nearest one.
    """
    environment["PYTHONPATH"] = str(Path(__file__).parent / "programs")
    config = report.config(
        right="targets:function", **{f"t{n}": f for n, f in enumerate(UNMEASURED)}
    )
    code = "import targets; targets.function(); raise SystemExit(3)"

    ended = run_tach(config, PYTHON, "-c", code)

    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", "")
    assert report.calls() == {"right": 1}
    assert report.troubles() == []
    found = {
        line["function"]: (line["state"], line["reason"])
        for line in report.lines()
        if "function" in line
    }
    assert found == UNMEASURED
