"""The samples of an interval as notifications: one for each series."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from math import isfinite
from typing import TYPE_CHECKING, Any

from tach.histogram import Histogram
from tach.notifiers.oslo_message import notification

if TYPE_CHECKING:
    from tach.samples import Batch, Event, Sample

PAYLOAD_VERSION = 1
COUNTERS = ("errors", "cancelled", "ignored")
BY_TYPE = "errors.by_type."
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def metrics_messages(batch: Batch, publisher_id: str) -> list[Event]:
    """A notification `<series>.metrics` for each series of the batch, in the batch's order."""
    by_series: dict[str, list[Sample]] = {}
    for sample in batch.samples:
        by_series.setdefault(sample.series, []).append(sample)
    return [
        notification(f"{series}.metrics", payload(series, samples, batch), publisher_id, batch.end)
        for series, samples in by_series.items()
    ]


def payload(series: str, samples: Iterable[Sample], batch: Batch) -> dict[str, Any]:
    """What the calls of one series did in the interval of the batch, as JSON data.

    A counter without a sample is 0: the sender leaves out what is no news. `calls` is null where
    neither calls nor durations are measured, `duration_ms` where no duration is. What other types
    of metrics measure is in `values`, by its suffix.
    """
    values = {sample.suffix: _plain(sample.value) for sample in samples}
    durations = values.pop("duration", None)
    found = {
        "tach_version": PAYLOAD_VERSION,
        "series": series,
        "start": _iso(batch.start),
        "end": _iso(batch.end),
        "calls": values.pop("calls", durations and durations["count"]),
        **{name: values.pop(name, 0) for name in COUNTERS},
        "errors_by_type": {
            name.removeprefix(BY_TYPE): values.pop(name)
            for name in list(values)
            if name.startswith(BY_TYPE)
        },
        "duration_ms": durations,
    }
    return {**found, "values": values} if values else found


def _plain(value: float | Histogram) -> Any:
    if not isinstance(value, Histogram):
        return value if isfinite(value) else None
    quantiles = value.quantiles(list(PERCENTILES.values()))
    return {
        "count": value.count,
        "sum": value.sum,
        "min": value.min,
        "max": value.max,
        "mean": value.mean,
        **dict(zip(PERCENTILES, quantiles, strict=True)),
    }


def _iso(timestamp: float) -> str:
    moment = datetime.fromtimestamp(timestamp, timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
