"""What metric types have in common that measure another time of each call than its duration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from tach.histogram import Histogram
from tach.samples import Activity, Kind


class Duration:
    """Reports the quantity named `suffix`, a histogram in milliseconds."""

    suffix: ClassVar[str]

    def measurements(self, activity: Activity) -> Iterator[tuple[str, Kind, float | Histogram]]:
        """The times of the calls that ended."""
        quantity = activity.quantities.get(self.suffix)
        histogram = quantity.histogram.scaled(1e-6) if quantity else Histogram()
        yield self.suffix, "histogram", histogram
