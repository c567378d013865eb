"""How what the sender takes grows with processes, series and calls."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import NamedTuple

import proc
from report import Section, figure, megabytes
from scratch import Scratch
from sender import WINDOW, busy, cpu_shares, tell

WINDOWS = 3
BETWEEN = 0.3  # seconds without a datagram: the flush is over
MEANING = f"""\
The sender of programs with so many processes, series in each, and calls of each series in each
process each second, flushed to statsd over UDP each second: its share of one core, the median of
{WINDOWS} windows of {WINDOW:g} s and their middle half; its memory in MB, private and with shared
pages divided by those that share them, guard and sender together; milliseconds from the first to
the last datagram of a flush, as they arrive."""
HEADER = ("processes", "series", "calls", "% of a core", "private", "proportional", "flush")


class Size(NamedTuple):
    """How large a program is, and how often it calls each of its functions a second."""

    processes: int
    series: int
    calls: tuple[int, ...] = (1,)


SIZES = (
    Size(1, 10),
    Size(1, 100, (1, 10, 100, 1000, 10_000)),
    Size(1, 1000),
    Size(1, 10_000),
    Size(4, 100),
    Size(16, 100),
    Size(64, 100),
)


class Arrivals:
    """When datagrams arrive at a port of its own; a context manager."""

    def __enter__(self) -> Arrivals:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.times: list[float] = []
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _receive(self) -> None:
        while self._socket.recv(1 << 16):
            self.times.append(time.monotonic())


def measure(scratch: Scratch, _port: int) -> Section:
    """Run one program after the other."""
    sizes = SIZES[: scratch.rounds(len(SIZES))]
    rows = []
    for size in sizes:
        with Arrivals() as arrivals, busy(scratch, arrivals.port, *size[:2]) as (program, senders):
            for calls in size.calls[: scratch.rounds(len(size.calls))]:
                tell(scratch, program, size.series, calls)
                rows.append(row(scratch, size, calls, senders, arrivals))
    return Section("Growth", MEANING, HEADER, rows, [])


def row(
    scratch: Scratch, size: Size, calls: int, senders: list[Path], arrivals: Arrivals
) -> tuple[str, ...]:
    """A row of the table."""
    arrivals.times.clear()
    share = figure(cpu_shares(scratch, senders, WINDOWS))
    memory = proc.memory(senders)
    lasted = figure(flushes(arrivals.times))
    return (
        f"{size.processes:,}",
        f"{size.series:,}",
        f"{calls:,}",
        share.text(1),
        megabytes(memory.private),
        megabytes(memory.proportional),
        lasted.text(1),
    )


def flushes(times: list[float]) -> list[float]:
    """How many milliseconds each of the flushes took whose datagrams arrived then."""
    found: list[list[float]] = []
    for each in [*times]:
        if found and each - found[-1][1] < BETWEEN:
            found[-1][1] = each
        else:
            found.append([each, each])
    return [(last - first) * 1000 for first, last in found]
