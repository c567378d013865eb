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
        """One counter each, 0 included."""
        yield "errors", "counter", activity.errors
        for name, count in activity.errors_by_type.items():
            yield f"errors.by_type.{name}", "counter", count
        yield "cancelled", "counter", activity.cancelled
        yield "ignored", "counter", activity.ignored
