"""`tach top`: a run's functions live, read from beside it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyte
import pytest
from processes import wait_until
from terminal import Terminal

PROGRAM = """\
import sys, time
def quick(): pass
def slow(): time.sleep(600)
def fail(): raise KeyError
def main():
    for _ in range(1000): quick()
    for _ in range(7):
        try: fail()
        except KeyError: pass
    print("ready", flush=True)
    end = time.time() + 60
    while time.time() < end and not sys.argv[1:]:
        quick()
        time.sleep(0.001)
    slow()
main()
"""
CONFIG = """\
prefix: "shop.{host}"
targets: {all: {function: "__main__:*", metrics: [timing, count, exceptions, inflight]}}
"""


@pytest.fixture
def top(
    tmp_path: Path, environment: dict[str, str], spawn_tach: Callable[..., Any]
) -> Callable[..., list[str]]:
    """Starts the program with its arguments; returns what runs `tach top`."""

    def start(*arguments: str) -> tuple[Any, list[str]]:
        (tmp_path / "prog.py").write_text(PROGRAM)
        program = spawn_tach(CONFIG, sys.executable, "prog.py", *arguments)
        assert program.stdout.readline() == "ready\n"
        return program, [sys.executable, "-m", "tach", "top"]

    return start  # type: ignore[return-value]


def test_what_it_shows(
    top: Callable[..., Any], tmp_path: Path, environment: dict[str, str]
) -> None:
    """Exact totals, calls that run, and rates of what has happened since the last look."""
    program, command = top("idle")

    shown = subprocess.run(
        [*command, "--times", "2", "--every", "200ms", str(program.pid)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert f"process {program.pid}" in lines[0]
    rows = {line.split()[0]: line.split() for line in lines[2:6]}
    assert rows["all.quick"][1] == "0.0"
    assert rows["all.quick"][-1] == "1,000"
    assert rows["all.fail"][-1] == "7"
    assert rows["all.slow"][-4:-1][0] == "1"
    program.kill()


def test_the_screen(top: Callable[..., Any], terminal: Callable[..., Terminal]) -> None:
    """On a terminal the table is drawn anew in its place, and the program's rate is on it."""
    program, command = top()
    shown = terminal(*command, "--every", "300ms", str(program.pid))
    shown.read_until(lambda: _rate(shown.screen))

    assert shown.screen.display[0].startswith("tach top: ")
    assert shown.screen.display[1].split()[:4] == ["target", "calls/s", "errors/s", "mean"]
    assert 50 < _rate(shown.screen) < 1000
    program.kill()


def test_keys(top: Callable[..., Any], terminal: Callable[..., Terminal]) -> None:
    """A key sorts at once by another column, q ends it, and the terminal is as it was."""
    program, command = top()
    shown = terminal(*command, "--every", "200ms", str(program.pid))
    shown.read_until(lambda: "by busy" in shown.screen.display[0])
    os.write(shown.file, b"n")
    shown.read_until(lambda: "by name" in shown.screen.display[0])
    names = [line.split()[0] for line in shown.screen.display[2:5] if line.strip()]
    os.write(shown.file, b"s")
    shown.read_until(lambda: "by busy" in shown.screen.display[0])
    os.write(shown.file, b"q")

    assert shown.ended() == 0
    assert names == sorted(names)
    assert len(names) > 1
    assert shown.is_as_before()
    program.kill()


def test_ctrl_c(top: Callable[..., Any], terminal: Callable[..., Terminal]) -> None:
    """Ctrl-C ends it without a traceback, and the terminal is as it was."""
    program, command = top()
    shown = terminal(*command, "--every", "200ms", str(program.pid))
    shown.read_until(lambda: "by busy" in shown.screen.display[0])
    shown.shown.send_signal(signal.SIGINT)

    assert shown.ended() == 0
    assert not any("Traceback" in line for line in shown.screen.display)
    assert shown.is_as_before()
    program.kill()


def test_sigterm_though_nobody_reads(
    top: Callable[..., Any], terminal: Callable[..., Terminal]
) -> None:
    """It ends at once by SIGTERM where it waits for a terminal that takes nothing any more."""
    program, command = top()
    shown = terminal(*command, "--every", "50ms", str(program.pid))

    def is_stuck() -> bool:
        return not select.select([], [shown.child], [], 0)[1]

    wait_until(is_stuck, "a terminal that is full", 60)
    shown.shown.terminate()

    assert shown.shown.wait(20) == -signal.SIGTERM
    assert shown.is_as_before()
    program.kill()


def test_a_narrow_terminal(top: Callable[..., Any], terminal: Callable[..., Terminal]) -> None:
    """What does not fit is left out by the column, and names are readable."""
    program, command = top()
    shown = terminal(*command, "--every", "200ms", str(program.pid), columns=50)
    shown.read_until(lambda: _rate(shown.screen))

    assert shown.screen.display[1].split()[:2] == ["target", "calls/s"]
    assert "max" not in shown.screen.display[1]
    program.kill()


def _rate(screen: pyte.Screen) -> float:
    """What the screen says of the calls of `quick` a second; 0 if it says nothing yet."""
    for line in screen.display:
        words = line.split()
        if words[:1] == ["all.quick"]:
            return float(words[1].replace(",", ""))
    return 0.0


def test_it_ends_with_the_run(
    top: Callable[..., Any], tmp_path: Path, environment: dict[str, str]
) -> None:
    """When the program has ended, so does `tach top`; without a run it says so."""
    program, command = top("idle")
    shown = subprocess.Popen(
        [*command, "--every", "100ms"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert shown.stdout is not None
    assert shown.stdout.readline().startswith("tach top: ")
    program.kill()
    rest, _ = shown.communicate(timeout=60)

    assert (shown.returncode, rest.splitlines()[-1]) == (0, "the run is over")
    refused = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (refused.returncode, refused.stderr) == (1, "tach: no run of yours is going on\n")
