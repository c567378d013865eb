"""The configuration file: YAML in, a checked `Plan` out."""

from __future__ import annotations

import os
import re

from tach.config_events import read_hidden, read_spool
from tach.config_includes import read_includes
from tach.config_notifiers import read_notifiers
from tach.config_runtime import read_runtime
from tach.config_targets import Targets
from tach.plan import Plan
from tach.problems import ConfigErrors, Problems, quoted, suggestion
from tach.yaml_nodes import is_null, line_of, read
from tach.yaml_values import Entry, Values

__all__ = ["ConfigErrors", "load"]

KEYS = (
    "prefix",
    "interval",
    "exit_timeout",
    "publisher_id",
    "redact",
    "spool",
    "notifiers",
    "defaults",
    "propagate",
    "include",
    "targets",
    "runtime",
    "reload",
)
IGNORED_KEYS = "x-"
PLACEHOLDERS = ("{host}", "{program}", "{pid}")
DEFAULT_INTERVAL = 1.0
DEFAULT_PUBLISHER = "{program}.{host}"
LEAST_INTERVAL = 0.1
DEFAULT_EXIT_TIMEOUT = 1.0


def load(path: str) -> Plan:
    """The plan that a configuration file describes.

    ConfigErrors, with every error of the file, if it cannot be read or says what cannot be done.
    Disabled targets are left out. The notifier that stands in where none is configured has line 0.
    """
    problems = Problems(path)
    values = Values(problems)
    entries = values.mapping(read(path, problems), "") or {}
    used = {key: entry for key, entry in entries.items() if not key.startswith(IGNORED_KEYS)}
    fields = values.only(used, "", KEYS)
    notifiers = read_notifiers(fields.get("notifiers"), values)
    directory = os.path.dirname(os.path.abspath(path))
    included = read_includes(fields.get("include"), values, directory)
    targets = Targets(notifiers, values, directory)
    plans = targets.read(fields.get("defaults"), fields.get("targets"), included)
    plan = Plan(
        file=path,
        prefix=_prefix(fields.get("prefix"), values),
        interval=_interval(fields.get("interval"), values),
        exit_timeout=_exit_timeout(fields.get("exit_timeout"), values),
        notifiers=notifiers,
        targets=plans,
        publisher_id=_publisher_id(fields.get("publisher_id"), values),
        hide=read_hidden(fields.get("redact"), values),
        spool=read_spool(fields.get("spool"), values),
        disabled=targets.disabled,
        included=tuple(each.file for each in included),
        propagate=_is_true("propagate", fields, values),
        runtime=read_runtime(fields.get("runtime"), notifiers, values),
        reload=_is_true("reload", fields, values),
        lines=tuple((key, entry.line) for key, entry in fields.items()),
    )
    problems.raise_if_any(*(each.problems for each in included))
    return plan


def _prefix(entry: Entry | None, values: Values) -> str:
    if entry is None or is_null(entry.node):
        return ""
    prefix = values.text(entry.node, "prefix", "a text such as nova.{host}") or ""
    line = line_of(entry.node)
    for braced in re.findall(r"\{[^{}]*\}|[{}]", prefix):
        if braced not in PLACEHOLDERS:
            advice = suggestion(braced, PLACEHOLDERS)
            values.report(line, "prefix", f"unknown placeholder {quoted(braced)}", advice)
    if prefix and not all(prefix.split(".")):
        what = f"{quoted(prefix)} has an empty component"
        values.report(line, "prefix", what, "remove a dot, or put a name beside it")
    return prefix


def _publisher_id(entry: Entry | None, values: Values) -> str:
    if entry is None:
        return DEFAULT_PUBLISHER
    found = values.text(entry.node, "publisher_id", "a text such as compute.{host}") or ""
    for braced in re.findall(r"\{[^{}]*\}|[{}]", found):
        if braced not in PLACEHOLDERS[:2]:
            advice = suggestion(braced, PLACEHOLDERS[:2])
            what = f"unknown placeholder {quoted(braced)}"
            values.report(line_of(entry.node), "publisher_id", what, advice)
    if not found:
        values.report(line_of(entry.node), "publisher_id", "must not be empty", "leave it out")
    return found


def _is_true(key: str, fields: dict[str, Entry], values: Values) -> bool:
    return key in fields and values.boolean(fields[key].node, key) is True


def _interval(entry: Entry | None, values: Values) -> float:
    found = values.duration(entry.node, "interval") if entry else DEFAULT_INTERVAL
    if entry and found is not None and found < LEAST_INTERVAL:
        values.report(line_of(entry.node), "interval", "must be at least 100ms")
    return found or DEFAULT_INTERVAL


def _exit_timeout(entry: Entry | None, values: Values) -> float:
    found = values.duration(entry.node, "exit_timeout") if entry else DEFAULT_EXIT_TIMEOUT
    if entry and found is not None and found < 0:
        values.report(line_of(entry.node), "exit_timeout", "must not be negative; 0 is not to wait")
    return DEFAULT_EXIT_TIMEOUT if found is None else found
