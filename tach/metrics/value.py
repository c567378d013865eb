"""The metric type `value`: a number taken from each call."""

from __future__ import annotations

from collections.abc import Iterator

from tach.histogram import Histogram
from tach.samples import Activity, Kind, Quantity


class Value:
    """Reports `.value`: the distribution, the latest (`gauge`) or the sum (`counter`)."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def measurements(self, activity: Activity) -> Iterator[tuple[str, Kind, float | Histogram]]:
        """The numbers of the calls that ended."""
        yield from reported("value", self._kind, activity.quantities.get("value"))


def reported(
    suffix: str, kind: Kind, quantity: Quantity | None
) -> Iterator[tuple[str, Kind, float | Histogram]]:
    """The quantity as a series of that kind; nothing where there is no number yet."""
    if quantity is None:
        return
    if kind == "gauge":
        yield suffix, kind, quantity.last
    elif kind == "counter":
        yield suffix, kind, quantity.histogram.sum
    else:
        yield suffix, kind, quantity.histogram
