"""How long calls take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tach.histogram import Histogram
    from tach.samples import Activity, Kind

MILLISECONDS = 1e-6


class Timing:
    """The wall time in milliseconds of each call that ended, normally or not: `.duration`."""

    def measurements(self, activity: Activity) -> Iterator[tuple[str, Kind, float | Histogram]]:
        """The durations, also where no call ended."""
        yield "duration", "histogram", activity.durations.scaled(MILLISECONDS)
