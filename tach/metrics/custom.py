"""Metric types of somebody else's, `module:Class`, as the program itself runs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from tach.histogram import Histogram
from tach.metrics.value import reported
from tach.samples import Activity, Kind

KINDS = ("histogram", "gauge", "counter")


class Custom:
    """Reports the numbers of one type, under the suffix and as the kind that it declares."""

    def __init__(self, where: str) -> None:
        self._where = where

    def measurements(self, activity: Activity) -> Iterator[tuple[str, Kind, float | Histogram]]:
        """Its numbers of the calls that ended."""
        for name, quantity in activity.quantities.items():
            where, _, declared = name.partition("|")
            suffix, _, kind = declared.partition("|")
            if where == self._where:
                kind = kind if kind in KINDS else KINDS[0]
                yield from reported(suffix, cast("Kind", kind), quantity)
