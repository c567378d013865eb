"""Carries the events of one spool to their notifier, and back off where it cannot take them."""

from __future__ import annotations

import logging
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence

from tach.samples import Event
from tach.sender.spool_files import Item
from tach.sender.spool_queue import SpoolQueue

log = logging.getLogger("tach.sender")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0
STALLED = 5.0  # seconds in which a receiver takes no event: it is down

Deliver = Callable[[Sequence[Event]], Sequence[bool]]


class EventCourier:
    """Takes events from `queue` to `deliver`. `name` is the notifier's, for the log."""

    def __init__(
        self, name: str, queue: SpoolQueue, deliver: Deliver, tallies: Counter[str]
    ) -> None:
        self._name = name
        self._queue = queue
        self._deliver = deliver
        self._tallies = tallies
        self._failures = 0
        self._not_before = 0.0
        self._some_left = False
        self._last_taken = time.monotonic()

    def getting_on(self) -> bool:
        """Whether events are left, and some have been taken not long ago."""
        return self._some_left and time.monotonic() - self._last_taken < STALLED

    def work(self, until: float) -> bool:
        """Deliver what waits, but no longer than `until` (monotonic); False where some is left."""
        try:
            if not self._queue.acquire():
                self._some_left = False
                return True  # another sender's concern
            while time.monotonic() < until:
                self._queue.tend()
                if time.monotonic() < self._not_before:
                    return False
                items = self._queue.offer()
                self._some_left = bool(items)
                if not items:
                    return True
                confirmed = self._delivered(items)
                self._queue.confirm(items, confirmed)
                if any(confirmed):
                    self._last_taken = time.monotonic()
                if all(confirmed):
                    self._failures = 0
                else:
                    self._back_off(f"{confirmed.count(False)} events were not taken")
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
            self._back_off(f"{type(error).__name__}: {error}")
        return False

    def troubles(self) -> list[str]:
        """What was lost of the events, or may have come twice; nothing if all went well."""
        said = {
            "events dropped from its spool": self._tallies["events.dropped"],
            "events that may have arrived twice, at most": self._tallies["events.resent"],
        }
        return [f"notifier {self._name}: {what}: {count}" for what, count in said.items() if count]

    def close(self) -> None:
        """Leave the spool to others."""
        self._queue.release()

    def _delivered(self, items: Sequence[Item]) -> Sequence[bool]:
        try:
            return self._deliver([item.event for item in items])
        except (ConnectionRefusedError, socket.gaierror):
            self._queue.withdraw(items)
            raise
        except Exception:
            self._queue.doubt(items)
            raise

    def _back_off(self, reason: str) -> None:
        self._failures += 1
        self._tallies["events.failures"] += 1
        if self._failures == 1:
            log.warning("%s: %s; its events wait in the spool", self._name, reason)
        pause = min(FIRST_PAUSE * 2.0 ** (self._failures - 1), LONGEST_PAUSE)
        self._not_before = time.monotonic() + pause * random.uniform(0.8, 1.2)
