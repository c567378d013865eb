"""How calls fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tach.histogram import Histogram
    from tach.samples import Activity, Kind


class Exceptions:
    """The calls that raised: `.errors`, `.errors.by_type.<Class>`, `.cancelled`, `.ignored`."""

    def measurements(self, activity: Activity) -> Iterator[tuple[str, Kind, float | Histogram]]:
        """One counter each, but none that is 0."""
        counts = {
            "errors": activity.errors,
            **{f"errors.by_type.{name}": n for name, n in activity.errors_by_type.items()},
            "cancelled": activity.cancelled,
            "ignored": activity.ignored,
        }
        for suffix, count in counts.items():
            if count:
                yield suffix, "counter", count
