"""The samples of one step of graphite's time, added up, and the points that they become."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tach.histogram import Histogram
from tach.samples import Batch, Kind, Sample

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
MAXIMUM = "_max"  # ends the suffix of a gauge that holds the greatest value of the interval


class Series(NamedTuple):
    """One series of a step: `value` is what its samples come to."""

    kind: Kind
    suffix: str
    value: float | Histogram


class Step:
    """The batches that belong to one step: [start, start + length), whole seconds.

    Carbon keeps what it was sent last, so a second batch of a step must bring the first along.
    """

    def __init__(self, start: int, length: int) -> None:
        self.start = start
        self._length = length
        self._covered = 0.0
        self._series: dict[str, Series] = {}

    def add(self, batch: Batch) -> None:
        """Take in a batch: counts add up, distributions merge, of gauges the last one stays."""
        self._covered += max(0.0, batch.end - batch.start)
        for sample in batch.samples:
            path = path_of(sample)
            before = self._series.get(path)
            value = _together(before, sample) if before else sample.value
            self._series[path] = Series(sample.kind, sample.suffix, value)

    def points(self) -> Iterator[tuple[str, float]]:
        """Each path with its value in this step."""
        # Rates times the step come to the count, also where a run begins or ends in the step or the
        # sender was some milliseconds late; but a batch that came far too late holds many steps.
        seconds = self._length * max(1, round(self._covered / self._length))
        for path, series in self._series.items():
            yield from _points(path, series, seconds)


def step_start(batch: Batch, length: int) -> int:
    """When the step began that the batch belongs to, never later than its end."""
    # Of several steps (the sender was suspended, or the clock put forward) the last that passed: it
    # is right for a clock that jumped, and where alerts look. To spread the calls over all of them
    # would invent values; so the steps before are a gap, which shows, and the sum stays right.
    first = min(batch.start, batch.end) // length
    return int(max(first, batch.end // length - 1)) * length


def path_of(sample: Sample) -> str:
    """Where the sample's points are kept: each process apart if its samples are."""
    if sample.slot is None:
        return sample.name
    return f"{sample.series}.process-{sample.slot}.{sample.suffix}"


def _together(before: Series, sample: Sample) -> float | Histogram:
    old, new = before.value, sample.value
    if isinstance(old, Histogram) or isinstance(new, Histogram):
        histograms = [each for each in (old, new) if isinstance(each, Histogram) and each.count]
        return _merged(histograms) if histograms else new
    if sample.kind == "counter":
        return old + new
    return max(old, new) if sample.suffix.endswith(MAXIMUM) else new


def _merged(histograms: Sequence[Histogram]) -> Histogram:
    whole = functools.reduce(Histogram.plus, histograms)
    return Histogram(
        whole.pairs,
        whole.total,
        min(each.buckets()[0][0] for each in histograms),
        max(each.buckets()[-1][1] for each in histograms),
        histograms[0].scale,
    )


def _points(path: str, series: Series, seconds: int) -> Iterator[tuple[str, float]]:
    value = series.value
    if isinstance(value, Histogram):
        yield from _distribution(path, value, seconds)
    elif series.kind == "gauge":
        yield _gauge_path(path), value
    elif series.suffix == "cancelled" or series.suffix.startswith("errors.by_type."):
        yield f"{path}.count", value
    else:
        # Beside it stand the directories of its types.
        whole = f"{path}.total" if series.suffix == "errors" else path
        yield f"{whole}.count", value
        yield f"{whole}.rate", value / seconds


def _distribution(path: str, values: Histogram, seconds: int) -> Iterator[tuple[str, float]]:
    count = values.count
    yield f"{path}.count", count
    yield f"{path}.rate", count / seconds
    if not count:
        return  # nothing took no time: a 0 would spoil every average
    for name in ("sum", "min", "max", "mean"):
        yield f"{path}.{name}", getattr(values, name)
    percentiles = values.quantiles(list(PERCENTILES.values()))
    for name, value in zip(PERCENTILES, percentiles, strict=True):
        yield f"{path}.{name}", value


def _gauge_path(path: str) -> str:
    return f"{path.removesuffix(MAXIMUM)}.max" if path.endswith(MAXIMUM) else f"{path}.last"
