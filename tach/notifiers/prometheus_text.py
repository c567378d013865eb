"""Prometheus' text format 0.0.4, and OpenMetrics 1.0, of families of readings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf, isfinite, isnan, nan
from typing import NamedTuple

from tach.histogram import Histogram

PLAIN_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# Of what neither has a type of its own in the older format.
PLAIN_KINDS = {"info": "gauge"}
# What names of samples have beside that of the family; in the older format the family has it too.
ENDINGS = {"counter": "_total", "info": "_info"}
# Bounds of our own buckets, where nothing is rounded: 2^k - 1 nanoseconds, 16 µs to 34 s.
SECONDS = tuple((2**k - 1) / 1e9 for k in range(14, 36))
NUMBERS = (0.0, *(digit * 10.0**power for power in range(6) for digit in (1, 2, 5)), 1e6)

Labels = tuple[tuple[str, str], ...]


class Point(NamedTuple):
    """A value of a family. Of a summary, `quantiles` go with the histogram."""

    labels: Labels
    value: float | Histogram
    quantiles: Mapping[float, float] = {}


class Metric(NamedTuple):
    """A family: `name` as all its samples begin, `kind` its type in OpenMetrics."""

    name: str
    kind: str
    unit: str
    help: str
    points: Sequence[Point]


def metric_name(*words: str) -> str:
    """The words as a valid name, with `_` between them."""
    return re.sub(r"[^A-Za-z0-9_]", "_", "_".join(word for word in words if word))


def exposition(metrics: Iterable[Metric], bounds: Sequence[float] | None, openmetrics: bool) -> str:
    """The text of all metrics, in one of both formats.

    `bounds` are those of the histograms' buckets, ascending and without the infinite one; None for
    `SECONDS`, and of what are no times `NUMBERS`.
    """
    lines = [line for metric in metrics for line in _lines(metric, bounds, openmetrics)]
    if openmetrics:
        lines.append("# EOF")
    return "".join(f"{line}\n" for line in lines)


def _lines(metric: Metric, bounds: Sequence[float] | None, openmetrics: bool) -> Iterator[str]:
    name = metric.name if openmetrics else metric.name + ENDINGS.get(metric.kind, "")
    kind = metric.kind if openmetrics else PLAIN_KINDS.get(metric.kind, metric.kind)
    if metric.help:
        yield f"# HELP {name} {_escaped(metric.help) if openmetrics else metric.help}"
    yield f"# TYPE {name} {kind}"
    if metric.unit and openmetrics:
        yield f"# UNIT {name} {metric.unit}"
    if bounds is None:
        bounds = SECONDS if metric.unit == "seconds" else NUMBERS
    for point in metric.points:
        if metric.kind == "histogram":
            yield from _histogram(metric.name, point, bounds, openmetrics)
        elif metric.kind == "summary":
            yield from _summary(metric.name, point, openmetrics)
        elif not isinstance(point.value, Histogram):
            yield _line(metric.name + ENDINGS.get(metric.kind, ""), point.labels, point.value)


def _histogram(
    name: str, point: Point, bounds: Sequence[float], openmetrics: bool
) -> Iterator[str]:
    if not isinstance(point.value, Histogram):
        return
    count = point.value.count
    for bound, below in zip(bounds, counts_below(point.value, bounds), strict=True):
        yield _line(f"{name}_bucket", (*point.labels, ("le", _number(bound))), below)
    yield _line(f"{name}_bucket", (*point.labels, ("le", "+Inf")), count)
    yield from _sums(name, point.labels, point.value, openmetrics)


def _summary(name: str, point: Point, openmetrics: bool) -> Iterator[str]:
    if not isinstance(point.value, Histogram):
        return
    for fraction, value in point.quantiles.items():
        yield _line(name, (*point.labels, ("quantile", _number(fraction))), value)
    yield from _sums(name, point.labels, point.value, openmetrics)


def _sums(name: str, labels: Labels, histogram: Histogram, openmetrics: bool) -> Iterator[str]:
    # To OpenMetrics a sum is a counter: there is none of what can be below 0, nor a count without.
    if not openmetrics or histogram.min >= 0:
        yield _line(f"{name}_sum", labels, histogram.sum)
        yield _line(f"{name}_count", labels, histogram.count)


def counts_below(histogram: Histogram, bounds: Sequence[float]) -> list[int]:
    """How many values are at most each of the bounds, which ascend.

    A bucket counts if its least value does. So a bound that lies within one of our buckets stands
    for the end of that: it is less than 1 % higher.
    """
    per_unit = round(1 / histogram.scale) if histogram.scale <= 1 else 1 / histogram.scale
    buckets = histogram.buckets()
    counts, below, at = [], 0, 0
    for bound in bounds:
        # Where the product is a whole number but for a rounding error, it is that.
        limit = round(bound * per_unit, 3)
        while at < len(buckets) and buckets[at][0] <= limit:
            below += buckets[at][2]
            at += 1
        counts.append(below)
    return counts


class Recent:
    """Quantiles of the last minute or two, of histograms that hold the totals of a run.

    Of series that began before there were any numbers they are those since the start.
    """

    WINDOW = 60.0

    def __init__(self, fractions: Sequence[float]) -> None:
        self.fractions = sorted(fractions)
        self._earlier: dict[object, Histogram] = {}
        self._middle: dict[object, Histogram] = {}
        self._since = -inf

    def take(self, now: float, histograms: dict[object, Histogram]) -> None:
        """Take note of the totals at `now`, in seconds."""
        if self._since == -inf:
            self._since = now
        elif now - self._since >= self.WINDOW:
            self._earlier, self._middle, self._since = self._middle, histograms, now

    def quantiles(self, key: object, histogram: Histogram) -> dict[float, float]:
        """What came on top lately of what was noted under `key`; nan if that is nothing."""
        earlier = self._earlier.get(key)
        recent = histogram if earlier is None else histogram.since(earlier)
        values = recent.quantiles(self.fractions) if recent.count else [nan] * len(self.fractions)
        return dict(zip(self.fractions, values, strict=True))


def _line(name: str, labels: Labels, value: float) -> str:
    inner = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{name}{{{inner}}} {_number(value)}" if inner else f"{name} {_number(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if isfinite(value):
        return str(value) if isinstance(value, int) else repr(float(value))
    return "NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf"
