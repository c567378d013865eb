"""Functions of the file that is run, which no import hook sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reports import Report

PROGRAM = """\
import multiprocessing, sys

def early(x): return x
early(1)
class Shop:
    def sell(self): return early(2)
    @classmethod
    def open(cls): return cls()
Shop.open().sell()
def late(x): return Shop().sell()
def work(x): return late(x)
if __name__ == "__main__":
    work(1)
    for how in sys.argv[1:]:
        with multiprocessing.get_context(how).Pool(2) as pool:
            pool.map(work, [1, 2, 3])
    print("traced" if sys.gettrace() else "not traced")
"""


@pytest.fixture
def report(tmp_path: Path, tach_run_dir: Path) -> Report:
    """What the run reports."""
    for place in ("prog.py", "pack/prog.py", "pack/__main__.py"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(PROGRAM)
    return Report(tmp_path / "report", tach_run_dir)


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("__main__", ["prog.py"]),
        ("prog", ["prog.py"]),
        ("__main__", ["-m", "prog"]),
        ("prog", ["-m", "prog"]),
        ("pack.prog", ["-m", "pack.prog"]),
        ("pack.__main__", ["-m", "pack"]),
        ("__main__", ["-c", PROGRAM]),
    ],
)
def test_every_call_counts(
    module: str, command: list[str], report: Report, run_tach: Callable[..., Any]
) -> None:
    """Calls count from the line behind the definition, by whatever name a target calls the file."""
    qualnames = {"early": "early", "sell": "Shop.sell", "open": "Shop.open", "work": "work"}
    targets = {name: f"{module}:{each}" for name, each in qualnames.items()}

    ended = run_tach(report.config(**targets), *command)

    assert (ended.returncode, ended.stdout) == (0, "not traced\n")
    assert report.calls() == {"early": 3, "sell": 2, "open": 1, "work": 1}


def test_a_wildcard(report: Report, run_tach: Callable[..., Any]) -> None:
    """A wildcard takes all functions of the file, as they are defined."""
    targets = {"all": "__main__:*", "methods": "__main__:*.*"}

    assert run_tach(report.config(**targets), "prog.py").stdout == "not traced\n"
    assert report.calls() == {
        "all.early": 3,
        "all.late": 1,
        "all.work": 1,
        "methods.Shop.open": 1,
        "methods.Shop.sell": 2,
    }


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing(
    how: str, report: Report, run_tach: Callable[..., Any]
) -> None:
    """The functions of the file are measured where multiprocessing runs it again, too."""
    target = "__main__:work"

    assert run_tach(report.config(work=target), "prog.py", how).stdout == "not traced\n"
    assert report.calls() == {"work": 4}


def test_what_is_missing(report: Report, run_tach: Callable[..., Any]) -> None:
    """A name that the file does not define is reported, with the nearest one that it does."""
    run_tach(report.config(work="__main__:wrok", sell="__main__:Shop.sel"), "prog.py")

    assert {line["target"]: line["reason"] for line in report.lines() if "target" in line} == {
        "work": "no 'wrok' in module __main__; did you mean 'work'?",
        "sell": "no 'sel' in class Shop; did you mean 'sell'?",
    }


DEFINITIONS = {
    "twice": ("def f(): return 1\nf()\ndef f(): return 2\nassert f() == 2", 2),
    "decorated": (
        "import functools\n@functools.lru_cache\n@functools.wraps(print)\n"
        "def f():\n    pass\nf()\nf()",
        2,
    ),
    "conditional": ("if True:\n    def f(): pass\nelse:\n    def f(): pass\nf()", 1),
    "assigned": ("def g(): pass\nimport functools\nf = functools.partial(g)\nf()", 1),
    "in a block": ("try:\n    def f(): pass\nfinally:\n    pass\nfor _ in range(3):\n    f()", 3),
    "after a call of main": ("def main():\n    f()\ndef f(): pass\nmain()", 1),
    "a coroutine": ("import asyncio\nasync def f(): pass\nasyncio.run(f())", 1),
    "imported": ("from textwrap import dedent as f\nf('')", 1),
}


@pytest.mark.parametrize("case", DEFINITIONS)
def test_ways_to_define(
    case: str, tmp_path: Path, report: Report, run_tach: Callable[..., Any]
) -> None:
    """However the name comes to be in the file, what it stands for then is measured."""
    source, calls = DEFINITIONS[case]
    (tmp_path / "prog.py").write_text(source)

    assert run_tach(report.config(f="__main__:f"), "prog.py").returncode == 0
    assert report.calls() == {"f": calls}


def test_a_tracer_of_the_programs_own(
    tmp_path: Path, report: Report, run_tach: Callable[..., Any]
) -> None:
    """A trace function that the program sets stays set, and sees what it would."""
    (tmp_path / "prog.py").write_text(
        "import sys\n"
        "seen = []\n"
        "sys.settrace(lambda frame, event, _: seen.append(frame.f_code.co_name))\n"
        "def f(): pass\n"
        "f()\n"
        "assert 'f' in seen, seen\n"
        "assert sys.gettrace() is not None\n"
        "sys.settrace(None)\n"
    )

    ended = run_tach(report.config(f="__main__:f"), "prog.py")

    assert (ended.returncode, ended.stderr) == (0, "")


def test_an_error_in_the_file(tmp_path: Path, report: Report, run_tach: Callable[..., Any]) -> None:
    """A file that raises ends as it does bare, and what was called until then counts."""
    (tmp_path / "prog.py").write_text("def f(): pass\nf()\nraise SystemExit(3)\ndef g(): pass\n")

    assert run_tach(report.config(f="__main__:f", g="__main__:g"), "prog.py").returncode == 3
    assert report.calls() == {"f": 1}
