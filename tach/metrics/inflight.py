"""The metric type `inflight`: calls that run now, and those that were cut short."""

from __future__ import annotations

from collections.abc import Iterator

from tach.histogram import Histogram
from tach.samples import Activity, Kind


class Inflight:
    """Reports the calls that run now, their peak, the age of the oldest, and those that died.

    `.inflight` is a gauge; `.inflight_max` the greatest number since the last report, of each
    process, added up; `.oldest` is in seconds; `.aborted` counts calls that had not ended when
    their process did.
    """

    def measurements(self, activity: Activity) -> Iterator[tuple[str, Kind, float | Histogram]]:
        """All four."""
        running = activity.running
        yield "inflight", "gauge", running.active
        yield "inflight_max", "gauge", running.peak
        yield "oldest", "gauge", running.oldest
        yield "aborted", "counter", activity.aborted
