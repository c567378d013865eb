"""What processes take, as /proc tells."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
LONGEST_START = 30.0  # seconds


class Memory(NamedTuple):
    """Bytes: of their own, of all that they have in memory, and that with shared pages divided.

    Of their own and no file's are the anonymous ones: what a program has allocated.
    """

    private: int
    resident: int
    proportional: int
    anonymous: int


def memory(found: Sequence[Path]) -> Memory:
    """What the processes have together."""
    total: dict[str, int] = {}
    for process in found:
        for line in (process / "smaps_rollup").read_text().splitlines()[1:]:
            name, size, *_ = line.split()
            total[name] = total.get(name, 0) + int(size) * 1024
    private = total["Private_Clean:"] + total["Private_Dirty:"]
    return Memory(private, total["Rss:"], total["Pss:"], total["Anonymous:"])


def cpu_seconds(found: Sequence[Path]) -> float:
    """User and system time so far, of all their threads that live."""
    nanoseconds = 0
    for process in found:
        for thread in (process / "task").iterdir():
            with contextlib.suppress(OSError):  # it has ended
                nanoseconds += int((thread / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def family(pid: int) -> list[Path]:
    """The process and those that it has started, and they in turn."""
    children = (PROC / f"{pid}/task/{pid}/children").read_text().split()
    return [PROC / str(pid), *(each for child in children for each in family(int(child)))]


def senders_of(run_dir: Path) -> list[Path]:
    """The guard and the sender of the run that is kept there, as soon as both have their names.

    Raises RuntimeError if that does not come about.
    """
    give_up = time.monotonic() + LONGEST_START
    while len(found := _senders(f"TACH_RUN_DIR={run_dir}")) != 2:
        if time.monotonic() > give_up:
            raise RuntimeError(f"a guard and a sender, not {len(found)} processes")
        time.sleep(0.05)
    return found


def _senders(mark: str) -> list[Path]:
    found = []
    for process in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if _is_sender(process, mark):
                found.append(process)
    return found


def _is_sender(process: Path, mark: str) -> bool:
    """Whether it is a sender with that in its environment."""
    if (process / "comm").read_text().strip() != "tach-sender":
        return False
    return mark.encode() in (process / "environ").read_bytes().split(b"\0")
