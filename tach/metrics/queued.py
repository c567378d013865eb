"""The metric type `queued`: how long each call had waited before it began."""

from __future__ import annotations

from tach.metrics.duration import Duration


class Queued(Duration):
    """Reports `.queued`, a histogram in milliseconds, of the calls of which it is known."""

    suffix = "queued"
