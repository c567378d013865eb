"""Calls that have been running for longer than they should: told while they last."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

from tach import compiled, spool, spooldir
from tach.agent.spool import SpoolWriter, process_name
from tach.plan import Plan, TargetPlan
from tach.sender import messages
from tach.sender.processes import start_ticks_of
from tach.sender.totals import Total

log = logging.getLogger("tach.sender")


class Stalls:
    """Tells of series whose oldest running call is older than `stall_after`.

    Once when that begins, and again each time it has lasted twice as long: by `note`, and where the
    target has events by a notification `<event>.stalled`, which waits in the spool like others.
    """

    def __init__(self, plan: Plan, program: str, note: Callable[[str], None]) -> None:
        self._program = program
        self._note = note
        self._told: dict[str, float] = {}  # series -> the age at which it is told again
        self._spools: dict[str, SpoolWriter] = {}
        self._publisher_id = ""
        self.follow(plan)

    def follow(self, plan: Plan) -> None:
        """The plan is this one from now on."""
        self._plan = plan
        events = compiled.events_of(plan)
        if events is not None and not self._spools:
            complete = spooldir.complete(events, self._program)
            self._publisher_id = complete["publisher_id"]
            process = process_name(start_ticks_of(os.getpid()))
            self._spools = {
                name: SpoolWriter(place, process, events["rotate_at"], events["sync"], log.warning)
                for name, place in complete["spools"].items()
            }

    def look(self, series: dict[str, Total]) -> None:
        """Tell of what has stalled since the last look."""
        now = time.monotonic_ns()
        for name, total in series.items():
            target = self._plan.targets[total.target]
            if not target.stall_after:
                continue
            running = total.running(now).values()
            oldest = max((each.oldest for each in running), default=0.0)
            if oldest < target.stall_after:
                self._told.pop(name, None)
            elif oldest >= self._told.get(name, 0.0):
                self._told[name] = oldest * 2
                self._tell(name, target, oldest, sum(each.active for each in running))

    def _tell(self, name: str, target: TargetPlan, oldest: float, active: int) -> None:
        self._note(f"{name}: a call has been running for more than {target.stall_after:g} s")
        log.warning("%s: the oldest of %d calls has been running for %.1f s", name, active, oldest)
        if "events" not in target.metrics:
            return
        payload = {"series": name, "oldest": round(oldest, 3), "inflight": active}
        event_type = f"{target.event}.stalled"
        body = messages.make(event_type, "WARN", self._publisher_id, payload)
        for notifier in target.notifiers:
            if notifier in self._spools:
                self._spools[notifier].append(spool.SINGLE, 0, body)
