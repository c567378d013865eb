"""The metric type `waiting`: the part of each call in which it was switched out."""

from __future__ import annotations

from tach.metrics.duration import Duration


class Waiting(Duration):
    """Reports `.waiting`, a histogram in milliseconds."""

    suffix = "waiting"
