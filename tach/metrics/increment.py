"""The metric type `increment`: a fixed amount that each call adds."""

from __future__ import annotations

from collections.abc import Iterator

from tach.histogram import Histogram
from tach.samples import Activity, Kind


class Increment:
    """Reports `.total`, a counter: `amount`, which may be negative, for each call that ended."""

    def __init__(self, amount: float) -> None:
        self._amount = amount

    def measurements(self, activity: Activity) -> Iterator[tuple[str, Kind, float | Histogram]]:
        """What the calls have added."""
        yield "total", "counter", activity.durations.count * self._amount
