"""What a configuration says, checked: the launcher makes it, the sender works from it.

A `Plan` lies in the run directory as JSON. The measured program reads a smaller form of it
(`Plan.for_agent`), because json alone would cost it 20 modules at start.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple


class NotifierPlan(NamedTuple):
    """One entry of `notifiers:`: where samples go."""

    name: str
    type: str
    options: dict[str, Any]
    line: int


class TargetPlan(NamedTuple):
    """One entry of `targets:`: the function to measure, and how.

    `name` is sanitised already; `function` is `module:qualname` as written.
    """

    name: str
    module: str
    qualname: str
    metrics: tuple[str, ...]
    notifiers: tuple[str, ...]
    ignore: tuple[str, ...]
    line: int

    @property
    def function(self) -> str:
        """The target as the configuration writes it."""
        return f"{self.module}:{self.qualname}"


class Plan(NamedTuple):
    """A whole configuration. Durations are in seconds."""

    file: str
    prefix: str
    interval: float
    exit_timeout: float
    notifiers: tuple[NotifierPlan, ...]
    targets: tuple[TargetPlan, ...]

    def to_json(self) -> str:
        """The plan as JSON; `from_json` gives an equal plan back."""
        fields = self._asdict()
        fields["notifiers"] = [notifier._asdict() for notifier in self.notifiers]
        fields["targets"] = [target._asdict() for target in self.targets]
        return json.dumps(fields, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote."""
        fields = json.loads(text)
        fields["notifiers"] = tuple(NotifierPlan(**each) for each in fields["notifiers"])
        fields["targets"] = tuple(_target(each) for each in fields["targets"])
        return cls(**fields)


def _target(fields: dict[str, Any]) -> TargetPlan:
    for key in ("metrics", "notifiers", "ignore"):
        fields[key] = tuple(fields[key])
    return TargetPlan(**fields)
