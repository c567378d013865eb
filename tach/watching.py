"""Reads what the processes of a run record, beside its sender and without disturbing it."""

from __future__ import annotations

import contextlib
import os
import time
from typing import NamedTuple

from tach import layout, rundir
from tach.histogram import Histogram
from tach.plan import Plan
from tach.sender.counts import NOTHING, Counts, from_plain
from tach.sender.log import RecordLog
from tach.sender.segments import NotASegment, SegmentReader
from tach.sender.totals import RETIRED


class Reading(NamedTuple):
    """One series at one moment; `oldest` is the age of the oldest running call in seconds."""

    counts: Counts
    active: int = 0
    oldest: float = 0.0


class Change(NamedTuple):
    """What a series has done between two readings `seconds` apart, and what it has come to."""

    name: str
    seconds: float
    calls: int
    errors: int
    durations: Histogram
    total_calls: int
    total_errors: int
    active: int
    oldest: float

    @property
    def rate(self) -> float:
        """Calls that ended, a second."""
        return self.calls / self.seconds if self.seconds else 0.0


class Watch:
    """Follows the run in `directory`. Raises OSError where there is none."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.run = rundir.read(directory)
        self._plan = Plan.from_json(self.run.plan)
        self._plan_of = _inode(directory)
        self._readers: dict[str, SegmentReader] = {}
        self._before: dict[str, Reading] = {}
        self._read_at = 0.0

    def is_over(self) -> bool:
        """Whether the run has ended."""
        return not os.path.exists(os.path.join(self._directory, layout.RUN))

    def changes(self) -> list[Change]:
        """What each series has done since the last call (the first time: since it began)."""
        now = time.monotonic()
        seconds = now - self._read_at if self._read_at else 0.0
        readings = self._readings()
        changes = [
            _change(name, seconds, self._before.get(name), reading)
            for name, reading in readings.items()
        ]
        self._before, self._read_at = readings, now
        return changes

    def processes(self) -> int:
        """How many processes of the run have recorded anything, and live."""
        return len(self._readers)

    def _take_up_plan(self) -> None:
        """The configuration may have been changed since."""
        inode = _inode(self._directory)
        if inode not in (0, self._plan_of):
            with contextlib.suppress(OSError):
                self.run = rundir.read(self._directory)
                self._plan, self._plan_of = Plan.from_json(self.run.plan), inode

    def _readings(self) -> dict[str, Reading]:
        self._take_up_plan()
        self._take_up_segments()
        readings = {name: Reading(counts) for name, counts in self._retired().items()}
        now = time.monotonic_ns()
        for reader in self._readers.values():
            with contextlib.suppress(NotASegment):
                reader.find_new()
            for series in reader.series:
                if series.target < len(self._plan.targets):
                    name = series.own_name or self._plan.targets[series.target].name
                    before = readings.get(name, Reading(NOTHING))
                    running = reader.running(series, now)
                    readings[name] = Reading(
                        before.counts.plus(reader.counts(series)),
                        before.active + running.active,
                        max(before.oldest, running.oldest),
                    )
        return readings

    def _retired(self) -> dict[str, Counts]:
        """What processes left that have ended, by the name of the series without the prefix."""
        found: dict[str, Counts] = {}
        for _, last in RecordLog(os.path.join(self._directory, RETIRED)).read(repair=False):
            for key, target, _slot, plain in last:
                name = self._own_name(key, target)
                found[name] = found.get(name, NOTHING).plus(from_plain(plain))
        return found

    def _own_name(self, key: str, target: int) -> str:
        """The name of a series without the run's prefix."""
        plan = self._plan
        if plan.prefix and target < len(plan.targets):
            own = plan.targets[target].name
            return (
                own if key.endswith(f".{own}") else key.split(".", plan.prefix.count(".") + 1)[-1]
            )
        return key

    def _take_up_segments(self) -> None:
        names = [
            each for each in os.listdir(self._directory) if each.endswith(layout.SEGMENT_SUFFIX)
        ]
        for name in self._readers.keys() - set(names):
            self._readers.pop(name).close()
        for name in names:
            path = os.path.join(self._directory, name)
            if name not in self._readers and os.stat(path).st_size:
                with contextlib.suppress(OSError, NotASegment):  # not begun yet, or just gone
                    self._readers[name] = SegmentReader(path)


def _inode(directory: str) -> int:
    """The number of the file that holds the run's plan; 0 once the run is over."""
    try:
        return os.stat(os.path.join(directory, layout.RUN)).st_ino
    except OSError:
        return 0


def _change(name: str, seconds: float, before: Reading | None, now: Reading) -> Change:
    earlier = before.counts if before is not None else NOTHING
    if before is not None and now.counts.total < earlier.total:
        earlier = now.counts  # a process has ended between the two looks at it
    news = now.counts.since(earlier)
    return Change(
        name,
        seconds,
        news.durations.count,
        news.errors,
        news.durations.scaled(1e-6),
        now.counts.since(NOTHING).durations.count,
        now.counts.errors,
        now.active,
        now.oldest,
    )
