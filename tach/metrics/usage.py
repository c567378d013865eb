"""What notifications report, summed up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tach.histogram import Histogram
    from tach.samples import Activity, Kind


class Usage:
    """The sums of `events` per period and tenant, as a notification each: no series."""

    def measurements(self, activity: Activity) -> Iterator[tuple[str, Kind, float | Histogram]]:  # noqa: ARG002
        """Nothing: it goes another way."""
        return iter(())
