"""Other Pythons than tach's own: refused before the start, or left alone as children."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import wrapt
from measuring import Measuring
from reports import Report

import tach

PYTHON = sys.executable
MARK = "open('started', 'w')"

Tach = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def report(tmp_path: Path, tach_run_dir: Path) -> Report:
    """The report of the runs of this test."""
    return Report(tmp_path / "report.json", tach_run_dir)


@pytest.fixture(autouse=True)
def _environment(environment: dict[str, str], programs: Path, tmp_path: Path) -> None:
    environment["PYTHONPATH"] = str(programs)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")


@pytest.fixture(scope="module")
def bare_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a virtual environment without tach."""
    return make_venv(tmp_path_factory.mktemp("venv") / "bare")


@pytest.fixture(scope="module")
def tach_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of another virtual environment that has tach, and the user's site-packages."""
    directory = tmp_path_factory.mktemp("venv") / "with-tach"
    python = make_venv(directory, "--system-site-packages")
    (packages,) = directory.glob("lib/python*/site-packages")
    own = [Path(module.__file__).parent.parent for module in (tach, wrapt)]
    (packages / "tach.pth").write_text("\n".join(map(str, own)))
    return python


INTERPRETERS = next((n for n in ("_interpreters", "_xxsubinterpreters") if find_spec(n)), None)


@pytest.mark.skipif(INTERPRETERS is None, reason="this Python cannot start sub-interpreters")
@pytest.mark.parametrize("pure", ["0", "1"])
def test_sub_interpreters_run_unmeasured(
    pure: str,
    environment: dict[str, str],
    run_tach: Tach,
    tmp_path: Path,
    tach_run_dir: Path,
) -> None:
    """What is called in them is not counted, that of the main one is to the last call."""
    measuring = Measuring(run_tach, tmp_path, tach_run_dir)
    measuring.write(work="def function(fails=False):\n    return 1 // (not fails)\n")
    inner = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import work; work.function()"
    program = f"""
import {INTERPRETERS} as interpreters, work
for _ in range(3):
    work.function()
    made = interpreters.create()
    print(interpreters.run_string(made, {inner!r}))
    work.function()
    interpreters.destroy(made)
    work.function()
"""
    environment["TACH_PURE"] = pure
    done = measuring.run(program, {"f": "work:function"})

    assert done.stdout == "None\n" * 3
    assert done.calls == {"f": 9}
    assert done.troubles == ["a sub-interpreter of the process runs unmeasured (3 times)"]


def make_venv(directory: Path, *options: str) -> Path:
    """A virtual environment without pip; returns its Python."""
    command = [PYTHON, "-m", "venv", "--without-pip", *options, str(directory)]
    subprocess.run(command, check=True)
    return directory / "bin" / "python"


def script(file: Path, first_line: str, text: str = MARK) -> Path:
    """An executable script that marks that it has been started."""
    file.write_text(f"{first_line}\n{text}\n")
    file.chmod(0o755)
    return file


# Refused


SHEBANGS = {
    "-I": "isolated mode",
    "-E": "ignoring PYTHON* variables",
    "-S": "without site",
    "-sE": "ignoring PYTHON* variables",
    "-Wignore -I": "isolated mode",
}


@pytest.mark.parametrize("option", SHEBANGS)
@pytest.mark.parametrize("first_line", ["#!{python} {option}", "#!/usr/bin/env -S python {option}"])
def test_a_script_that_shuts_tach_out(
    option: str, first_line: str, report: Report, run_tach: Tach, tmp_path: Path
) -> None:
    """A first line with -I, -E or -S: one line that says what to do, status 2, nothing started."""
    line = first_line.format(python=PYTHON, option=option)
    script(tmp_path / "program", line)

    ended = run_tach(report.config(f="targets:function"), "./program")

    letter = next(each for each in option if each in "IES")
    assert ended.stderr == (
        f"tach: ./program runs Python with -{letter} ({SHEBANGS[option]}), which keeps tach out; "
        "start it without that option, or name its Python yourself: tach CONFIG python ./program\n"
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    "options", [["-I"], ["-E"], ["-S"], ["-W", "error", "-I"], ["-XI", "-uE"], ["-bS"]]
)
def test_a_python_that_shuts_tach_out(
    options: list[str], report: Report, run_tach: Tach, tmp_path: Path
) -> None:
    """The same on the command line."""
    ended = run_tach(report.config(f="targets:function"), PYTHON, *options, "-c", MARK)

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"tach: {PYTHON} runs Python with -{options[-1][-1]} (")
    assert ended.stderr.endswith("start it without that option\n")
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    "options",
    [["-c", MARK, "-I"], ["-W", "ignore", "program", "-E"], ["-X", "dev", "program", "-S"]],
)
def test_the_program_s_own_options_are_its_own(
    options: list[str], report: Report, run_tach: Tach, tmp_path: Path
) -> None:
    """-I, -E and -S behind the program's name are no options of Python."""
    script(tmp_path / "program", "")

    assert run_tach(report.config(f="targets:function"), PYTHON, *options).returncode == 0
    assert (tmp_path / "started").exists()


