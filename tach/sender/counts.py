"""What one series has counted: added up over processes, and subtracted to get an interval."""

from __future__ import annotations

from typing import Any, NamedTuple

from tach.histogram import Histogram
from tach.samples import Activity

NEVER = (1 << 64) - 1


class Counts(NamedTuple):
    """Totals of one series; `blocks` as in `Histogram`, times in nanoseconds."""

    blocks: dict[int, int]
    total: int
    low: int
    high: int
    errors: int
    cancelled: int
    ignored: int
    errors_by_type: dict[str, int]

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(
            _merged(self.blocks, other.blocks),
            self.total + other.total,
            min(self.low, other.low),
            max(self.high, other.high),
            self.errors + other.errors,
            self.cancelled + other.cancelled,
            self.ignored + other.ignored,
            _merged(self.errors_by_type, other.errors_by_type),
        )

    def since(self, earlier: Counts) -> Activity:
        """What came on top of `earlier`, which must be an earlier state of the same series."""
        blocks = {
            block: lanes - earlier.blocks.get(block, 0) for block, lanes in self.blocks.items()
        }
        durations = Histogram(
            blocks,
            self.total - earlier.total,
            # A new extreme is one of the interval's; else only its buckets are known.
            low=self.low if self.low < earlier.low else 0,
            high=self.high if self.high > earlier.high else None,
        )
        by_type = {
            name: count - earlier.errors_by_type.get(name, 0)
            for name, count in self.errors_by_type.items()
        }
        return Activity(
            durations,
            self.errors - earlier.errors,
            self.cancelled - earlier.cancelled,
            self.ignored - earlier.ignored,
            {name: count for name, count in by_type.items() if count},
        )

    def to_plain(self) -> tuple[Any, ...]:
        """Values that marshal can write."""
        return tuple(self)


NOTHING = Counts({}, 0, NEVER, -1, 0, 0, 0, {})


def from_plain(values: tuple[Any, ...]) -> Counts:
    """The counts that `to_plain` gave."""
    return Counts(*values)


def _merged(one: dict[Any, int], other: dict[Any, int]) -> dict[Any, int]:
    if not one or not other:
        return one or other  # neither is ever changed, so it may be shared
    both = dict(one)
    for key, value in other.items():
        both[key] = both.get(key, 0) + value
    return both
