"""What a configuration says, checked: the launcher makes it, the sender works from it.

A `Plan` lies in the run directory as JSON. The measured program reads a smaller form of it
(`tach.compiled`), because json alone would cost it 20 modules at start.
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
    `template` is the name as texts and paths in turn, if it has placeholders; `helper` and `after`
    are functions that find a name, as `tach.agent.helpers` describes. `value` is the path of a
    number and whether its length is meant; `queued` are paths of time stamps or stopwatches, the
    first that leads anywhere counts; `stamp` is the path of a place to put a time stamp in;
    `options` are those of the metric types. `line` is one of the configuration's, or of `file`.
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
    exclude: tuple[str, ...] = ()
    template: tuple[Any, ...] = ()
    helper: str = ""
    after: str = ""
    max_series: int = 1000
    value: tuple[Path, bool] | tuple[()] = ()
    queued: tuple[Path, ...] = ()
    stamp: Path = ()
    options: dict[str, dict[str, Any]] = {}  # noqa: RUF012 - as above
    outermost: bool = False
    rebind: bool = False
    file: str = ""
    stall_after: float = 0.0  # seconds; 0: calls may take as long as they want
    gone: bool = False  # a change of the configuration has removed it; its totals stay

    @property
    def has_names(self) -> bool:
        """Whether its calls go by names of their own, of which there is a limited number."""
        return bool(self.template or self.helper or self.after)

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


class RuntimePlan(NamedTuple):
    """What is told of processes as a whole, to which notifiers; durations in seconds."""

    notifiers: tuple[str, ...]
    every: float = 0.1
    block_after: float = 1.0


class Plan(NamedTuple):
    """A whole configuration. Durations are in seconds.

    `included` are the files of targets that were read beside `file`; `propagate` is whether what is
    spawned belongs to the request that it is spawned in. `reload` is whether changes of the file
    are to be taken up; `lines` says where its sections are.
    """

    file: str
    prefix: str
    interval: float
    exit_timeout: float
    notifiers: tuple[NotifierPlan, ...]
    targets: tuple[TargetPlan, ...]
    publisher_id: str = "{program}.{host}"
    hide: tuple[str, ...] = ()
    spool: SpoolPlan = SpoolPlan()
    disabled: tuple[tuple[str, str, int], ...] = ()  # name, function, line
    included: tuple[str, ...] = ()  # files
    propagate: bool = False
    runtime: RuntimePlan | None = None
    reload: bool = False
    lines: tuple[tuple[str, int], ...] = ()  # key, line

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
        fields["runtime"] = self.runtime and self.runtime._asdict()
        return json.dumps(fields, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote."""
        fields = json.loads(text)
        fields["notifiers"] = tuple(NotifierPlan(**each) for each in fields["notifiers"])
        fields["targets"] = tuple(_target(each) for each in fields["targets"])
        fields["spool"] = SpoolPlan(**fields["spool"])
        if fields["runtime"]:
            runtime = fields["runtime"]
            runtime["notifiers"] = tuple(runtime["notifiers"])
            fields["runtime"] = RuntimePlan(**runtime)
        fields["hide"] = tuple(fields["hide"])
        fields["disabled"] = tuple(tuple(each) for each in fields["disabled"])
        fields["included"] = tuple(fields["included"])
        fields["lines"] = tuple(tuple(each) for each in fields["lines"])
        return cls(**fields)


def _path(steps: list[Any]) -> Path:
    return tuple(tuple(step) if isinstance(step, list) else step for step in steps)


def _target(fields: dict[str, Any]) -> TargetPlan:
    for key in ("metrics", "notifiers", "ignore", "exclude"):
        fields[key] = tuple(fields[key])
    fields["template"] = tuple(
        _path(part) if isinstance(part, list) else part for part in fields["template"]
    )
    fields["value"] = tuple(
        _path(part) if isinstance(part, list) else part for part in fields["value"]
    )
    fields["payload"] = {name: _path(each) for name, each in fields["payload"].items()}
    fields["tenant"], fields["stamp"] = _path(fields["tenant"]), _path(fields["stamp"])
    fields["queued"] = tuple(_path(each) for each in fields["queued"])
    return TargetPlan(**fields)
