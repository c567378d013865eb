"""The metric type `running`: the part of each call in which its greenthread or coroutine ran."""

from __future__ import annotations

from tach.metrics.duration import Duration


class Running(Duration):
    """Reports `.running`, a histogram in milliseconds."""

    suffix = "running"
