"""The notifiers, by the name that the configuration gives them as `type`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tach.samples import Notifier

GROUP = "tach.notifiers"
BUILTIN = {
    "amqp": "tach.notifiers.amqp:Amqp",
    "console": "tach.notifiers.console:Console",
    "debug": "tach.notifiers.debug:Debug",
    "graphite": "tach.notifiers.graphite:Graphite",
    "log": "tach.notifiers.log:Log",
    "otlp": "tach.notifiers.otlp:Otlp",
    "prometheus": "tach.notifiers.prometheus:Prometheus",
    "profile": "tach.notifiers.profile:ProfileNotifier",
    "statsd": "tach.notifiers.statsd:Statsd",
}


def names() -> list[str]:
    """The notifier types that can be used: built-in ones and entry points, sorted."""
    from tach import registry

    return registry.names(GROUP, BUILTIN)


def load(name: str) -> type[Notifier]:
    """The class of a notifier type; KeyError if there is none of that name."""
    from tach import registry

    return registry.load(GROUP, BUILTIN, name)
