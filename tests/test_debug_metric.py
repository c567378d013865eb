"""The metric `debug`: each measurement in words, on standard error and in the sender's log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from measuring import Measuring

WORK = """
def work(number):
    if isinstance(number, Exception): raise number
    return number
def other(): pass
"""


@pytest.fixture
def measuring(run_tach, tmp_path: Path, tach_run_dir: Path) -> Measuring:
    """Runs programs that may import `work`."""
    found = Measuring(run_tach, tmp_path, tach_run_dir)
    found.write(work=WORK)
    return found


def lines(text: str) -> list[str]:
    """The lines, with # for each duration."""
    return [re.sub(r"\b\d+\.\d{3} ms", "# ms", line) for line in text.splitlines()]


def test_each_call_is_a_line(measuring) -> None:
    """With the name of its series, its duration and what it raised."""
    program = """
import contextlib, work
work.work(1)
with contextlib.suppress(KeyError): work.work(KeyError())
work.other()
"""
    targets = {
        "c": {"function": "work:work", "metrics": ["timing", "debug"]},
        "quiet": "work:other",
    }
    measured = measuring.run(program, targets, speaks=True)
    assert lines(measured.stderr) == ["tach: c # ms", "tach: c # ms KeyError"]
    assert measured.calls == {"c": 2, "quiet": 1}


def test_the_name_is_that_of_the_call(measuring) -> None:
    """With names made of arguments, the series that the call went to."""
    target = {"function": "work:work", "metrics": ["debug"]}
    measured = measuring.run(
        "import work\nwork.work('a'); work.work('b')", {"c.{args.number}": target}, speaks=True
    )
    assert lines(measured.stderr) == ["tach: c.a # ms", "tach: c.b # ms"]


def test_of_a_wildcard_each_function_has_its_name(measuring) -> None:
    """The label stands in the line."""
    target = {"function": "work:*", "metrics": ["debug"]}
    measured = measuring.run("import work\nwork.other(); work.work(1)", {"c": target}, speaks=True)
    assert lines(measured.stderr) == ["tach: c.other # ms", "tach: c.work # ms"]


def test_it_ends_after_a_mebibyte(measuring) -> None:
    """A loop does not fill the disk: it is told where the rest went, and all is counted."""
    target = {"function": "work:work", "metrics": ["count", "debug"]}
    program = "import work\nfor each in range(150_000): work.work(each)"
    measured = measuring.run(program, {"c": target}, speaks=True)
    told = measured.stderr.splitlines()
    assert told[-1] == "tach: the rest is not logged: it was 1 MiB"
    assert 100_000 < len(told) < 110_000
    assert measured.calls == {"c": 150_000}
