"""What the sender takes, beside a program of many processes and series."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from proc import cpu_seconds, memory, senders_of
from report import Goal, Section, figure, megabytes
from scratch import Scratch

WORKERS = 16
SERIES = 1000
# From its name to how many series are called in each process, each second, and how often each.
LOADS = {
    "idle": (0, 0),
    "100 series, 1 call": (100, 1),
    f"{SERIES:,} series, 1 call": (SERIES, 1),
    f"{SERIES:,} series, 10 calls": (SERIES, 10),
}
SETTLE = 3.0  # seconds
WINDOW = 3.0
WINDOWS = 5
MEANING = f"""\
The sender of a program with {WORKERS} processes and {SERIES:,} series in each, flushed to statsd
over UDP each second. The loads say how many of the series are called in each process each second,
and how often each. Its share of one core in %: the median of {WINDOWS} windows of {WINDOW:g} s and
their middle half. Its memory in MB: its own (private), with the pages that it shares with the
program divided by those that share them (proportional), and with all of these (resident). Guard and
sender together."""


class Owner(Protocol):
    """What starts runs of tach, and keeps them in a directory of its own."""

    run_dir: Path


def measure(scratch: Scratch, port: int) -> Section:
    """Put one load after the other on a sender; `port` is one of UDP that takes all it is sent."""
    rows, goals = [], []
    with busy(scratch, port, WORKERS, SERIES) as (program, senders):
        for load, (series, calls) in LOADS.items():
            tell(scratch, program, series, calls)
            share = figure(cpu_shares(scratch, senders, WINDOWS))
            taken = memory(senders)
            cells = (taken.private, taken.proportional, taken.resident)
            rows.append((load, share.text(1), *map(megabytes, cells)))
            if calls <= 1:
                goals.append(Goal(f"share, {load}", share.median, 1, " %"))
                goals.append(Goal(f"private memory, {load}", taken.private / 1e6, 60, " MB"))
    header = ("", "% of a core", "private MB", "proportional MB", "resident MB")
    return Section("The sender", MEANING, header, rows, goals)


@contextlib.contextmanager
def busy(
    scratch: Scratch, port: int, workers: int, series: int
) -> Iterator[tuple[subprocess.Popen[str], list[Path]]]:
    """A program of so many processes, with so many series in each, and its guard and sender."""
    targets = "".join(f"  f{number}: many:f{number}\n" for number in range(series))
    text = f"notifiers: {{statsd: {{type: statsd, port: {port}}}}}\ntargets:\n{targets}"
    config = scratch.config("sender.yaml", text)
    command = (scratch.tach, config, scratch.python, "busy.py", str(workers), str(series))
    program = scratch.start(*command)
    assert program.stdin is not None
    assert program.stdout is not None
    with program:
        assert program.stdout.readline() == "ready\n"
        yield program, find_senders(scratch)
        program.stdin.close()
    wait_for_end(scratch)


def tell(scratch: Scratch, program: subprocess.Popen[str], series: int, calls: int) -> None:
    """Have each worker call so many functions so often each second, and let that settle."""
    assert program.stdin is not None
    program.stdin.write(f"{series} {calls}\n")
    program.stdin.flush()
    time.sleep(scratch.seconds(SETTLE))


def cpu_shares(scratch: Scratch, senders: Sequence[Path], windows: int) -> list[float]:
    """The share of one core in each window, in %."""
    shares = []
    before, began = cpu_seconds(senders), time.monotonic()
    for _ in range(scratch.rounds(windows)):
        time.sleep(scratch.seconds(WINDOW))
        after, ended = cpu_seconds(senders), time.monotonic()
        shares.append((after - before) / (ended - began) * 100)
        before, began = after, ended
    return shares


def find_senders(owner: Owner) -> list[Path]:
    """The processes of its sender, in /proc."""
    return senders_of(owner.run_dir)


def wait_for_end(owner: Owner) -> None:
    """Wait until the sender has removed its run."""
    deadline = time.monotonic() + 30
    while any(owner.run_dir.iterdir()):
        assert time.monotonic() < deadline, "the run has not ended"
        time.sleep(0.05)
