"""Samples as an export request of OpenTelemetry's metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    ExponentialHistogramDataPoint,
    Metric,
    NumberDataPoint,
)

import tach
from tach.histogram import Histogram
from tach.notifiers.families import Family, Reading

UNITS = {"seconds": "s", "bytes": "By", "": "1"}
# Each of its buckets is 0.54 % wide, and ours, counted where their middles are, add 0.4 % to that.
SCALE = 7
BUCKETS_AN_OCTAVE = 1 << SCALE
LARGEST_INT = 2**63


class Window(NamedTuple):
    """The time that the numbers are of, in seconds of the epoch; cumulative ones: of the run."""

    start: float
    end: float
    cumulative: bool


def requests(
    readings: Iterable[Reading], window: Window, resource: Mapping[str, str], most: int
) -> list[bytes]:
    """Serialised requests of at most `most` data points each; none of nothing."""
    ordered = sorted(readings, key=lambda each: each[:3])
    chunks = (ordered[first : first + most] for first in range(0, len(ordered), most))
    return [_request(chunk, window, resource).SerializeToString() for chunk in chunks]


def _request(
    readings: Sequence[Reading], window: Window, resource: Mapping[str, str]
) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add()
    of_resource.resource.attributes.extend(map(_attribute, resource, resource.values()))
    of_scope = of_resource.scope_metrics.add()
    of_scope.scope.name, of_scope.scope.version = "tach", tach.__version__
    metrics: dict[tuple[Family, bool], Metric] = {}
    for reading in readings:
        key = reading.family, _can_fall(reading)
        if key not in metrics:
            metrics[key] = _start(of_scope.metrics.add(), *key, window)
        _add(metrics[key], reading, window)
    return request


def _can_fall(reading: Reading) -> bool:
    return not isinstance(reading.value, Histogram) and reading.value < 0


def _start(metric: Metric, family: Family, can_fall: bool, window: Window) -> Metric:
    """Fill in what all data points of a metric have in common."""
    metric.name, metric.description = f"tach.{family.name}", family.description
    metric.unit = UNITS[family.unit]
    temporality = (
        AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        if window.cumulative
        else AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    )
    if family.kind == "counter":
        metric.sum.aggregation_temporality = temporality
        metric.sum.is_monotonic = not can_fall
    elif family.kind == "histogram":
        metric.exponential_histogram.aggregation_temporality = temporality
    return metric


def _add(metric: Metric, reading: Reading, window: Window) -> None:
    if isinstance(reading.value, Histogram):
        histogram = metric.exponential_histogram.data_points.add()
        _fill(histogram, reading.value)
        _place(histogram, reading, window)
        return
    of_kind = metric.sum if reading.family.kind == "counter" else metric.gauge
    number = of_kind.data_points.add()
    if isinstance(reading.value, int) and abs(reading.value) < LARGEST_INT:
        number.as_int = reading.value
    else:
        number.as_double = reading.value
    _place(number, reading, window)
    if reading.family.kind == "gauge":
        number.ClearField("start_time_unix_nano")


def _place(
    point: NumberDataPoint | ExponentialHistogramDataPoint, reading: Reading, window: Window
) -> None:
    """Say when and where it was."""
    point.start_time_unix_nano = int(window.start * 1e9)
    point.time_unix_nano = int(window.end * 1e9)
    if reading.target:
        point.attributes.append(_attribute("target", reading.target))
    if reading.error:
        point.attributes.append(_attribute("error.type", reading.error))


def _fill(point: ExponentialHistogramDataPoint, histogram: Histogram) -> None:
    """Count, sum, least and greatest value are exact; values of 0 and below count as 0."""
    point.count, point.sum, point.scale = histogram.count, histogram.sum, SCALE
    if point.count:
        point.min, point.max = histogram.min, histogram.max
    counts: dict[int, int] = {}
    for low, high, count in histogram.buckets():
        if high <= 0:
            point.zero_count += count
        else:
            index = index_of((max(low, 0) + high) / 2 * histogram.scale)
            counts[index] = counts.get(index, 0) + count
    if counts:
        first = min(counts)
        point.positive.offset = first
        dense = [0] * (max(counts) - first + 1)
        for index, count in counts.items():
            dense[index - first] = count
        point.positive.bucket_counts.extend(dense)


def index_of(value: float) -> int:
    """The bucket that counts a value above 0: index i from base^i, not with it, to base^(i+1)."""
    return math.ceil(math.log2(value) * BUCKETS_AN_OCTAVE) - 1


def _attribute(name: str, value: str) -> KeyValue:
    return KeyValue(key=name, value=AnyValue(string_value=value))
