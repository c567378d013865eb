"""Samples for receivers with labels: one family for each suffix, the target beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from tach.histogram import Histogram

if TYPE_CHECKING:
    from tach.samples import Kind, RunInfo, Sample

BY_TYPE = "errors.by_type."
# Histograms that samples hold in milliseconds.
TIMES = frozenset(
    (
        *("duration", "running", "waiting", "cpu", "max_run", "queued", "service", "total"),
        *("own", "nested"),
        *("hub_lag", "loop_lag", "gc_pause"),
    )
)
UNITS = {"oldest": "seconds", "blocked": "seconds", "rss": "bytes"}
LAGS = frozenset(("hub_lag", "loop_lag", "gc_pause"))
LEVELS = frozenset(
    (
        *("greenthreads", "timers", "readers", "writers", "tasks"),
        *("threads", "rss", "open_files", "blocked"),
    )
)
# Gauges of which several do not add up: the greatest counts, or the latest.
GREATEST = frozenset(("oldest", "runtime.blocked"))
LATEST = frozenset(("value.last",))
OF_TARGETS = frozenset(("calls", "errors", "cancelled", "ignored", "aborted", "total", "value"))
# One suffix may be of several kinds, but one family may not.
RENAMED = {
    ("total", "counter"): "increment",
    ("value", "gauge"): "value.last",
    ("value", "counter"): "value.added",
}
DESCRIPTIONS = {
    "duration": "Wall time of each call that ended.",
    "running": "The part of each call in which its greenthread or coroutine ran.",
    "waiting": "The part of each call in which its greenthread or coroutine was switched out.",
    "cpu": "Processor time of each call.",
    "own": "The time of each call without that of the measured calls within it.",
    "nested": "The time of each call within another one of the same function.",
    "queued": "How long each call had waited before it began.",
    "service": "How long each call took after it had begun.",
    "total": "The time in the queue and in service of each call.",
    "max_run": "The longest stretch of each call without yielding.",
    "yields": "How often each call was switched out.",
    "calls": "Calls that ended.",
    "errors": "Calls that raised an exception.",
    "errors.by_type": "Calls that raised an exception, by its class.",
    "cancelled": "Calls that ended by GreenletExit, CancelledError or their like.",
    "ignored": "Calls that raised an exception which is not an error.",
    "inflight": "Calls that run now.",
    "inflight_max": "The most calls that have run at once.",
    "oldest": "The age of the oldest call that runs now.",
    "aborted": "Calls cut short by the death of their process.",
    "increment": "What the calls have added.",
    "value": "A number taken from each call.",
    "value.last": "The latest number taken from a call.",
    "value.added": "The sum of the numbers taken from the calls.",
    "runtime.hub_lag": "How late the hub was.",
    "runtime.loop_lag": "How late the event loop was.",
    "runtime.gc_pause": "The pauses of the garbage collector.",
    "runtime.greenthreads": "Greenthreads that wait for their hub.",
    "runtime.timers": "Timers of the hubs.",
    "runtime.readers": "Greenthreads that wait to read.",
    "runtime.writers": "Greenthreads that wait to write.",
    "runtime.tasks": "Tasks of the event loops.",
    "runtime.threads": "Threads of all processes.",
    "runtime.rss": "Memory of all processes.",
    "runtime.open_files": "Open files of all processes.",
    "runtime.blocked": "For how long the hub has been blocked that is blocked the longest.",
}


class Family(NamedTuple):
    """What all readings have in common that differ in their labels only.

    `name` is of words of [A-Za-z0-9_-] with dots between; `unit` seconds, bytes or nothing.
    """

    name: str
    kind: Kind
    unit: str

    @property
    def description(self) -> str:
        """A sentence that says what it is; nothing for other people's."""
        return DESCRIPTIONS.get(self.name, "")


class Reading(NamedTuple):
    """A sample's value, in its family's unit, and where it belongs: `error` is a class's name."""

    family: Family
    target: str
    error: str
    value: float | Histogram


def merged(readings: Iterable[Reading]) -> list[Reading]:
    """One reading of each family, target and error, where stripping has left several of one name.

    That is so where each process has a prefix of its own, and receivers refuse what comes twice.
    """
    found: dict[tuple[Family, str, str], Reading] = {}
    for reading in readings:
        before = found.get(reading[:3])
        found[reading[:3]] = reading if before is None else _together(before, reading)
    return list(found.values())


def _together(one: Reading, other: Reading) -> Reading:
    value, more = one.value, other.value
    if isinstance(value, Histogram) and isinstance(more, Histogram):
        return one._replace(value=value.plus(more))
    if isinstance(value, Histogram) or isinstance(more, Histogram) or one.family.name in LATEST:
        return other
    whole = max(value, more) if one.family.name in GREATEST else value + more
    return one._replace(value=whole)


class Reader:
    """Makes readings. `strip` is the configuration's `prefix`, which targets are to be without."""

    def __init__(self, strip: str | None, run: RunInfo) -> None:
        self._prefix = None if not strip else re.compile(_pattern(strip, run))

    def read(self, sample: Sample) -> Reading:
        """The sample's reading. What is of no target has an empty one."""
        suffix, error = sample.suffix, ""
        if suffix.startswith(BY_TYPE):
            suffix, error = BY_TYPE[:-1], suffix[len(BY_TYPE) :]
        group = _group(sample)
        name = RENAMED.get((suffix, sample.kind), suffix)
        value, unit = sample.value, UNITS.get(suffix, "")
        if isinstance(value, Histogram) and suffix in TIMES:
            value, unit = value.scaled(value.scale / 1000), "seconds"
        target = "" if group else self._stripped(sample.series)
        return Reading(Family(group + name, sample.kind, unit), target, error, value)

    def _stripped(self, series: str) -> str:
        return series if self._prefix is None else self._prefix.sub("", series)


def _group(sample: Sample) -> str:
    """What stands before the name of a family that is of no target."""
    kind = sample.series.rpartition(".")[2]
    if kind == "runtime" and sample.suffix in (LAGS if sample.kind == "histogram" else LEVELS):
        return "runtime."
    if kind == "tach" and sample.kind == "counter" and _is_own(sample.suffix):
        return "self."
    return ""


def _is_own(suffix: str) -> bool:
    return suffix not in OF_TARGETS and not suffix.startswith(BY_TYPE)


def _pattern(strip: str, run: RunInfo) -> str:
    """What the names of series begin with, if the prefix is `strip`."""
    fields = {"{host}": _sanitised(run.host), "{program}": _sanitised(run.program), "{pid}": r"\d+"}
    parts = re.split(r"(\{host\}|\{program\}|\{pid\})", strip)
    words = (fields.get(each) or re.escape(re.sub(r"[^A-Za-z0-9_.-]", "_", each)) for each in parts)
    return f"^{''.join(words)}\\."


def _sanitised(text: str) -> str:
    return re.escape(re.sub(r"[^A-Za-z0-9_-]", "_", text))
