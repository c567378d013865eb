"""What is told of the run's processes as a whole: their hubs, threads, memory, files, pauses."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import NamedTuple

from tach import layout
from tach.histogram import Histogram
from tach.plan import RuntimePlan
from tach.samples import Kind, Sample
from tach.sender.counts import NOTHING, Counts
from tach.sender.segments import SegmentReader
from tach.sender.slots import ProcessKey

log = logging.getLogger("tach.sender")

NAME = "runtime"
LAGS = {"eventlet": "hub_lag", "gevent": "hub_lag", "asyncio": "loop_lag", "gc": "gc_pause"}
QUANTITIES = {"gc": "pause"}  # of a runtime; else "lag"
PAGE = os.sysconf("SC_PAGE_SIZE")


class Beat(NamedTuple):
    """How the heart of one process' hub stands; `blocked` is for how many seconds it has stood."""

    pid: int
    runtime: str
    blocked: float


class Gauges(NamedTuple):
    """What one process holds; bytes for `rss`."""

    greenthreads: int = 0
    timers: int = 0
    readers: int = 0
    writers: int = 0
    tasks: int = 0
    threads: int = 0
    rss: int = 0
    open_files: int = 0

    def plus(self, other: Gauges) -> Gauges:
        """Both together."""
        return Gauges(*(one + another for one, another in zip(self, other, strict=True)))


class Runtimes:
    """Not thread-safe: the caller holds a lock."""

    def __init__(self, plan: RuntimePlan) -> None:
        self._plan = plan
        self._taken: dict[tuple[str, str, str], Counts] = {}
        self._blocked: set[tuple[int, str]] = set()

    def follow(self, plan: RuntimePlan) -> None:
        """The plan is this one from now on."""
        self._plan = plan

    def beats(self, readers: list[SegmentReader], now: int) -> list[Beat]:
        """The hearts that beat in the processes, at `now` (monotonic nanoseconds)."""
        return [
            Beat(reader.pid, name, _standing(words, now, self._plan.block_after))
            for reader in readers
            for name, runtime in reader.runtimes.items()
            for words in [reader.words(runtime.entries[-1])]
            if words[layout.R_BEAT]
        ]

    def newly_blocked(self, beats: list[Beat]) -> list[Beat]:
        """Those that have become blocked since the last call; what has come back is logged."""
        blocked = {(beat.pid, beat.runtime): beat for beat in beats if beat.blocked}
        new = [beat for key, beat in blocked.items() if key not in self._blocked]
        for beat in new:
            log.warning(
                "process %d: its %s hub has been blocked for %.1f s",
                beat.pid,
                beat.runtime,
                beat.blocked,
            )
        for pid, runtime in self._blocked - blocked.keys():
            log.info("process %d: its %s hub is no longer blocked", pid, runtime)
        self._blocked = set(blocked)
        return new

    def samples(
        self,
        outlet: str,
        cumulative: bool,
        per_process: bool,
        readers: list[SegmentReader],
        processes: list[ProcessKey],
        prefix: str,
        now: int,
        timestamp: float,
    ) -> list[Sample]:
        """What the outlet is told, of all processes together, or of each apart.

        Lags and pauses are those since the last call, or for a `cumulative` outlet all.
        """
        if cumulative:
            self._taken = {key: each for key, each in self._taken.items() if key[0] != outlet}
        if outlet not in self._plan.notifiers:
            return []
        of_pid = {reader.pid: reader for reader in readers}
        groups: dict[int | None, list[int]] = {None: [pid for pid, _ in processes]}
        if per_process:
            groups = {of_pid[pid].slot: [pid] for pid, _ in processes if pid in of_pid}
        series = f"{prefix}{NAME}"
        return [
            Sample(f"{series}.{suffix}", kind, value, timestamp, series, suffix, slot)
            for slot, pids in groups.items()
            for suffix, kind, value in self._of(outlet, pids, of_pid, now)
        ]

    def _of(
        self, outlet: str, pids: list[int], readers: dict[int, SegmentReader], now: int
    ) -> Iterator[tuple[str, Kind, float | Histogram]]:
        gauges = Gauges()
        lags: dict[str, Counts] = {}
        beats = self.beats([readers[pid] for pid in pids if pid in readers], now)
        for pid in pids:
            gauges = gauges.plus(_of_process(pid))
            if pid in readers:
                gauges = gauges.plus(_of_hubs(readers[pid]))
                for name, counts in self._new_lags(outlet, readers[pid]):
                    lags[name] = lags.get(name, NOTHING).plus(counts)
        for name, counts in lags.items():
            yield name, "histogram", counts.since(NOTHING).durations.scaled(1e-6)
        for name, number in gauges._asdict().items():
            yield name, "gauge", number
        if beats:
            yield "blocked", "gauge", max(beat.blocked for beat in beats)

    def _new_lags(self, outlet: str, reader: SegmentReader) -> Iterator[tuple[str, Counts]]:
        for name, runtime in reader.runtimes.items():
            if name not in LAGS or not runtime.quantities:
                continue
            key = outlet, reader.path, name
            counts = reader.counts(runtime).quantities.get(QUANTITIES.get(name, "lag"), NOTHING)
            activity = counts.since(self._taken.get(key, NOTHING))
            self._taken[key] = counts
            histogram = activity.durations
            if histogram.pairs:
                yield (
                    LAGS[name],
                    NOTHING._replace(
                        pairs=histogram.pairs,
                        total=histogram.total,
                        low=histogram.low,
                        high=counts.high if histogram.high is None else histogram.high,
                    ),
                )


def _standing(words: memoryview, now: int, block_after: float) -> float:
    """For how many seconds the heart has stood, if that is longer than it may."""
    standing = (now - words[layout.R_BEAT] - words[layout.R_EVERY]) / 1e9
    return standing if standing > block_after else 0.0


def _of_hubs(reader: SegmentReader) -> Gauges:
    gauges = Gauges()
    for name, runtime in reader.runtimes.items():
        if name != "gc":
            gauges = gauges.plus(_of_hub(name, reader.words(runtime.entries[-1])))
    return gauges


def _of_hub(name: str, words: memoryview) -> Gauges:
    timers, readers, writers, tasks = (
        words[at] for at in (layout.R_TIMERS, layout.R_READERS, layout.R_WRITERS, layout.R_TASKS)
    )
    waiting = 0 if name == "asyncio" else timers + readers + writers
    return Gauges(
        greenthreads=waiting, timers=timers, readers=readers, writers=writers, tasks=tasks
    )


def _of_process(pid: int) -> Gauges:
    """What the kernel says of the process; nothing once it has ended."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        files = len(os.listdir(f"/proc/{pid}/fd"))
        return Gauges(threads=int(fields[17]), rss=int(fields[21]) * PAGE, open_files=files)
    return Gauges()
