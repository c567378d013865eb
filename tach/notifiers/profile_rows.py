"""The functions of a profile, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tach.histogram import Histogram

if TYPE_CHECKING:
    from tach.samples import Sample

VERSION = 2
BARS = 16
CALLERS = "callers."  # what suffixes begin with that tell of the calls from one function
SMALL = 0.001  # milliseconds a call: of less, tach itself is a large part


class Caller(NamedTuple):
    """What the calls from one function have come to, `total` in milliseconds."""

    name: str
    calls: int
    total: float


class Row(NamedTuple):
    """One function; times in milliseconds.

    `own` is the time in it without that of the measured calls within, of coroutines and generators
    that of their steps; `total` is from its outermost calls' begin to their end. `waiting` is None
    where it was not measured. `bars` are counts of calls in BARS steps of equal ratio from `low` to
    `max`. `callers` are the measured functions that called it, the greatest total first. `running`
    are calls that have not ended: they run now, or have been cut short by the end of their process.
    """

    name: str
    calls: int
    errors: int
    own: float
    total: float
    mean: float
    p50: float
    p95: float
    p99: float
    max: float
    low: float
    waiting: float | None
    bars: tuple[int, ...]
    callers: tuple[Caller, ...] = ()
    running: int = 0

    @property
    def is_small(self) -> bool:
        """Whether measuring its calls takes longer than many of them do."""
        return 0 < self.p50 < SMALL

    def limits(self) -> list[float]:
        """The upper limits of the bars."""
        low, ratio = _scale(self.low, self.max)
        return [low * ratio ** (step + 1) for step in range(len(self.bars))]


class Profile(NamedTuple):
    """A whole profile: the command, its seconds, the functions by own time, remarks."""

    command: str
    seconds: float
    rows: list[Row]
    notes: list[str]

    @property
    def own(self) -> float:
        """The own time of all functions together, in milliseconds."""
        return sum(row.own for row in self.rows)

    def to_plain(self) -> dict[str, Any]:
        """What JSON can hold; `from_plain` reads it."""
        return {
            "version": VERSION,
            "command": self.command,
            "seconds": self.seconds,
            "functions": [
                {**row._asdict(), "callers": [each._asdict() for each in row.callers]}
                for row in self.rows
            ],
            "notes": self.notes,
        }


def from_plain(plain: dict[str, Any]) -> Profile:
    """The profile that `to_plain` made. Raises KeyError, TypeError or ValueError for all else."""
    if plain["version"] != VERSION:
        raise ValueError(f"it is of version {plain['version']}, not {VERSION}")
    found = [
        Row(
            **{
                **each,
                "bars": tuple(each["bars"]),
                "callers": tuple(Caller(**caller) for caller in each["callers"]),
            }
        )
        for each in plain["functions"]
    ]
    return Profile(plain["command"], plain["seconds"], found, list(plain["notes"]))


def rows(samples: Sequence[Sample]) -> list[Row]:
    """The functions that were called, the greatest own time first."""
    by_series: dict[str, dict[str, Any]] = {}
    for sample in samples:
        by_series.setdefault(sample.series, {})[sample.suffix] = sample.value
    found = [
        _row(name, values)
        for name, values in by_series.items()
        if "duration" in values and (values["duration"].count or _running(values))
    ]
    return sorted(found, key=lambda row: (-row.own, row.name))


def _row(name: str, values: dict[str, Any]) -> Row:
    durations: Histogram = values["duration"]
    p50, p95, p99 = durations.quantiles([0.5, 0.95, 0.99])
    own: Histogram = values.get("own", durations)
    nested: Histogram = values.get("nested", Histogram())
    waiting: Histogram | None = values.get("waiting")
    return Row(
        name,
        durations.count,
        int(values.get("errors", 0)),
        own.sum,
        durations.sum - nested.sum,
        durations.mean,
        p50,
        p95,
        p99,
        durations.max,
        durations.min,
        waiting.sum if waiting is not None and waiting.count else None,
        _bars(durations),
        tuple(sorted(_callers(values), key=lambda each: (-each.total, each.name))),
        _running(values),
    )


def _running(values: dict[str, Any]) -> int:
    return int(values.get("inflight", 0) + values.get("aborted", 0))


def _callers(values: dict[str, Any]) -> list[Caller]:
    return [
        Caller(suffix.removeprefix(CALLERS), histogram.count, histogram.sum)
        for suffix, histogram in values.items()
        if suffix.startswith(CALLERS) and histogram.count
    ]


def _scale(least: float, greatest: float) -> tuple[float, float]:
    """Where the bars begin, and the ratio of the limits of each."""
    low, high = max(least, 1e-6), max(greatest, 2e-6)
    return low, (high / low) ** (1 / BARS) if high > low else 2.0


def _bars(durations: Histogram) -> tuple[int, ...]:
    low, ratio = _scale(durations.min, durations.max)
    bars = [0] * BARS
    limits = [low * ratio ** (step + 1) for step in range(BARS)]
    for _, greatest, count in durations.buckets():
        value = greatest * durations.scale
        bars[next((place for place, limit in enumerate(limits) if value <= limit), -1)] += count
    return tuple(bars)
