"""The outlets of a run, one for each notifier that can be used, as the plan says now."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tach.plan import NotifierPlan, Plan
from tach.sender.outlet import Outlet

log = logging.getLogger("tach.sender")

STOP_WITHIN = 5.0  # seconds


class Outlets:
    """`make` makes the outlet of a notifier, or says in `unusable` why it cannot be used.

    `lock` is held while others look at the outlets.
    """

    def __init__(
        self,
        plan: Plan,
        make: Callable[[NotifierPlan], Outlet | None],
        unusable: dict[str, str],
        lock: threading.Lock,
    ) -> None:
        self._make = make
        self._unusable = unusable
        self._lock = lock
        self._outlets = [outlet for each in plan.notifiers if (outlet := make(each))]

    def __iter__(self) -> Iterator[Outlet]:
        return iter(self._outlets)

    def change(self, old: Plan, new: Plan, prepare: Callable[[Outlet, bool], None]) -> None:
        """Have the outlets of the new plan; those that are the same as before work on.

        Before it starts another is prepared: (outlet, whether it goes on for one that was there).
        """
        before = {each.name: _recipe(old, each) for each in old.notifiers}
        now = {each.name: _recipe(new, each) for each in new.notifiers}
        outlets = {outlet.name: outlet for outlet in self._outlets}
        leaving = [each for name, each in outlets.items() if now.get(name) != before[name]]
        self._dismiss(leaving, now)
        for name in before.keys() - now.keys():
            self._unusable.pop(name, None)
        for plan in new.notifiers:
            if now[plan.name] != before.get(plan.name):
                self._unusable.pop(plan.name, None)
                outlet = self._make(plan)
                if outlet is not None:
                    self._employ(outlet, outlets.get(plan.name), prepare)

    def _dismiss(self, leaving: list[Outlet], now: dict[str, Any]) -> None:
        """Let those go; what is not among the notifiers of `now` says its last before."""
        deadline = time.monotonic() + STOP_WITHIN
        for outlet in leaving:
            if outlet.name not in now:
                outlet.ask("final")
        late = stop(leaving, deadline)
        with self._lock:
            self._outlets = [each for each in self._outlets if each not in leaving]
        if any(outlet.name in now for outlet in late):
            # Two at work on one cursor would send twice. The next sender begins with what is new.
            log.warning("a notifier does not stop: another sender takes the place of this one")
            stop(self._outlets, time.monotonic() + STOP_WITHIN)
            os._exit(1)

    def _employ(
        self, outlet: Outlet, before: Outlet | None, prepare: Callable[[Outlet, bool], None]
    ) -> None:
        with self._lock:
            if before is not None:
                outlet.take_the_place_of(before)
            prepare(outlet, before is not None)
            self._outlets = [*self._outlets, outlet]
        outlet.start()


def stop(outlets: list[Outlet], deadline: float) -> list[Outlet]:
    """Stop the outlets; those of them that have not by the deadline (monotonic)."""
    for outlet in outlets:
        outlet.done(deadline)
        outlet.ask("stop")
    return [outlet for outlet in outlets if not outlet.done(deadline)]


def _recipe(plan: Plan, notifier: NotifierPlan) -> tuple[Any, ...]:
    """All that an outlet is made of."""
    has_events = notifier.delivers and any("events" in each.metrics for each in plan.targets)
    return notifier._replace(line=0), has_events, plan.usage_periods(notifier.name)
