"""The metric type `service`: the call's own time, without that in the queue."""

from __future__ import annotations

from collections.abc import Iterator

from tach.histogram import Histogram
from tach.samples import Activity, Kind

MILLISECONDS = 1e-6


class Service:
    """Reports `.service`, a histogram in milliseconds: what `timing` reports as `.duration`."""

    def measurements(self, activity: Activity) -> Iterator[tuple[str, Kind, float | Histogram]]:
        """The times of the calls that ended."""
        yield "service", "histogram", activity.durations.scaled(MILLISECONDS)
