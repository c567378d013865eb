"""The sections `defaults:` and `targets:` of a configuration."""

from __future__ import annotations

import builtins
import copy
import os
import re

import yaml

from tach import metrics
from tach.config_calls import Calls
from tach.config_events import read_path
from tach.config_includes import Included
from tach.functions import SHAPE, advice_for, is_function, is_function_pattern
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
    "exclude",
    "helper",
    "after",
    "max_series",
    "increment",
    "value",
    "queued",
    "stamp",
    "outermost",
    "rebind",
    "stall_after",
)
EVENT_KEYS = ("event", "payload", "tenant", "period")
PERIODS = ("hour", "day", "month")
# What tach itself puts into a payload.
RESERVED = (
    "duration",
    "exception",
    "running",
    "started_at",
    "tach_version",
    "truncated",
    "unfinished",
    "waiting",
)
DEFAULT_METRICS = ("timing", "count", "exceptions")
# What the key `queued` asks for, unless the target itself says which of it.
QUEUE_METRICS = ("queued", "service", "total")
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

    def __init__(self, notifiers: tuple[NotifierPlan, ...], values: Values, directory: str) -> None:
        notifier_names = tuple(each.name for each in notifiers)
        self._values = values
        self._calls = Calls(values, directory)
        self._file = ""
        self.disabled: tuple[tuple[str, str, int], ...] = ()
        self._notifier_names = notifier_names
        self._delivering = {each.name for each in notifiers if each.delivers or not each.type}
        self._metric_types = KnownTypes(metrics)
        self._defaults: Lists = {"metrics": DEFAULT_METRICS, "notifiers": notifier_names}

    def read(
        self, defaults: Entry | None, targets: Entry | None, included: tuple[Included, ...] = ()
    ) -> tuple[TargetPlan, ...]:
        """The targets that are enabled, in the order of the file; the others are `disabled`.

        Then those that are `included`, but for those that the file has itself.
        """
        if defaults:
            fields = self._values.fields(defaults.node, "defaults", DEFAULTS_KEYS)
            self._defaults.update(self._lists(fields or {}, "defaults"))
        entries = self._values.mapping(targets.node, "targets") if targets else {}
        own = entries or {}
        plans = self._plans(own)
        for each in included:
            within = self._within(each)
            more = {name: entry for name, entry in each.targets.items() if name not in own}
            plans += within._plans(more)
            self.disabled += within.disabled
        self._check_series(plans, {each.file: each.values for each in included})
        return tuple(plan for _, plan in plans)

    def _plans(self, entries: dict[str, Entry]) -> list[tuple[str, TargetPlan]]:
        plans = [(name, self._target(name, each)) for name, each in entries.items()]
        return [(name, plan) for name, plan in plans if plan is not None]

    def _within(self, included: Included) -> Targets:
        """What reads the targets of another file, with the defaults of this one."""
        within = copy.copy(self)
        within._values = included.values
        within._calls = Calls(included.values, os.path.dirname(included.file))
        within._file = included.file
        within.disabled = ()
        return within

    def _check_series(
        self, plans: list[tuple[str, TargetPlan]], included: dict[str, Values]
    ) -> None:
        firsts: dict[str, tuple[str, TargetPlan]] = {}
        for name, plan in plans:
            first_name, first = firsts.setdefault(plan.name, (name, plan))
            if first is not plan:
                other_file = f" of {first.file}" if first.file else ""
                first_shown = f"{quoted(first_name)} on line {first.line}{other_file}"
                what = f"its series {quoted(plan.name)} is also that of {first_shown}"
                values = included.get(plan.file, self._values)
                values.report(plan.line, f"targets.{name}", what, "rename one of them")

    def _target(self, name: str, entry: Entry) -> TargetPlan | None:
        where = f"targets.{name}"
        self._check_name(name, where, entry.line)
        fields = self._fields(entry, where)
        if fields is None:
            return None
        module, _, qualname = self._function(fields.get("function"), where, entry.line).partition(
            ":"
        )
        said = self._lists(fields, where)
        lists = {**self._defaults, **said}
        calls = self._calls
        increment = calls.increment(fields.get("increment"), f"{where}.increment")
        value_path, of_length, value_kind = calls.value(fields.get("value"), f"{where}.value")
        queued = calls.queued(fields.get("queued"), f"{where}.queued")
        own = [("increment", increment is not None), ("value", bool(value_path))]
        own += [("inflight", "stall_after" in fields)]
        if not set(QUEUE_METRICS).intersection(said.get("metrics", ())):
            own += [(metric, bool(queued)) for metric in QUEUE_METRICS]
        metrics_ = _with_own(lists["metrics"], own)
        has_events = "events" in metrics_
        template = calls.template(name, where, entry.line)
        plan = TargetPlan(
            name=name if template else sanitise(name),
            module=module,
            qualname=qualname,
            metrics=metrics_,
            notifiers=lists["notifiers"],
            ignore=self._ignore(fields.get("ignore"), f"{where}.ignore"),
            line=entry.line,
            event=self._event(fields.get("event"), name, where) if has_events else "",
            payload=self._payload(fields.get("payload"), f"{where}.payload"),
            tenant=self._tenant(fields.get("tenant"), f"{where}.tenant"),
            period=self._period(fields.get("period"), f"{where}.period"),
            exclude=calls.exclude(fields.get("exclude"), f"{where}.exclude"),
            template=template,
            helper=calls.helper(fields.get("helper"), f"{where}.helper"),
            after=calls.helper(fields.get("after"), f"{where}.after"),
            max_series=calls.max_series(fields.get("max_series"), f"{where}.max_series"),
            value=(value_path, of_length) if value_path else (),
            queued=queued,
            stamp=calls.stamp(fields.get("stamp"), f"{where}.stamp"),
            options={
                **({"increment": {"amount": increment}} if increment is not None else {}),
                **({"value": {"kind": value_kind}} if value_path else {}),
            },
            outermost=self._is_true(fields.get("outermost"), f"{where}.outermost"),
            rebind=self._is_true(fields.get("rebind"), f"{where}.rebind"),
            file=self._file,
            stall_after=self._stall_after(fields.get("stall_after"), f"{where}.stall_after"),
        )
        self._check_events(plan, fields, where)
        self._check_calls(plan, fields, where)
        if self._is_enabled(fields.get("enabled"), f"{where}.enabled"):
            return plan
        self.disabled = (*self.disabled, (plan.name, plan.function, plan.line))
        return None

    def _check_calls(self, plan: TargetPlan, fields: dict[str, Entry], where: str) -> None:
        """That the keys about calls go together."""
        report = self._values.report
        naming: list[tuple[str, object]] = [("a name with placeholders", plan.template)]
        naming += [("'helper'", plan.helper), ("'after'", plan.after)]
        given = [what for what, there in naming if there]
        if len(given) > 1:
            what = f"{given[0]} and {given[1]} both name its calls"
            report(plan.line, where, what, "keep one of them")
        if "max_series" in fields and not given:
            what = "'max_series' limits names made of calls, and there are none"
            report(fields["max_series"].line, where, what, "remove it")
        late = plan.after or any(
            part[0] in ("result", "exception")
            for part in plan.template
            if not isinstance(part, str)
        )
        if late and "inflight" in plan.metrics:
            what = "inflight needs a name that is known when a call begins"
            report(plan.line, where, what, "make the name of arguments only, or drop inflight")
        if plan.template and "events" in plan.metrics and "event" not in fields:
            what = "its events need a type: a name with placeholders is none"
            report(plan.line, where, what, "add event: such as compute.instance.reboot")
        for metric in ("value", "increment"):
            if metric in plan.metrics and metric not in plan.options and metric not in fields:
                example = "len(result)" if metric == "value" else "1"
                what = f"the metric {metric} needs to know what of"
                report(plan.line, where, what, f"add {metric}: {example}")
        self._check_queue(plan, fields, where)
        if plan.exclude and not _has_wildcard(plan.function):
            what = "'exclude' subtracts from a wildcard, and there is none"
            report(fields["exclude"].line, where, what, "remove it")

    def _check_queue(self, plan: TargetPlan, fields: dict[str, Entry], where: str) -> None:
        unknown = [each for each in ("queued", "total") if each in plan.metrics]
        if unknown and "queued" not in fields:
            what = f"the metric {unknown[0]} needs to know since when"
            self._values.report(plan.line, where, what, "add queued: args.message.timestamp")
        if "total" in plan.metrics and "increment" in plan.metrics:
            what = "the metrics total and increment both report .total"
            self._values.report(plan.line, where, what, "make two targets of it")

    def _check_name(self, name: str, where: str, line: int) -> None:
        if not all(re.sub(r"\{[^{}]*\}", "x", name).split(".")):
            what = f"the name {quoted(name)} has an empty component"
            self._values.report(line, where, what, "remove a dot, or put a name beside it")

    def _fields(self, entry: Entry, where: str) -> dict[str, Entry] | None:
        if isinstance(entry.node, yaml.ScalarNode) and not is_null(entry.node):
            return {"function": entry}
        expected = f"a function such as {SHAPE} or a mapping"
        entries = self._values.mapping(entry.node, where, expected)
        return (
            None if entries is None else self._values.only(entries, where, TARGET_KEYS, "function")
        )

    def _function(self, entry: Entry | None, where: str, line: int) -> str:
        """The function as written; the empty string after a problem."""
        if entry is None:
            what = "the key 'function' is missing"
            self._values.report(line, where, what, f"add function: {SHAPE}")
            return ""
        text = self._values.text(entry.node, f"{where}.function", f"a function such as {SHAPE}")
        if text is None or is_function_pattern(text):
            return text or ""
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
            if kind == "metric" and is_function(name):
                continue  # somebody else's type, which the program can import
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

    def _stall_after(self, entry: Entry | None, where: str) -> float:
        found = self._values.duration(entry.node, where) if entry else 0.0
        if entry and found is not None and found <= 0:
            self._values.report(line_of(entry.node), where, "must be more than 0s")
        return found or 0.0

    def _is_true(self, entry: Entry | None, where: str) -> bool:
        return entry is not None and self._values.boolean(entry.node, where) is True


def _with_own(metrics_: tuple[str, ...], own: list[tuple[str, bool]]) -> tuple[str, ...]:
    """The metrics of a target, and those that it asks for by their own keys."""
    return (*metrics_, *(name for name, wanted in own if wanted and name not in metrics_))


def _has_wildcard(function: str) -> bool:
    return "*" in function or "?" in function
