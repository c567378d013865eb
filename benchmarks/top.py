"""What `tach top` costs the program that it shows: throughput with and without, in turns."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import pty
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from report import Goal, Section, figure
from scratch import PROGRAMS, Scratch

ROUNDS = 10
SECONDS = 3.0  # of each turn
MEANING = f"""\
A service of one process and 40 measured functions that is as busy as it can be: its calls by its
own count, in {ROUNDS} turns of {SECONDS:g} seconds with `tach top` in a terminal and as many
without, a second and a second of its processor time; the median and the middle half. A ratio is
that of each turn with to the turns around it. Where other programs want the processors, only that
of processor time says something."""
Turn = tuple[float, float]

CONFIG = 'targets: {busy: {function: "__main__:handle_*", metrics: [timing, count, exceptions]}}\n'


def measure(scratch: Scratch, _port: int) -> Section:
    """Run the service, and look at it every other turn."""
    config, count = scratch.directory / "top.yaml", scratch.directory / "count"
    config.write_text(CONFIG)
    count.write_bytes(bytes(8))
    command = [scratch.tach, str(config), scratch.python, str(PROGRAMS / "serving.py"), str(count)]
    environment = {**scratch.variables(), "TERM": "xterm"}
    with open(os.devnull, "wb") as nowhere:
        program = subprocess.Popen(command, env=environment, stdout=nowhere, stderr=nowhere)
    try:
        time.sleep(SECONDS)
        turns, shares = _turns(scratch.tach, environment, count, program.pid)
    finally:
        program.kill()
        program.wait()
        while any(scratch.run_dir.iterdir()):  # its sender ends
            time.sleep(0.05)
    kinds = zip(("of time", "of processor time"), zip(*turns, strict=True), strict=True)
    rows, ratio = [], figure([1.0, 1.0])
    for kind, values in kinds:
        without, with_top = values[::2], values[1::2]
        ratio = figure(
            [
                2 * each / (before + after)
                for each, before, after in zip(with_top, without, without[1:], strict=False)
            ]
        )
        rows += [
            (f"calls a second {kind}", figure(without).text()),
            ("with tach top", figure(with_top).text()),
            ("ratio", ratio.text(3)),
        ]
    share = figure(shares)
    rows.append(("processor time of tach top, percent of a core", share.text(1)))
    goals = [
        Goal("calls lost to tach top", max(100 * (1 - ratio.median), 0.0), 1, " %"),
        Goal("tach top", share.median, 5, " % of a core"),
    ]
    return Section("tach top", MEANING, ("", "median"), rows, goals)


def _turns(
    tach: str, environment: dict[str, str], count: Path, pid: int
) -> tuple[list[Turn], list[float]]:
    """Each turn, the first and the last without; what top used in the others."""
    with open(count, "r+b") as file:
        counter = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
    turns, shares = [_turn(counter, pid)], []
    for _ in range(ROUNDS):
        with _top([tach, "top", str(pid)], environment) as top:
            time.sleep(1.5)  # it has begun
            before = _used(top)
            turns.append(_turn(counter, pid))
            shares.append(100 * (_used(top) - before) / SECONDS)
        turns.append(_turn(counter, pid))
    return turns, shares


def _turn(counter: memoryview, pid: int) -> Turn:
    """Calls a second, and a second of processor time."""
    began, used, count = time.monotonic(), _used(pid), counter[0]
    time.sleep(SECONDS)
    calls = counter[0] - count
    return calls / (time.monotonic() - began), calls / (_used(pid) - used)


def _used(pid: int) -> float:
    """The processor time of the process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _top(command: list[str], environment: dict[str, str]) -> Iterator[int]:
    """The process of `tach top` in a terminal that somebody reads."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 140, 0, 0))
    shown = subprocess.Popen(command, env=environment, stdin=child, stdout=child, stderr=child)
    os.close(child)
    reader = threading.Thread(target=_read, args=(parent,), daemon=True)
    reader.start()
    try:
        yield shown.pid
        assert shown.poll() is None, "tach top has ended"
    finally:
        shown.terminate()
        shown.wait()
        reader.join()
        os.close(parent)


def _read(file: int) -> None:
    with contextlib.suppress(OSError):  # the other end is closed
        while os.read(file, 65536):
            pass


if __name__ == "__main__":
    with Scratch() as made:
        print(measure(made, 0).text())
