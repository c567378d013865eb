"""The sender: replaced when it dies, without a loss or a repetition; gone when the run is over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import marked, wait_for


def sender_pids(run_dir: Path) -> list[int]:
    """The sender's processes, the guard first."""
    named = []
    for process in marked(f"TACH_RUN_DIR={run_dir}"):
        try:
            name = Path(f"/proc/{process.pid}/comm").read_text().strip()
        except OSError:
            continue
        if name == "tach-sender":
            named.append(process)
    pids = {process.pid for process in named}
    return [each.pid for each in sorted(named, key=lambda each: each.parent in pids)]


def config(statsd_daemon: Any) -> dict[str, Any]:
    """Everything of `targets.function` to the daemon, often."""
    return {
        "interval": "200ms",
        "notifiers": {"statsd": {"type": "statsd", "port": statsd_daemon.port}},
        "targets": {"f": "targets:function"},
    }


def between_two_batches(run_dir: Path) -> None:
    """Wait until something has been sent and that has been noted: whoever is killed before he has
    noted it leaves one who sends it again."""
    (run,) = run_dir.iterdir()
    note = run / "sent-statsd.log"

    def size() -> int:
        return note.stat().st_size if note.exists() else 0

    before = size()
    wait_for(lambda: size() > before)


class Steady:
    """A program that calls its target in bursts until it is told to end."""

    def __init__(self, process: subprocess.Popen[str], end: Path) -> None:
        self.process = process
        self._end = end

    def end(self) -> None:
        """Tell it to end."""
        self._end.touch()

    def ended(self) -> int:
        """How many calls it made, now that it is told to end."""
        self.end()
        words = self.process.communicate(timeout=60)[0].split()
        assert self.process.returncode == 0
        return int(words[-1])


@pytest.fixture
def steady(
    spawn_tach: Callable[..., subprocess.Popen[str]],
    statsd_daemon: Any,
    programs: Path,
    tmp_path: Path,
    tach_run_dir: Path,
) -> Steady:
    """Such a program, its guard and its sender."""
    end = tmp_path / "end"
    arguments = (sys.executable, programs / "steady.py", 1, 100, 0.05, end)
    program = Steady(spawn_tach(config(statsd_daemon), *arguments), end)
    wait_for(lambda: len(sender_pids(tach_run_dir)) == 2, 30)
    return program


def test_killed_senders_are_replaced(
    steady: Steady, statsd_daemon: Any, tach_run_dir: Path
) -> None:
    """A sender killed three times while the program runs: nothing is lost, nothing sent twice."""
    for _ in range(3):
        wait_for(lambda: len(sender_pids(tach_run_dir)) == 2)
        between_two_batches(tach_run_dir)
        _, worker = sender_pids(tach_run_dir)
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: worker not in sender_pids(tach_run_dir))  # noqa: B023
    calls = steady.ended()

    wait_for(lambda: not list(tach_run_dir.iterdir()), message="the end of the run")
    assert statsd_daemon.counters()["f.calls"] == calls
    assert statsd_daemon.counters()["tach.sender_restarts"] >= 1


def test_sender_and_guard_killed(steady: Steady, statsd_daemon: Any, tach_run_dir: Path) -> None:
    """Where guard and sender are killed both, the program's exit starts another; all is counted."""
    between_two_batches(tach_run_dir)
    for pid in sender_pids(tach_run_dir):
        os.kill(pid, signal.SIGKILL)
    calls = steady.ended()

    wait_for(lambda: not list(tach_run_dir.iterdir()), message="the end of the run")
    assert statsd_daemon.counters()["f.calls"] == calls


def test_sender_and_guard_killed_while_the_program_waits_for_them(
    steady: Steady, statsd_daemon: Any, tach_run_dir: Path
) -> None:
    """Also then it starts another, so that its last calls are counted and its run ends."""
    between_two_batches(tach_run_dir)
    pids = sender_pids(tach_run_dir)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    (run,) = tach_run_dir.iterdir()
    steady.end()
    wait_for(lambda: "closing" in (run / "journal").read_text())
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    calls = steady.ended()

    wait_for(lambda: not list(tach_run_dir.iterdir()), message="the end of the run")
    assert statsd_daemon.counters()["f.calls"] == calls


def test_next_process_replaces_the_sender(
    spawn_tach: Callable[..., subprocess.Popen[str]],
    statsd_daemon: Any,
    programs: Path,
    tach_run_dir: Path,
    tmp_path: Path,
) -> None:
    """Guard and sender killed: the next Python process of the run starts another at once."""
    go = tmp_path / "go"
    script = (
        f"until [ -e {go} ]; do sleep 0.02; done; "
        f"{sys.executable} {programs / 'calls.py'} 50 function; sleep 60"
    )
    spawn_tach(config(statsd_daemon), "sh", "-c", script)
    wait_for(lambda: len(sender_pids(tach_run_dir)) == 2)
    for pid in sender_pids(tach_run_dir):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not sender_pids(tach_run_dir))
    go.touch()

    wait_for(lambda: statsd_daemon.counters().get("f.calls") == 50)
    assert len(sender_pids(tach_run_dir)) == 2


def test_signals_do_not_end_the_sender(
    steady: Steady, statsd_daemon: Any, tach_run_dir: Path
) -> None:
    """SIGINT, SIGTERM and SIGHUP leave the sender alone while the program lives."""
    wait_for(lambda: statsd_daemon.counters().get("f.calls", 0) > 0)
    before = sender_pids(tach_run_dir)
    for pid in before:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)

    sent = statsd_daemon.counters()["f.calls"]
    wait_for(lambda: statsd_daemon.counters()["f.calls"] > sent)
    assert sender_pids(tach_run_dir) == before
    calls = steady.ended()
    wait_for(lambda: not list(tach_run_dir.iterdir()), message="the end of the run")
    assert statsd_daemon.counters()["f.calls"] == calls


def test_the_sender_is_nobodys_child(
    run_tach: Callable[..., Any], programs: Path, statsd_daemon: Any
) -> None:
    """The program has no child that it did not start."""
    code = (
        "import os\ntry: print(os.waitpid(-1, os.WNOHANG))\nexcept ChildProcessError: print('no')"
    )

    ended = run_tach(config(statsd_daemon), "-c", code)

    assert ended.stdout == "no\n"


def test_left_overs_are_swept(
    run_tach: Callable[..., Any], programs: Path, tach_run_dir: Path
) -> None:
    """The directory of a run whose processes and sender are dead is removed by the next run."""
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    left = tach_run_dir / f"tach-{os.geteuid()}-{dead.stdout.strip()}-0123abcd"
    young = tach_run_dir / f"tach-{os.geteuid()}-{dead.stdout.strip()}-4567cdef"
    foreign = tach_run_dir / "tach-of-somebody"
    for directory in (left, young, foreign):
        directory.mkdir()
        (directory / "sender.lock").touch()
    os.utime(left, (1, 1))
    os.utime(foreign, (1, 1))

    run_tach({"targets": {"f": "targets:function"}}, sys.executable, programs / "calls.py")

    wait_for(lambda: not left.exists())
    assert young.exists()
    assert foreign.exists()