def test_a_python_without_tach(
    bare_venv: Path, report: Report, run_tach: Tach, tmp_path: Path
) -> None:
    """Another environment's Python, or a script of it: what to install where, nothing started."""
    script(tmp_path / "program", f"#!{bare_venv}")
    reason = (
        f"runs under {bare_venv}, which cannot load tach (ModuleNotFoundError: No module named "
        f"'wrapt'); install tach there: {bare_venv} -m pip install tach\n"
    )

    for command in (["./program"], [str(bare_venv), "-c", MARK]):
        ended = run_tach(report.config(f="targets:function"), *command)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr == f"tach: {command[0]} {reason}"
    assert not (tmp_path / "started").exists()


# Accepted


def test_a_python_with_tach(
    tach_venv: Path, report: Report, run_tach: Tach, tmp_path: Path
) -> None:
    """Another environment that has tach is as good as tach's own."""
    script(
        tmp_path / "program", f"#!{tach_venv}", "import sys, targets; print(targets.function(1))"
    )

    ended = run_tach(report.config(f="targets:function"), "./program")

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "2\n", "")
    assert report.calls() == {"f": 1}


@pytest.mark.parametrize("text", ["sys.customised = True", "raise ValueError('not today')"])
def test_the_user_s_usercustomize_runs(
    text: str,
    tach_venv: Path,
    report: Report,
    run_tach: Tach,
    environment: dict[str, str],
    tmp_path: Path,
    processes: Any,
) -> None:
    """What Python runs for this user is run as without tach; its errors look as ever."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = tmp_path / "user" / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    (packages / "usercustomize.py").write_text(f"import sys\nif sys.orig_argv[1] == '-c': {text}")
    environment["PYTHONUSERBASE"] = str(tmp_path / "user")
    command = [str(tach_venv), "-c", "import sys; print(hasattr(sys, 'customised'))"]
    bare = processes.start(command, env=environment, cwd=tmp_path)
    expected = bare.communicate(timeout=60)

    ended = run_tach(report.config(f="targets:function"), *command)

    assert (ended.stdout, ended.stderr) == expected
    assert ended.stdout == f"{text.startswith('sys')}\n"


def test_what_only_looks_like_a_python(report: Report, run_tach: Tach, tmp_path: Path) -> None:
    """A program whose name begins with python need not be one."""
    script(tmp_path / "python3-config", "#!/bin/sh", "echo ran")

    assert run_tach(report.config(f="targets:function"), "./python3-config").stdout == "ran\n"


# Left alone


def other_pythons() -> list[Path]:
    """Other versions of Python on this machine, which have no tach; one of each."""
    found = {}
    for file in [
        *Path.home().glob(".pyenv/versions/*/bin/python"),
        *Path("/usr/bin").glob("python3"),
    ]:
        command = [file, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        version = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        found.setdefault(version, file)
    own = "{}.{}".format(*sys.version_info[:2])
    return [file for version, file in sorted(found.items()) if version not in ("", own)]


def test_children_without_tach_run_unmeasured(
    bare_venv: Path, report: Report, run_tach: Tach, programs: Path, tmp_path: Path
) -> None:
    """-I, no environment, no tach, other versions, old ones too: nothing said, nothing counted."""
    others = [str(bare_venv), *map(str, other_pythons())]
    code = "import sys; print(sys.version_info[0] * 0 + len(sys.argv))"
    (tmp_path / "starter.py").write_text(
        f"""
import subprocess, sys
sys.path.insert(0, {str(programs)!r})
import targets
targets.function()
for command in {[[other] for other in others]} + [[sys.executable, "-I"], [sys.executable, "-E"]]:
    subprocess.run([*command, "-c", {code!r}, "a"], check=True)
subprocess.run(["env", "-i", sys.executable, "-c", {code!r}, "a"], check=True)
"""
    )

    ended = run_tach(report.config(f="targets:function"), PYTHON, "starter.py")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split() == ["2"] * (len(others) + 3)
    assert report.calls() == {"f": 1}
    assert report.troubles() == []


@pytest.mark.skipif(not other_pythons(), reason="no other version of Python on this machine")
def test_another_version_is_refused(report: Report, run_tach: Tach, tmp_path: Path) -> None:
    """Another version of Python has another set of packages: refused with the remedy."""
    for python in other_pythons():
        ended = run_tach(report.config(f="targets:function"), python, "-c", MARK)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith(
            f"tach: {python} runs under {python}, which cannot load tach ("
        )
        assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "started").exists()
