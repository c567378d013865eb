"""The metric type `yields`: how often each call was switched out."""

from __future__ import annotations

from collections.abc import Iterator

from tach.histogram import Histogram
from tach.metrics.value import reported
from tach.samples import Activity, Kind


class Yields:
    """Reports `.yields`, a histogram."""

    def measurements(self, activity: Activity) -> Iterator[tuple[str, Kind, float | Histogram]]:
        """The numbers of the calls that ended."""
        yield from reported("yields", "histogram", activity.quantities.get("yields"))
