"""What the sender takes, beside a program of many processes and series."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from report import Goal, Section, figure
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
TICK = 1 / os.sysconf("SC_CLK_TCK")
MEANING = f"""\
The sender of a program with {WORKERS} processes and {SERIES:,} series in each, flushed to statsd
over UDP each second. The loads say how many of the series are called in each process each second,
and how often each. Its share of one core in %: the median of {WINDOWS} windows of {WINDOW:g} s and
their middle half. Its memory in MB: its own (private), and with the pages that it shares with the
program. Guard and sender together."""


def measure(scratch: Scratch, port: int) -> Section:
    """Put one load after the other on a sender; `port` is one of UDP that takes all it is sent."""
    targets = "".join(f"  f{number}: many:f{number}\n" for number in range(SERIES))
    text = f"notifiers: {{statsd: {{type: statsd, port: {port}}}}}\ntargets:\n{targets}"
    config = scratch.config("sender.yaml", text)
    program = scratch.start(scratch.tach, config, scratch.python, "busy.py", str(WORKERS))
    assert program.stdin is not None
    assert program.stdout is not None
    rows, goals = [], []
    with program:
        assert program.stdout.readline() == "ready\n"
        senders = find_senders(scratch)
        for load, (series, calls) in LOADS.items():
            tell(program, f"{series} {calls}")
            share = figure(cpu_shares(senders))
            private, resident = memory(senders)
            rows.append((load, share.text(1), megabytes(private), megabytes(resident)))
            if calls <= 1:
                goals.append(Goal(f"share, {load}", share.median, 1, " %"))
                goals.append(Goal(f"private memory, {load}", private / 1e6, 60, " MB"))
        program.stdin.close()
    wait_for_end(scratch)
    header = ("", "% of a core", "private MB", "resident MB")
    return Section("The sender", MEANING, header, rows, goals)


def tell(program: subprocess.Popen[str], load: str) -> None:
    """Have the workers call as many functions each second, and let that settle."""
    assert program.stdin is not None
    program.stdin.write(f"{load}\n")
    program.stdin.flush()
    time.sleep(SETTLE)


def find_senders(scratch: Scratch) -> list[Path]:
    """The sender's processes, in /proc."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if is_sender(process, f"TACH_RUN_DIR={scratch.run_dir}"):
                found.append(process)
    assert len(found) == 2, f"a guard and a sender, not {len(found)} processes"
    return found


def is_sender(process: Path, mark: str) -> bool:
    """Whether it is a sender with that in its environment."""
    if (process / "comm").read_text().strip() != "tach-sender":
        return False
    return mark.encode() in (process / "environ").read_bytes().split(b"\0")


def cpu_shares(processes: Sequence[Path]) -> list[float]:
    """The share of one core in each window, in %."""
    shares = []
    before, began = cpu_seconds(processes), time.monotonic()
    for _ in range(WINDOWS):
        time.sleep(WINDOW)
        after, ended = cpu_seconds(processes), time.monotonic()
        shares.append((after - before) / (ended - began) * 100)
        before, began = after, ended
    return shares


def cpu_seconds(processes: Sequence[Path]) -> float:
    """User and system time so far."""
    fields = [(each / "stat").read_text().rpartition(")")[2].split() for each in processes]
    return sum(int(each[11]) + int(each[12]) for each in fields) * TICK


def memory(processes: Sequence[Path]) -> tuple[int, int]:
    """Bytes of memory of their own, and of all that they have in memory."""
    private = resident = 0
    for process in processes:
        lines = (process / "smaps_rollup").read_text().splitlines()[1:]
        kilobytes = {name: int(size) for name, size, *_ in map(str.split, lines)}
        private += kilobytes["Private_Clean:"] + kilobytes["Private_Dirty:"]
        resident += kilobytes["Rss:"]
    return private * 1024, resident * 1024


def megabytes(size: int) -> str:
    """The bytes as MB."""
    return f"{size / 1e6:.0f}"


def wait_for_end(scratch: Scratch) -> None:
    """Wait until the sender has removed the run."""
    deadline = time.monotonic() + 30
    while any(scratch.run_dir.iterdir()):
        assert time.monotonic() < deadline, "the run has not ended"
        time.sleep(0.05)
