"""One notifier at work: its own thread, queue, time-outs and backoff, isolated from the others."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tach import names
from tach.samples import Batch, Event, Metric, Notifier
from tach.sender.counts import NOTHING, Counts, from_plain
from tach.sender.courier import EventCourier
from tach.sender.log import RecordLog
from tach.sender.spool_queue import SpoolQueue

log = logging.getLogger("tach.sender")

QUEUE_LIMIT = 10  # batches that wait for a receiver; then the oldest is dropped
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0
EVENTS_PAUSE = 0.05  # seconds between looks into the spool
EVENTS_TURN = 0.5  # seconds for events before it is samples' turn again
URGENT_LIMIT = 4.0  # seconds for events while the program or the end of the run waits
SELF = "tach"  # the series of what tach says of itself


class Pending(NamedTuple):
    """A batch on its way, and the totals that will have been sent when it has.

    `more` is what these are more than those before it; `others` is how many of its samples are not
    about tach itself.
    """

    batch: Batch
    totals: dict[str, Counts]
    more: dict[str, Counts]
    others: int


class Trouble(NamedTuple):
    """What last went wrong, and when in seconds of the epoch."""

    text: str
    time: float


BySlot = dict[int | None, Counts]
# Makes a batch of what is new: (outlet, what it has taken before, final) -> batch and new totals.
Maker = Callable[["Outlet", Mapping[str, Counts], bool], Pending]


class Outlet:
    """Feeds one notifier. `name` and `interval` are the configuration's; times in seconds."""

    def __init__(
        self, name: str, notifier: Notifier, interval: float, make: Maker, run_dir: str
    ) -> None:
        self.events: EventCourier | None = None
        self.spool: SpoolQueue | None = None  # where `events` come from
        self.spooled = 0  # bytes that waited there at the last look
        self.name = name
        self.notifier = notifier
        own = getattr(notifier, "interval", None)
        self.interval: float = interval if own is None else own
        self.cumulative = bool(getattr(notifier, "cumulative", False))
        self.last = bool(getattr(notifier, "last", False))
        self.aligned = bool(getattr(notifier, "aligned", False))
        self.idle = bool(getattr(notifier, "idle", False))
        self.per_process = bool(getattr(notifier, "per_process", False))
        self.tallies: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._make = make
        self._log = RecordLog(os.path.join(run_dir, f"sent-{names.sanitise(name)}.log"))
        self._gap = False  # whether something is missing in the log
        self._sent: dict[str, Counts] = {}
        self._changed: set[str] = set()
        self._peaks: dict[str, int] = {}
        self._queue: deque[Pending] = deque()
        self._taken: dict[str, Counts] = {}
        self._failures = 0
        self.last_error: Trouble | None = None
        self.last_success: float | None = None  # seconds of the epoch
        self._retry_at = 0.0
        self._due = 0.0
        self._set_due(time.time())
        self.finished = False
        self._condition = threading.Condition()
        self._wanted: str | None = None  # "tick", "flush", "final" or "stop"
        self._cursor = threading.Lock()  # for what is remembered of what was sent
        self._farewells: list[tuple[str, list[Metric], BySlot]] = []
        self._recall()
        self._thread = threading.Thread(target=self._work, name=f"outlet {name}", daemon=True)

    def _recall(self) -> None:
        """What a sender before this one had sent already."""
        for record in self._log.read():
            for series, plain in record:
                self._sent[series] = self._sent.get(series, NOTHING).plus(from_plain(plain))
        self._taken = dict(self._sent)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def changed(self, series: set[str]) -> None:
        """Note that there is news of these series. The caller holds the totals' lock."""
        self._changed |= series

    def note_peaks(self, peaks: dict[str, dict[int, int]]) -> None:
        """Note the peaks of running calls, by series and slot. The caller holds the lock."""
        for series, of_slots in peaks.items():
            for slot, peak in of_slots.items():
                key = f"{series}#{slot}"
                self._peaks[key] = max(peak, self._peaks.get(key, 0))
            together = sum(of_slots.values())
            self._peaks[series] = max(together, self._peaks.get(series, 0))

    def take_peak(self, key: str) -> int:
        """The peak of a series (or of one slot: series#slot) since the last call."""
        return self._peaks.get(key, 0) if self.cumulative else self._peaks.pop(key, 0)

    def take_changed(self) -> set[str]:
        """The series with news since the last call. The caller holds the totals' lock."""
        series, self._changed = self._changed, set()
        return series

    def wait(self, now: float) -> float:
        """How many seconds after `now` (of the epoch) the next batch is due; inf for never."""
        if self._due - now > self.interval:  # the clock was set back
            self._set_due(now)
        return max(0.0, self._due - now)

    def tick(self, now: float) -> None:
        """Let it make a batch if one is due at `now` (seconds of the epoch)."""
        if self.wait(now) == 0.0:
            self._set_due(now)
            with self._condition:
                self._wanted = self._wanted or "tick"
                self._condition.notify_all()

    def _set_due(self, now: float) -> None:
        if self.aligned:
            self._due = (now // self.interval + 1) * self.interval
        else:
            self._due = now + self.interval

    def ask(self, what: str) -> None:
        """Ask for a "flush" now, the "final" one, or to "stop"; a cumulative one flushes once."""
        if self.cumulative and (what == "flush" or (what == "final" and self.finished)):
            return
        with self._condition:
            self._wanted = what
            self._condition.notify_all()

    def done(self, deadline: float) -> bool:
        """Wait until what was asked for is done; False if it is not by the deadline (monotonic)."""
        with self._condition:
            return self._condition.wait_for(
                lambda: self._wanted is None, max(0.0, deadline - time.monotonic())
            )

    def _work(self) -> None:
        self._call_if_there("warm_up")
        wanted = None
        while wanted != "stop":
            wanted = self._wait()
            if wanted in ("tick", "flush", "final"):
                self._take(final=wanted == "final")
            self._send_queue(urgent=wanted in ("flush", "final"))
            self._deliver_events(urgent=wanted in ("flush", "final"))
            self.finished = self.finished or wanted == "final"
            if wanted != "stop":
                self._answer(wanted)
        if self.events is not None:
            self.events.close()
        self._call_if_there("close")
        self._answer("stop")

    def _wait(self) -> str | None:
        """What is wanted; None where it is time to try again to send what failed."""
        with self._condition:
            pause = max(0.0, self._retry_at - time.monotonic()) if self._queue else None
            if self.events is not None:
                pause = EVENTS_PAUSE
            self._condition.wait_for(lambda: self._wanted is not None, pause)
            return self._wanted

    def _answer(self, wanted: str | None) -> None:
        with self._condition:
            if self._wanted == wanted:
                self._wanted = None
            self._condition.notify_all()

    def _take(self, final: bool) -> None:
        try:
            pending = self._make(self, self._taken, final)
        except Exception:
            log.exception("%s: cannot make a batch", self.name)
            self.tallies["dropped.unreadable"] += 1
            return
        if not pending.batch.samples and not self.cumulative:
            return
        self._taken.update(pending.totals)
        self._queue.append(pending)
        if len(self._queue) > QUEUE_LIMIT:
            self._drop(self._queue.popleft(), "queue_full")

    def _deliver_events(self, urgent: bool) -> None:
        self._call_if_there("tick")
        if self.events is not None:
            self.events.work(until=time.monotonic() + (URGENT_LIMIT if urgent else EVENTS_TURN))
        if self.spool is not None:
            self.spooled = self.spool.waiting()

    def deliver(self, events: Sequence[Event]) -> Sequence[bool]:
        """Hand events to the notifier: which of them have arrived. Raises what it raises."""
        notifier: Any = self.notifier
        try:
            confirmed: Sequence[bool] = notifier.deliver(events)
        except Exception as error:
            self._note_error(error)
            raise
        if any(confirmed):
            self.last_success = time.time()
        return confirmed

    def _send_queue(self, urgent: bool) -> None:
        """Send what waits; twice if it fails while the program waits too (urgent)."""
        if not urgent and time.monotonic() < self._retry_at:
            return
        tries = 2 if urgent else 1
        while self._queue and tries:
            pending = self._queue[0]
            try:
                self.notifier.send(pending.batch)
            except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
                self._note_failure(error)
                tries -= 1
                continue
            self._failures = 0
            self._retry_at = 0.0
            self.last_success = time.time()
            self._queue.popleft()
            self.tallies["sent"] += pending.others
            self._commit(pending)

    @property
    def queued(self) -> int:
        """How many batches wait to be sent."""
        return len(self._queue)

    def troubles(self) -> list[str]:
        """What of this notifier's news was lost, and why; nothing if all went well."""
        of_events = self.events.troubles() if self.events else []
        dropped, waiting = self.tallies["dropped"], len(self._queue)
        if not dropped and not (waiting and self._failures):
            return of_events
        lost = f"samples dropped: {dropped}" if dropped else f"batches not sent: {waiting}"
        why = f"; {self.last_error.text}" if self.last_error else ""
        return [f"notifier {self.name}: {lost}{why}", *of_events]

    def _note_failure(self, error: Exception) -> None:
        self._failures += 1
        self._note_error(error)
        self.tallies["failures"] += 1
        if self._failures == 1:
            log.warning("%s: %s: %s; will try again", self.name, type(error).__name__, error)
        pause = min(FIRST_PAUSE * 2.0 ** (self._failures - 1), LONGEST_PAUSE)
        self._retry_at = time.monotonic() + pause * random.uniform(0.8, 1.2)

    def _note_error(self, error: Exception) -> None:
        self.last_error = Trouble(f"{type(error).__name__}: {error}", time.time())

    def _drop(self, pending: Pending, reason: str) -> None:
        lost = pending.others
        self.tallies["dropped"] += lost
        self.tallies[f"dropped.{reason}"] += lost
        log.warning("%s: dropped %d samples (%s)", self.name, lost, reason)
        self._commit(pending)

    def _commit(self, pending: Pending) -> None:
        self._remember(pending.totals, pending.more)

    def _remember(self, totals: dict[str, Counts], more: dict[str, Counts]) -> None:
        """Remember what has been sent, so that no successor of this process sends it again.

        That is `totals`, which are so much `more` than what was remembered before.
        """
        with self._cursor:
            self._sent.update(totals)
            gap, self._gap = self._gap, True
            try:
                if not gap:
                    self._log.append(_plain(more))
                if gap or self._log.crowded():
                    self._log.replace(_plain(self._sent))
                self._gap = False
            except OSError as error:
                log.warning("%s: cannot remember what was sent: %s", self.name, error)

    def start_from(self, totals: dict[str, Counts]) -> None:
        """Send of these series only what comes on top. The caller holds the totals' lock."""
        if not self.cumulative:
            self._taken.update(totals)
            more = {key: each.minus(self._sent.get(key, NOTHING)) for key, each in totals.items()}
            self._remember(totals, more)

    def bid_farewell(self, series: str, metrics: list[Metric], by_slot: BySlot) -> None:
        """Send what the series has come to by now as those metrics, for the last time.

        The caller holds the totals' lock.
        """
        if not self.cumulative:
            self._farewells.append((series, metrics, by_slot))

    def bids_farewell(self, series: str) -> bool:
        """Whether something has not been sent yet. The caller holds the totals' lock."""
        return any(name == series for name, _, _ in self._farewells)

    def take_farewells(self) -> dict[str, tuple[list[Metric], BySlot]]:
        """The next one of each series, which has other news after that."""
        taken: dict[str, tuple[list[Metric], BySlot]] = {}
        left = []
        for each in self._farewells:
            if each[0] in taken:
                left.append(each)
            else:
                taken[each[0]] = each[1:]
        self._farewells = left
        self._changed |= taken.keys()
        return taken

    def set_interval(self, interval: float) -> None:
        """Make batches so often from now on."""
        self.interval = interval
        self._set_due(time.time())

    def take_the_place_of(self, other: Outlet) -> None:
        """Go on where `other`, which has stopped, has left off. Not to be started before."""
        self._farewells = other._farewells
        self.tallies.update(other.tallies)
        self._told = other._told

    def self_metrics(self) -> dict[str, int]:
        """What the tallies have grown by since the last call."""
        now = self.tallies + Counter(getattr(self.notifier, "tallies", {}))
        grown = {name: count - self._told[name] for name, count in now.items()}
        self._told = now
        return {name: count for name, count in grown.items() if count}

    def _call_if_there(self, method: str) -> None:
        try:
            getattr(self.notifier, method, lambda: None)()
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
            log.warning("%s: %s: %s", self.name, method, error)


def _plain(counts: Mapping[str, Counts]) -> list[tuple[str, tuple[Any, ...]]]:
    return [(key, each.to_plain()) for key, each in counts.items()]
