"""The metric type `cpu`: processor time that each call took, of its own thread."""

from __future__ import annotations

from tach.metrics.duration import Duration


class Cpu(Duration):
    """Reports `.cpu`, a histogram in milliseconds."""

    suffix = "cpu"
