"""Where there is little of everything, and where something has been damaged: the rest is told."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import wait_for
from test_sender import sender_pids

FAMILY = """\
import os, sys, time
def f(): pass
children, calls = int(sys.argv[1]), int(sys.argv[2])
for _ in range(children):
    if not os.fork():
        for _ in range(calls): f(); time.sleep(0.02)
        os._exit(0)
for _ in range(children): os.wait()
"""
# Its child does not know when it started: it could not open the file that says so.
NO_DESCRIPTOR = """\
import os, resource, time
def f(): pass
f()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
files = []
try:
    while True: files.append(os.open("/dev/null", 0))
except OSError: pass
child = os.fork()
for each in files: os.close(each)
if not child:
    for _ in range(60): f(); time.sleep(0.02)
    os._exit(0)
os.wait()
"""
CONFIG = {"interval": "100ms", "targets": {"f": "__main__:f"}}


@pytest.fixture
def started(
    spawn_tach: Callable[..., subprocess.Popen[str]], statsd_daemon: Any, tmp_path: Path
) -> Callable[..., subprocess.Popen[str]]:
    """Starts a program whose calls of `f` the daemon is told of."""

    def start(program: str, *arguments: object, **more: Any) -> subprocess.Popen[str]:
        file = tmp_path / "program.py"
        file.write_text(program)
        statsd = {"type": "statsd", "port": statsd_daemon.port}
        config = {**CONFIG, "notifiers": {"statsd": statsd}}
        return spawn_tach(config, sys.executable, file, *arguments, **more)

    return start


def over(process: subprocess.Popen[str], run_dir: Path) -> None:
    """Wait for the end of the program, which says nothing, and of its run."""
    assert process.communicate(timeout=120) == ("", "")
    assert process.returncode == 0
    wait_for(lambda: not list(run_dir.iterdir()), 60, "the end of the run")


def few_files() -> None:
    """What a shell's `ulimit -Sn 64` does."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def test_more_processes_than_files_may_be_open(
    started: Any, statsd_daemon: Any, tach_run_dir: Path
) -> None:
    """The sender takes two files for each process: the limit of the program is not its own."""
    over(started(FAMILY, 40, 10, preexec_fn=few_files), tach_run_dir)
    assert statsd_daemon.counters()["f.calls"] == 400


def test_a_process_that_does_not_know_when_it_began(
    started: Any, statsd_daemon: Any, tach_run_dir: Path
) -> None:
    """It is not taken for dead as long as there is one of its number."""
    over(started(NO_DESCRIPTOR), tach_run_dir)
    assert statsd_daemon.counters()["f.calls"] == 61


def test_a_program_that_ignores_its_children(
    started: Any, statsd_daemon: Any, tach_run_dir: Path
) -> None:
    """Whoever starts it with SIGCHLD ignored has it measured all the same."""
    program = "import signal\ndef f(): print(signal.getsignal(signal.SIGCHLD).name)\nf()\n"
    process = started(program, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert process.communicate(timeout=60) == ("SIG_IGN\n", "")
    wait_for(lambda: not list(tach_run_dir.iterdir()), 60, "the end of the run")
    assert statsd_daemon.counters()["f.calls"] == 1


@pytest.mark.parametrize(
    "line",
    [b"process\t4294967296\t5\t1\t3.13.0\tp\n", b"target\t0\tmissing\tnothing quoted\t\n"],
    ids=["no such number", "no name"],
)
def test_damage_of_the_journal(
    line: bytes, started: Any, statsd_daemon: Any, tach_run_dir: Path
) -> None:
    """A line that no agent has written costs nothing but itself."""
    process = started(FAMILY, 2, 60)
    wait_for(lambda: statsd_daemon.counters().get("f.calls", 0) > 0)
    (run,) = tach_run_dir.iterdir()
    journal = os.open(run / "journal", os.O_WRONLY | os.O_APPEND)
    os.write(journal, line)
    os.close(journal)
    over(process, tach_run_dir)
    assert statsd_daemon.counters()["f.calls"] == 120
    assert statsd_daemon.counters().get("tach.sender_restarts", 0) == 0


def test_a_wait_that_a_signal_ends(started: Any, tach_run_dir: Path) -> None:
    """A handler that ends the program while it waits for its sender leaves no word of ours."""
    program = (
        "import os, signal, sys, glob\n"
        "def f(): pass\n"
        "f()\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
    )
    process = started(program, stdin=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"
    senders = wait_for(lambda: sender_pids(tach_run_dir))
    for pid in senders:
        os.kill(pid, signal.SIGSTOP)
    try:
        process.stdin.write("\n")
        process.stdin.flush()
        journal = next(tach_run_dir.iterdir()) / "journal"
        wait_for(lambda: b"closing" in journal.read_bytes())
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=60) == ("", "")
    finally:
        for pid in senders:
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not list(tach_run_dir.iterdir()), 60, "the end of the run")
