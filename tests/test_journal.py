"""The run's journal: read as it grows; condensed, so that a run may start processes for years."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import wait_for
from reports import Report
from test_sender import sender_pids

from tach import sparse
from tach.agent.journal import Journal
from tach.plan import Plan, TargetPlan
from tach.sender.journal import NOBODY, JournalReader
from tach.sender.status import announced

PLAN = Plan(
    "tach.yaml", "", 1.0, 1.0, (), (TargetPlan("buy", "shop", "buy", ("count",), (), (), 3),)
)
LIVING = (7, 70)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """An empty journal to be written to."""
    (tmp_path / "journal").touch()
    return Journal(str(tmp_path))


def reader(directory: Path) -> JournalReader:
    """Who has read all of it."""
    made = JournalReader(str(directory), PLAN)
    made.read()
    return made


def alive(key: tuple[int, int]) -> bool:
    """One process lives."""
    return key == LIVING


def fill(journal: Journal, processes: int) -> None:
    """Processes that say all there is to say, and one of them lives."""
    journal.append("process", *LIVING, 1, "3.13.0", "a program")
    journal.append("plan", LIVING[0], 4)
    for number in range(processes):
        pid = 1000 + number
        journal.append("process", pid, 5, 1, "3.13.0", "a program")
        journal.append("target", pid, 0, "patched", "", "")
        journal.append("trouble", pid, "something is wrong, which takes many words")
        journal.append("plan", pid, 3)
    journal.append("closing", LIVING[0])


def used(file: Path) -> int:
    """The bytes of memory (or of the disk) that a file takes."""
    return file.stat().st_blocks * 512


def test_what_has_been_read_gives_its_memory_back(journal: Journal, tmp_path: Path) -> None:
    """The living are still named, what all said stays once, and the dead are counted."""
    fill(journal, 10_000)
    first = reader(tmp_path)
    before = used(tmp_path / "journal")
    assert len(first.new_processes()) == 10_001
    first.condense(alive)

    second = reader(tmp_path)
    assert before > 1 << 20
    assert used(tmp_path / "journal") < 1 << 16
    assert (first.ended, second.ended) == (10_000, 10_000)
    assert second.new_processes() == [LIVING]
    assert second.generations == {LIVING[0]: 4}
    assert second.closing == {LIVING[0]}
    assert second.targets() == first.targets()
    assert second.targets()[0].state == "patched"
    assert second.troubles() == ["something is wrong, which takes many words"]
    assert first.troubles() == ["something is wrong, which takes many words (10000 times)"]


def test_it_goes_on_behind_the_hole(journal: Journal, tmp_path: Path) -> None:
    """Who has condensed it and who reads it anew both take up what is added, again and again."""
    first = reader(tmp_path)
    for turn in range(1, 6):
        fill(journal, 10_000)
        first.read()
        first.condense(alive)
        journal.append("process", 9, 90 + turn, 1, "3.13.0", "one more")
        first.read()
        assert first.new_processes()[-1] == (9, 90 + turn)
        assert reader(tmp_path).new_processes() == [LIVING, (9, 90 + turn)]
        (known, more) = announced(sparse.content(os.open(tmp_path / "journal", os.O_RDONLY))[0])
        assert (known[:2], more.program) == (LIVING, "one more")
    assert used(tmp_path / "journal") < 1 << 16
    assert first.ended == reader(tmp_path).ended == 50_004


def test_a_short_one_stays_as_it_is(journal: Journal, tmp_path: Path) -> None:
    """It is done where it is worth while."""
    fill(journal, 10)
    text = (tmp_path / "journal").read_bytes()
    reader(tmp_path).condense(alive)

    assert (tmp_path / "journal").read_bytes() == text


def test_nobody_left_is_not_nobody_ever(journal: Journal, tmp_path: Path) -> None:
    """Where all the processes that there were have ended, it is not said that there was none."""
    assert reader(tmp_path).troubles() == [NOBODY]
    fill(journal, 10)
    reader(tmp_path).condense(lambda key: False, least=1)

    assert NOBODY not in reader(tmp_path).troubles()


def test_damage_is_left_out(journal: Journal, tmp_path: Path) -> None:
    """Lines that nobody understands do not keep it from being condensed."""
    (tmp_path / "journal").write_bytes(b"process\nprocess\tx\ty\n\xff\n\n\0\nprocess\t1\n")
    fill(journal, 100)
    reader(tmp_path).condense(alive, least=1)

    assert reader(tmp_path).new_processes() == [LIVING]


def test_a_file_system_without_holes(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the memory stays taken, and what is read is the same."""

    def unable(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("tach.sparse.mmap.mmap", unable)
    monkeypatch.setattr("tach.sparse.os.lseek", unable)
    fill(journal, 10_000)
    reader(tmp_path).condense(alive)

    assert reader(tmp_path).new_processes() == [LIVING]
    assert used(tmp_path / "journal") > 1 << 20


def test_writers_are_not_disturbed(tmp_path: Path, journal: Journal) -> None:
    """Processes that append while it is condensed lose no line."""
    children = []
    for number in range(4):
        child = os.fork()
        if not child:
            for line in range(3000):
                journal.append("process", 10_000 + number, line, 1, "3.13.0", "x" * 50)
            os._exit(0)
        children.append(child)
    first = JournalReader(str(tmp_path), PLAN)
    seen = []
    while children:
        children = [each for each in children if os.waitpid(each, os.WNOHANG)[0] == 0]
        first.read()
        seen += first.new_processes()
        first.condense(lambda key: key[1] == 2999, least=20_000)
    first.read()
    seen += first.new_processes()

    assert sorted(seen) == [(10_000 + number, line) for number in range(4) for line in range(3000)]
    assert {key[1] for key in reader(tmp_path).new_processes()} >= {2999}


FORKS = """
import os, sys, targets
sleeper = os.fork()
if not sleeper:
    sys.stdin.read()
    targets.function()
    os._exit(0)
for number in range(300):
    if not os.fork():
        targets.function()
        os._exit(0)
    os.wait()
print("forked", flush=True)
sys.stdin.read()
os.waitpid(sleeper, 0)
"""


def test_a_new_sender_knows_the_living_by_a_condensed_journal(
    spawn_tach: Callable[..., Any], tach_run_dir: Path, tmp_path: Path, programs: Path
) -> None:
    """A sender is killed after it has condensed it: the next one counts everybody's calls."""
    report = Report(tmp_path / "report.jsonl", tach_run_dir)
    config = report.config(f="targets:function")
    (tmp_path / "forks.py").write_text(FORKS)
    # each process announces itself with its command line
    command = (sys.executable, "forks.py", "x" * 4000)
    environment = {"PYTHONPATH": str(programs)}
    process = spawn_tach(config, *command, stdin=subprocess.PIPE, env=environment)
    assert process.stdout.readline() == "forked\n", process.stderr.read()
    (run,) = tach_run_dir.iterdir()
    wait_for(lambda: b"ended\t" in (run / "journal").read_bytes(), 20)
    assert used(run / "journal") < 1 << 20
    wait_for(lambda: len(sender_pids(tach_run_dir)) == 2)
    killed = sender_pids(tach_run_dir)[-1]
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: killed not in sender_pids(tach_run_dir))
    wait_for(lambda: len(sender_pids(tach_run_dir)) == 2)
    process.communicate("")

    assert process.returncode == 0
    assert report.calls() == {"f": 301}
    assert report.troubles() == []
