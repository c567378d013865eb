"""The metric types, by the name that the configuration gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from tach.samples import Metric

GROUP = "tach.metrics"
BUILTIN = {
    "count": "tach.metrics.count:Count",
    "cpu": "tach.metrics.cpu:Cpu",
    "debug": "tach.metrics.debug:Debug",
    "events": "tach.metrics.events:Events",
    "exceptions": "tach.metrics.exceptions:Exceptions",
    "increment": "tach.metrics.increment:Increment",
    "inflight": "tach.metrics.inflight:Inflight",
    "max_run": "tach.metrics.max_run:MaxRun",
    "own": "tach.metrics.own:Own",
    "queued": "tach.metrics.queued:Queued",
    "running": "tach.metrics.running:Running",
    "service": "tach.metrics.service:Service",
    "timing": "tach.metrics.timing:Timing",
    "total": "tach.metrics.total:Total",
    "usage": "tach.metrics.usage:Usage",
    "value": "tach.metrics.value:Value",
    "waiting": "tach.metrics.waiting:Waiting",
    "yields": "tach.metrics.yields:Yields",
}


def names() -> list[str]:
    """The metric types that can be used: built-in ones and entry points, sorted."""
    from tach import registry

    return registry.names(GROUP, BUILTIN)


def load(name: str) -> type[Metric]:
    """The class of a metric type; KeyError if there is none of that name."""
    from tach import registry

    return registry.load(GROUP, BUILTIN, name)


def make(name: str, options: dict[str, Any]) -> Metric:
    """A metric of that type, or what reports for the program's own `module:Class`."""
    if ":" in name:
        from tach.metrics.custom import Custom

        return Custom(name)
    return load(name)(**options)
