"""The metric type `own`: the time of each call without that of the measured calls within it."""

from __future__ import annotations

from collections.abc import Iterator

from tach.histogram import Histogram
from tach.metrics.duration import Duration
from tach.samples import Activity, Kind

BY = "by "  # what names of quantities begin with that count the calls of one caller


class Own(Duration):
    """Reports `.own`, a histogram in milliseconds.

    Option `callers`: also `.nested`, the times of calls inside other calls of the same function,
    `.waiting` of generators and coroutines, and for each measured function that called it the times
    of those calls, as `.callers.<name>`.
    """

    suffix = "own"

    def __init__(self, callers: bool = False) -> None:
        if not isinstance(callers, bool):
            raise ValueError(f"callers {callers!r} must be true or false")
        self._callers = callers

    def measurements(self, activity: Activity) -> Iterator[tuple[str, Kind, float | Histogram]]:
        """The times of the calls that ended."""
        yield from super().measurements(activity)
        if not self._callers:
            return
        for name, quantity in activity.quantities.items():
            if name in ("nested", "waiting"):
                yield name, "histogram", quantity.histogram.scaled(1e-6)
            elif name.startswith(BY):
                suffix = f"callers.{name[len(BY) :]}"
                yield suffix, "histogram", quantity.histogram.scaled(1e-6)
