"""How often calls happen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tach.histogram import Histogram
    from tach.samples import Activity, Kind


class Count:
    """The number of calls that ended, normally or not: `.calls`."""

    def measurements(self, activity: Activity) -> Iterator[tuple[str, Kind, float | Histogram]]:
        """The number of calls, 0 included."""
        yield "calls", "counter", activity.durations.count
