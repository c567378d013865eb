"""The metric type `debug`: each measurement in words, on stderr and in the sender's log."""

from __future__ import annotations

from collections.abc import Iterator

from tach.histogram import Histogram
from tach.samples import Activity, Kind


class Debug:
    """Reports no series: the sender writes its lines as they come."""

    def measurements(self, _activity: Activity) -> Iterator[tuple[str, Kind, float | Histogram]]:
        """Nothing."""
        yield from ()
