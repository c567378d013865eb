"""The metric type `total`: the time in the queue and the call's own, of each call."""

from __future__ import annotations

from tach.metrics.duration import Duration


class Total(Duration):
    """Reports `.total`, a histogram in milliseconds, where the time in the queue is known."""

    suffix = "total"
