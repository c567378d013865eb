"""The metric type `max_run`: the longest stretch of each call without yielding."""

from __future__ import annotations

from tach.metrics.duration import Duration


class MaxRun(Duration):
    """Reports `.max_run`, a histogram in milliseconds."""

    suffix = "max_run"
