"""The batches of all outlets: what is new of each series, as its metric types report it."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tach import metrics
from tach.histogram import Histogram
from tach.plan import Plan, TargetPlan
from tach.samples import Batch, Kind, Metric, Running, Sample, TargetStatus
from tach.sender.counts import NOTHING, Counts
from tach.sender.outlet import SELF, BySlot, Outlet, Pending
from tach.sender.totals import Total, Totals

# of each series: its target, and what is told of it
Routes = Mapping[str, tuple[TargetPlan, list[Metric]]]


class Standing(NamedTuple):
    """What reports tell beside samples."""

    targets: list[TargetStatus]
    troubles: list[str]


class Draft(NamedTuple):
    """A batch while it is made; its samples lead from what has been `taken` up to `totals`.

    `more` is what these are more.
    """

    outlet: Outlet
    taken: Mapping[str, Counts]
    now: float
    samples: list[Sample]
    totals: dict[str, Counts]
    more: dict[str, Counts]


class Batches:
    """`runtime` makes the samples of no series, `standing` says what reports tell beside samples.

    All but `make`, which takes `lock` itself, is called by who holds it.
    """

    def __init__(
        self,
        plan: Plan,
        totals: Totals,
        lock: threading.Lock,
        main_pid: int,
        runtime: Callable[[Outlet, float], list[Sample]],
        standing: Callable[[], Standing],
    ) -> None:
        self._plan = plan
        self._totals = totals
        self._lock = lock
        self._main_pid = main_pid
        self._runtime = runtime
        self._standing = standing
        self._began = time.time()
        self._last: dict[str, float] = {}
        self._metrics: dict[int, list[Metric]] = {}

    def make(self, outlet: Outlet, taken: Mapping[str, Counts], final: bool) -> Pending:
        """A batch of what is new since `taken` (for a cumulative outlet: of all there is)."""
        now = time.time()
        start, self._last[outlet.name] = self._last.get(outlet.name, self._began), now
        draft = Draft(outlet, taken, now, [], {}, {})
        with self._lock:
            self._add_series(draft)
            draft.samples.extend(self._runtime(outlet, now))
            targets, troubles = self._standing() if outlet.cumulative else ([], [])
        others = len(draft.samples)
        draft.samples.extend(self._of_tach(draft))
        batch = Batch(draft.samples, start, now, targets, troubles, final)
        if outlet.cumulative:
            return Pending(batch, {}, {}, others)
        return Pending(batch, draft.totals, draft.more, others)

    def _add_series(self, draft: Draft) -> None:
        outlet, all_series = draft.outlet, self._totals.series
        changed = outlet.take_changed()
        if outlet.cumulative or outlet.idle:
            changed |= {
                name
                for name, total in all_series.items()
                if outlet.cumulative or not self._target_of(total).gone
            }
        farewells = outlet.take_farewells()
        for name, (reporting, by_slot) in farewells.items():
            self._add(draft, all_series[name], reporting, by_slot)
        wanted = [
            total
            for total in map(all_series.__getitem__, sorted(changed - farewells.keys()))
            if outlet.name in self._target_of(total).notifiers
        ]
        # First all are read, then all told: each leaves the other's memory in the cache.
        for total, by_slot in [(each, _by_slot(outlet, each)) for each in wanted]:
            self._add(draft, total, self._metrics_of(total.target), by_slot)

    def _add(self, draft: Draft, total: Total, reporting: list[Metric], by_slot: BySlot) -> None:
        """Add what is new of one series."""
        outlet, taken, now, samples, totals, all_more = draft
        name = total.name
        all_running = total.running(time.monotonic_ns())
        if all_running and not outlet.per_process:
            all_running = {None: functools.reduce(Running.plus, all_running.values())}
        for slot, counts in by_slot.items():
            key = _key(name, slot)
            totals[key] = counts
            running = all_running.get(slot, Running())
            peak = max(outlet.take_peak(key), running.active)
            if peak:
                running = running._replace(peak=peak)
            earlier = NOTHING if outlet.cumulative else taken.get(key, NOTHING)
            more = all_more[key] = counts.minus(earlier)
            activity = more.activity(earlier, running)
            for metric in reporting:
                for suffix, kind, value in metric.measurements(activity):
                    if outlet.idle or _is_news(kind, value):
                        full = f"{name}.{suffix}"
                        samples.append(Sample(full, kind, value, now, name, suffix, slot))

    def _of_tach(self, draft: Draft) -> list[Sample]:
        """What tach has to say of itself: only beside other news, else it would never be silent."""
        if not draft.samples or draft.outlet.cumulative:
            return []
        series = self._totals.prefix(self._main_pid) + SELF
        return [
            Sample(f"{series}.{name}", "counter", count, draft.now, series, name)
            for name, count in sorted(draft.outlet.self_metrics().items())
        ]

    def _target_of(self, total: Total) -> TargetPlan:
        return self._plan.targets[total.target]

    def _metrics_of(self, index: int) -> list[Metric]:
        if index not in self._metrics:
            target = self._plan.targets[index]
            self._metrics[index] = [
                metrics.make(name, target.options.get(name, {})) for name in target.metrics
            ]
        return self._metrics[index]

    def routes(self) -> Routes:
        """What is told of each series by now."""
        return {
            name: (self._target_of(total), self._metrics_of(total.target))
            for name, total in self._totals.series.items()
        }

    def follow(self, plan: Plan) -> None:
        """The plan is this one from now on."""
        self._plan = plan
        self._metrics.clear()

    def reroute(self, outlet: Outlet, before: Routes) -> None:
        """Tell the outlet the rest of what it will not be told any more, and no old news."""
        for name, (target, reporting) in before.items():
            total = self._totals.series[name]
            now = self._target_of(total)
            was_told, is_told = outlet.name in target.notifiers, outlet.name in now.notifiers
            if was_told and (not is_told or _tells(target) != _tells(now)):
                outlet.bid_farewell(name, reporting, _by_slot(outlet, total))
            elif is_told and not was_told and not outlet.bids_farewell(name):
                _start_from_now(outlet, total)

    def prepare(self, outlet: Outlet, goes_on: bool) -> None:
        """Let an outlet that is about to start know what there is.

        It tells the past only if it `goes_on` for one that was there.
        """
        for total in self._totals.series.values():
            if not goes_on and outlet.name in self._target_of(total).notifiers:
                _start_from_now(outlet, total)
        outlet.changed(set(self._totals.series))


def _by_slot(outlet: Outlet, total: Total) -> BySlot:
    """What the series has come to, as the outlet wants it: each slot apart, or all together."""
    return total.counts_by_slot() if outlet.per_process else {None: total.counts()}


def _start_from_now(outlet: Outlet, total: Total) -> None:
    by_slot = _by_slot(outlet, total).items()
    outlet.start_from({_key(total.name, slot): counts for slot, counts in by_slot})


def _key(name: str, slot: int | None) -> str:
    return name if slot is None else f"{name}#{slot}"


def _tells(target: TargetPlan) -> tuple[Any, ...]:
    return target.metrics, target.options


def _is_news(kind: Kind, value: float | Histogram) -> bool:
    if isinstance(value, Histogram):
        return bool(value.pairs)
    return kind == "gauge" or value != 0
