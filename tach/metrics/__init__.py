"""The metric types, by the name that the configuration gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tach.samples import Metric

GROUP = "tach.metrics"
BUILTIN = {
    "count": "tach.metrics.count:Count",
    "events": "tach.metrics.events:Events",
    "exceptions": "tach.metrics.exceptions:Exceptions",
    "timing": "tach.metrics.timing:Timing",
    "usage": "tach.metrics.usage:Usage",
}


def names() -> list[str]:
    """The metric types that can be used: built-in ones and entry points, sorted."""
    from tach import registry

    return registry.names(GROUP, BUILTIN)


def load(name: str) -> type[Metric]:
    """The class of a metric type; KeyError if there is none of that name."""
    from tach import registry

    return registry.load(GROUP, BUILTIN, name)
