"""The sections `defaults:` and `targets:` of a configuration."""

from __future__ import annotations

import builtins

import yaml

from tach import metrics
from tach.config_events import read_path
from tach.functions import SHAPE, advice_for, is_function
from tach.known_types import KnownTypes
from tach.names import sanitise
from tach.plan import NotifierPlan, Path, TargetPlan
from tach.problems import quoted, suggestion
from tach.yaml_nodes import is_null, line_of
from tach.yaml_values import Entry, Values

DEFAULTS_KEYS = ("metrics", "notifiers")
TARGET_KEYS = (
    "function",
    "metrics",
    "notifiers",
    "ignore",
    "enabled",
    "event",
    "payload",
    "tenant",
    "period",
)
EVENT_KEYS = ("event", "payload", "tenant", "period")
PERIODS = ("hour", "day", "month")
# What tach itself puts into a payload.
RESERVED = ("duration", "exception", "started_at", "tach_version", "truncated", "unfinished")
DEFAULT_METRICS = ("timing", "count", "exceptions")
BUILTIN_EXCEPTIONS = tuple(
    name
    for name, each in vars(builtins).items()
    if isinstance(each, type) and issubclass(each, BaseException)
)

Lists = dict[str, tuple[str, ...]]


class Targets:
    """Reads the targets of one configuration, which may name the given notifiers.

    Without any notifier names, what the targets name is not checked: then the section that would
    have defined them could not be read.
    """

    def __init__(self, notifiers: tuple[NotifierPlan, ...], values: Values) -> None:
        notifier_names = tuple(each.name for each in notifiers)
        self._values = values
        self._notifier_names = notifier_names
        self._delivering = {each.name for each in notifiers if each.delivers or not each.type}
        self._metric_types = KnownTypes(metrics)
        self._defaults: Lists = {"metrics": DEFAULT_METRICS, "notifiers": notifier_names}

    def read(self, defaults: Entry | None, targets: Entry | None) -> tuple[TargetPlan, ...]:
        """The targets that are enabled, in the order of the file."""
        if defaults:
            fields = self._values.fields(defaults.node, "defaults", DEFAULTS_KEYS)
            self._defaults.update(self._lists(fields or {}, "defaults"))
        entries = self._values.mapping(targets.node, "targets") if targets else {}
        plans = [(name, self._target(name, each)) for name, each in (entries or {}).items()]
        enabled = [(name, plan) for name, plan in plans if plan is not None]
        self._check_series(enabled)
        return tuple(plan for _, plan in enabled)

    def _check_series(self, plans: list[tuple[str, TargetPlan]]) -> None:
        firsts: dict[str, tuple[str, TargetPlan]] = {}
        for name, plan in plans:
            first_name, first = firsts.setdefault(plan.name, (name, plan))
            if first is not plan:
                first_shown = f"{quoted(first_name)} on line {first.line}"
                what = f"its series {quoted(plan.name)} is also that of {first_shown}"
                self._values.report(plan.line, f"targets.{name}", what, "rename one of them")

    def _target(self, name: str, entry: Entry) -> TargetPlan | None:
        where = f"targets.{name}"
        self._check_name(name, where, entry.line)
        fields = self._fields(entry, where)
        if fields is None:
            return None
        module, _, qualname = self._function(fields.get("function"), where, entry.line).partition(
            ":"
        )
        lists = {**self._defaults, **self._lists(fields, where)}
        has_events = "events" in lists["metrics"]
        plan = TargetPlan(
            name=sanitise(name),
            module=module,
            qualname=qualname,
            metrics=lists["metrics"],
            notifiers=lists["notifiers"],
            ignore=self._ignore(fields.get("ignore"), f"{where}.ignore"),
            line=entry.line,
            event=self._event(fields.get("event"), name, where) if has_events else "",
            payload=self._payload(fields.get("payload"), f"{where}.payload"),
            tenant=self._tenant(fields.get("tenant"), f"{where}.tenant"),
            period=self._period(fields.get("period"), f"{where}.period"),
        )
        self._check_events(plan, fields, where)
        return plan if self._is_enabled(fields.get("enabled"), f"{where}.enabled") else None

    def _check_name(self, name: str, where: str, line: int) -> None:
        if "{" in name or "}" in name:
            what = "placeholders in names are not supported yet"
            self._values.report(line, where, what, "write the name out")
        elif not all(name.split(".")):
            what = f"the name {quoted(name)} has an empty component"
            self._values.report(line, where, what, "remove a dot, or put a name beside it")

    def _fields(self, entry: Entry, where: str) -> dict[str, Entry] | None:
        if isinstance(entry.node, yaml.ScalarNode) and not is_null(entry.node):
            return {"function": entry}
        expected = f"a function such as {SHAPE} or a mapping"
        entries = self._values.mapping(entry.node, where, expected)
        return None if entries is None else self._values.only(entries, where, TARGET_KEYS)

    def _function(self, entry: Entry | None, where: str, line: int) -> str:
        """The function as written; the empty string after a problem."""
        if entry is None:
            what = "the key 'function' is missing"
            self._values.report(line, where, what, f"add function: {SHAPE}")
            return ""
        text = self._values.text(entry.node, f"{where}.function", f"a function such as {SHAPE}")
        if text is None or is_function(text):
            return text or ""
        if "*" in text or "?" in text:
            what, advice = f"wildcards are not supported yet: {quoted(text)}", "name one function"
        else:
            what, advice = f"malformed function {quoted(text)}", advice_for(text)
        self._values.report(line_of(entry.node), where, what, advice)
        return ""

    def _lists(self, fields: dict[str, Entry], where: str) -> Lists:
        found = {}
        if "metrics" in fields:
            found["metrics"] = self._list(fields["metrics"], "metric", where, self._metric_types)
        if "notifiers" in fields:
            known = self._notifier_names
            found["notifiers"] = self._list(fields["notifiers"], "notifier", where, known)
        return found

    def _list(
        self, entry: Entry, kind: str, where: str, known: KnownTypes | tuple[str, ...]
    ) -> tuple[str, ...]:
        names = self._values.names(entry.node, f"{where}.{kind}s", f"{kind} name")
        if isinstance(entry.node, yaml.SequenceNode) and not entry.node.value:
            advice = "leave the key out for the defaults, or say enabled: false in a target"
            self._values.report(entry.line, where, f"an empty list of {kind}s", advice)
        for name, line in (names or {}).items():
            if known != () and name not in known:
                advice = suggestion(name, known)
                self._values.report(line, where, f"unknown {kind} {quoted(name)}", advice)
        return tuple(names or ())

    def _ignore(self, entry: Entry | None, where: str) -> tuple[str, ...]:
        names = self._values.names(entry.node, where, "exception name") if entry else {}
        for name, line in (names or {}).items():
            if name.isidentifier() and name not in BUILTIN_EXCEPTIONS:
                advice = suggestion(name, BUILTIN_EXCEPTIONS)
                what = f"{quoted(name)} is no built-in exception, others are package.module:Class"
                self._values.report(line, where, what, advice)
            elif not name.isidentifier() and not is_function(name):
                self._values.report(
                    line, where, f"malformed exception {quoted(name)}", advice_for(name)
                )
        return tuple(names or ())

    def _event(self, entry: Entry | None, name: str, where: str) -> str:
        if entry is None:
            return sanitise(name)
        found = self._values.text(entry.node, f"{where}.event", "an event type") or ""
        if sanitise(found) != found or not found:
            what = f"malformed event type {quoted(found)}"
            advice = f"write it as {sanitise(found) or 'compute.instance.reboot'}"
            self._values.report(line_of(entry.node), f"{where}.event", what, advice)
        return found

    def _payload(self, entry: Entry | None, where: str) -> dict[str, Path]:
        entries = (self._values.mapping(entry.node, where) if entry else None) or {}
        for name in entries:
            if name in RESERVED:
                what = f"{quoted(name)} is what tach itself tells"
                self._values.report(entries[name].line, where, what, "choose another name")
        return {
            name: read_path(each, f"{where}.{name}", self._values) for name, each in entries.items()
        }

    def _tenant(self, entry: Entry | None, where: str) -> Path:
        return read_path(entry, where, self._values) if entry else ()

    def _period(self, entry: Entry | None, where: str) -> str:
        found = self._values.text(entry.node, where, "a period") if entry else "day"
        if entry and found is not None and found not in PERIODS:
            what = f"unknown period {quoted(found)}"
            self._values.report(line_of(entry.node), where, what, suggestion(found, PERIODS))
        return found or "day"

    def _check_events(self, plan: TargetPlan, fields: dict[str, Entry], where: str) -> None:
        if "events" not in plan.metrics:
            advice = "add events to its metrics"
            if "usage" in plan.metrics:
                what = "usage sums up what events report, and there are none"
                self._values.report(plan.line, where, what, advice)
            for key in EVENT_KEYS:
                if key in fields:
                    what = f"{quoted(key)} is about events, and there are none"
                    self._values.report(fields[key].line, where, what, advice)
        elif plan.notifiers and not self._delivering.intersection(plan.notifiers):
            what = "its events go nowhere: none of its notifiers can deliver events"
            self._values.report(plan.line, where, what, "add one that can, such as log")

    def _is_enabled(self, entry: Entry | None, where: str) -> bool:
        return entry is None or self._values.boolean(entry.node, where) is not False
