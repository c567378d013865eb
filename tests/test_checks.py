"""What the command that runs all checks makes of tests that fail."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import check
import pytest
from environment import Environment
from pythons import Python

HERE = Path(__file__).parent

TESTS = """
import pathlib

def test_that_passes():
    pass

def test_that_fails_once():
    mark = pathlib.Path("mark")
    was_there = mark.exists()
    mark.touch()
    assert was_there

def test_that_fails_always():
    assert not {always}
"""


@pytest.fixture
def attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the tests TESTS, with or without one that always fails."""

    def run(**how: bool):
        (tmp_path / "test_it.py").write_text(TESTS.format(**how))
        (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -q\n")
        monkeypatch.setattr(check, "ROOT", tmp_path)
        variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.defpath}"}
        monkeypatch.setattr(Environment, "variables", lambda _: variables)
        environment = Environment("it", None)
        environment.directory = tmp_path
        return check.attempts(check.pytest(environment, "cache", []), environment)

    return run


def test_what_failed_once_runs_again_alone(attempts) -> None:
    """It passes then, and both closing lines are told."""
    first, again = attempts(always=False)

    assert (first.returncode, again.returncode) == (1, 0)
    assert check.closing(first.stdout).startswith("1 failed, 2 passed")
    assert check.closing(again.stdout).startswith("1 passed")
    assert "test_that_fails_once" in first.stdout


def test_what_fails_twice_has_failed(attempts) -> None:
    """A second run makes nothing right that is wrong."""
    first, again = attempts(always=True)

    assert check.closing(first.stdout).startswith("2 failed, 1 passed")
    assert again.returncode == 1
    assert check.closing(again.stdout).startswith("1 failed, 1 passed")


def test_many_that_fail_do_not_run_again(attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run is for a few that had too little time."""
    monkeypatch.setattr(check, "A_FEW", 1)

    assert len(attempts(always=True)) == 1


def names_of(job: check.Job) -> set[str]:
    """The tests that a job leaves out."""
    [command] = job.commands
    ignored = [each for each in command if each.startswith("--ignore=")]
    return {each.removeprefix("--ignore=tests/test_").removesuffix(".py") for each in ignored}


def test_only_what_is_outside_the_program_is_left_to_the_newest_and_the_oldest() -> None:
    """Each test that is left out somewhere is there, and runs on the first and the last Python."""
    found = [Python((3, minor, 1), True, "python") for minor in (10, 12, 13)]

    jobs = {job.title: job for job in check.plan(found, "", [])}
    only = check.plan(found, "3.12", [])

    assert names_of(jobs["Python 3.13.1"]) == names_of(jobs["Python 3.10.1 (oldest)"]) == set()
    left_out = names_of(jobs["Python 3.12.1"])
    assert left_out == names_of(jobs["Python 3.10.1"]) == {*check.OUTSIDE}
    assert [each for each in left_out if not (HERE / f"test_{each}.py").is_file()] == []
    assert [names_of(job) for job in only] == [set()]
