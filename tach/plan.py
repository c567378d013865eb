"""What a configuration says, checked: the launcher makes it, the sender works from it.

A `Plan` lies in the run directory as JSON. The measured program reads a smaller form of it
(`Plan.for_agent`), because json alone would cost it 20 modules at start.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

# a root and steps, as `tach.agent.paths` describes
Path = tuple[Any, ...]


class NotifierPlan(NamedTuple):
    """One entry of `notifiers:`: where samples go, and events if it `delivers` them."""

    name: str
    type: str
    options: dict[str, Any]
    line: int
    delivers: bool = False


class TargetPlan(NamedTuple):
    """One entry of `targets:`: the function to measure, and how.

    `name` is sanitised already; `function` is `module:qualname` as written. `event` is the type of
    its notifications without the suffix, `payload` what goes into them: names and compiled paths
    (`tach.agent.paths`); `tenant` is the path of whom to bill, () for nobody, `period` how often.
    """

    name: str
    module: str
    qualname: str
    metrics: tuple[str, ...]
    notifiers: tuple[str, ...]
    ignore: tuple[str, ...]
    line: int
    event: str = ""
    payload: dict[str, Path] = {}  # noqa: RUF012 - a NamedTuple's default, never changed
    tenant: Path = ()
    period: str = "day"

    @property
    def function(self) -> str:
        """The target as the configuration writes it."""
        return f"{self.module}:{self.qualname}"


class SpoolPlan(NamedTuple):
    """Where events wait: `directory` is "" for the default; sizes in bytes, durations in seconds.

    `fsync` 0 makes each event reach the disk before the call goes on.
    """

    directory: str = ""
    max_size: int = 1 << 30
    max_age: float = 7 * 86400.0
    fsync: float = 1.0


class Plan(NamedTuple):
    """A whole configuration. Durations are in seconds."""

    file: str
    prefix: str
    interval: float
    exit_timeout: float
    notifiers: tuple[NotifierPlan, ...]
    targets: tuple[TargetPlan, ...]
    publisher_id: str = "{program}.{host}"
    hide: tuple[str, ...] = ()
    spool: SpoolPlan = SpoolPlan()

    def usage_periods(self, notifier: str) -> dict[str, str]:
        """Over what the notifier is told the usage of which events: event -> hour, day or month."""
        return {
            each.event: each.period
            for each in self.targets
            if "usage" in each.metrics and notifier in each.notifiers
        }

    def to_json(self) -> str:
        """The plan as JSON; `from_json` gives an equal plan back."""
        fields = self._asdict()
        fields["notifiers"] = [notifier._asdict() for notifier in self.notifiers]
        fields["targets"] = [target._asdict() for target in self.targets]
        fields["spool"] = self.spool._asdict()
        return json.dumps(fields, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote."""
        fields = json.loads(text)
        fields["notifiers"] = tuple(NotifierPlan(**each) for each in fields["notifiers"])
        fields["targets"] = tuple(_target(each) for each in fields["targets"])
        fields["spool"] = SpoolPlan(**fields["spool"])
        fields["hide"] = tuple(fields["hide"])
        return cls(**fields)


def _path(steps: list[Any]) -> Path:
    return tuple(tuple(step) if isinstance(step, list) else step for step in steps)


def _target(fields: dict[str, Any]) -> TargetPlan:
    for key in ("metrics", "notifiers", "ignore"):
        fields[key] = tuple(fields[key])
    fields["payload"] = {name: _path(each) for name, each in fields["payload"].items()}
    fields["tenant"] = _path(fields["tenant"])
    return TargetPlan(**fields)
