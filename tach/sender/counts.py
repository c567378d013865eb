"""What one series has counted: added up over processes, and subtracted to get an interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tach import buckets
from tach.histogram import Histogram
from tach.samples import Activity, Quantity, Running

NEVER = 1 << 400  # beyond all that is counted, as is -NEVER


class Counts(NamedTuple):
    """Totals of one series; `pairs` as in `Histogram`, times in nanoseconds.

    `quantities` are those of the same calls; `scale` and `last` are for them: what to multiply with
    to get a quantity's own numbers, and the latest of these.
    """

    pairs: bytes
    total: int
    low: int
    high: int
    errors: int
    cancelled: int
    ignored: int
    errors_by_type: dict[str, int]
    aborted: int = 0
    quantities: dict[str, Any] = {}  # noqa: RUF012 - name -> Counts; a default, never changed
    scale: float = 1.0
    last: float = 0.0

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(
            buckets.added((self.pairs, other.pairs)),
            self.total + other.total,
            min(self.low, other.low),
            max(self.high, other.high),
            self.errors + other.errors,
            self.cancelled + other.cancelled,
            self.ignored + other.ignored,
            merged(self.errors_by_type, other.errors_by_type),
            self.aborted + other.aborted,
            added(self.quantities, other.quantities),
            other.scale if other.pairs else self.scale,
            other.last if other.pairs else self.last,
        )

    def minus(self, earlier: Counts) -> Counts:
        """What came on top of `earlier`, an earlier state of the same series: `plus` undone.

        But for `low` and `high`, which are those of all calls.
        """
        by_type = {
            name: count - earlier.errors_by_type.get(name, 0)
            for name, count in self.errors_by_type.items()
            if count > earlier.errors_by_type.get(name, 0)
        }
        quantities = {
            name: each.minus(earlier.quantities.get(name, NOTHING))
            for name, each in self.quantities.items()
        }
        return Counts(
            buckets.difference(self.pairs, earlier.pairs),
            self.total - earlier.total,
            self.low,
            self.high,
            self.errors - earlier.errors,
            self.cancelled - earlier.cancelled,
            self.ignored - earlier.ignored,
            by_type,
            self.aborted - earlier.aborted,
            quantities,
            self.scale,
            self.last,
        )

    def activity(self, earlier: Counts, running: Running = Running()) -> Activity:  # noqa: B008 - flat
        """What is told of these counts, which came on top of `earlier`; `running` is what runs."""
        quantities = {
            name: Quantity(each.durations(earlier.quantities.get(name, NOTHING)), each.last)
            for name, each in self.quantities.items()
        }
        return Activity(
            self.durations(earlier),
            self.errors,
            self.cancelled,
            self.ignored,
            self.errors_by_type,
            self.aborted,
            quantities,
            running,
        )

    def durations(self, earlier: Counts) -> Histogram:
        """The distribution of these counts, which came on top of `earlier`."""
        # A new extreme is one of the interval's; else only its buckets are known.
        low = self.low if self.low < earlier.low else 0
        high = self.high if self.high > earlier.high else None
        return Histogram(self.pairs, self.total, low, high, self.scale)

    def since(self, earlier: Counts) -> Activity:
        """What came on top of `earlier`, an earlier state of the same series."""
        return self.minus(earlier).activity(earlier)

    def to_plain(self) -> tuple[Any, ...]:
        """Values that marshal can write."""
        if not self.quantities:
            return tuple(self)
        quantities = {name: each.to_plain() for name, each in self.quantities.items()}
        return tuple(self._replace(quantities=quantities))


NOTHING = Counts(b"", 0, NEVER, -NEVER, 0, 0, 0, {})


def together(all_of_them: Sequence[Counts]) -> Counts:
    """What `plus` would make of them one after the other, at a third of the cost."""
    if len(all_of_them) < 2:
        return all_of_them[0] if all_of_them else NOTHING
    errors_by_type: dict[str, int] = {}
    quantities: dict[str, Counts] = {}
    scale, last = NOTHING.scale, NOTHING.last
    for each in all_of_them:
        errors_by_type = merged(errors_by_type, each.errors_by_type)
        quantities = added(quantities, each.quantities)
        if each.pairs:
            scale, last = each.scale, each.last
    pairs, totals, lows, highs, errors, cancelled, ignored, _, aborted, *_ = zip(
        *all_of_them, strict=True
    )
    return Counts(
        buckets.added(pairs),
        sum(totals),
        min(lows),
        max(highs),
        sum(errors),
        sum(cancelled),
        sum(ignored),
        errors_by_type,
        sum(aborted),
        quantities,
        scale,
        last,
    )


def from_plain(values: tuple[Any, ...]) -> Counts:
    """The counts that `to_plain` gave."""
    found = Counts(*values)
    if not found.quantities:
        return found
    quantities = {name: from_plain(each) for name, each in found.quantities.items()}
    return found._replace(quantities=quantities)


def added(one: dict[str, Counts], other: dict[str, Counts]) -> dict[str, Counts]:
    """The counts of both by name."""
    if not one or not other:
        return one or other
    both = dict(one)
    for name, each in other.items():
        both[name] = both[name].plus(each) if name in both else each
    return both


def merged(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """The numbers of both by name."""
    if not one or not other:
        return one or other  # neither is ever changed, so it may be shared
    both = dict(one)
    for key, value in other.items():
        both[key] = both.get(key, 0) + value
    return both
