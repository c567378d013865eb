"""Adds up what a spool had to drop, until the receiver is told of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from tach.sender import messages, spool_files

PERIOD = 60.0  # seconds between two notifications, at least


class Drops:
    """What was dropped since the last notification. Times are seconds of the epoch."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = {}  # reason -> priority -> events
        self._publisher_id = ""
        self._first = self._last = 0.0
        self._told_at = 0.0

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._counts)

    def add(self, reason: str, bodies: Sequence[bytes], now: float) -> None:
        """These events are gone."""
        if not self._counts:
            self._first = now
            self._publisher_id = _publisher_id(bodies[0])
        self._last = now
        counts = self._counts.setdefault(reason, {"INFO": 0, "ERROR": 0})
        for body in bodies:
            counts["ERROR" if spool_files.is_important(body) else "INFO"] += 1

    def tell(self, now: float) -> bytes | None:
        """The notification, after which all begins anew; None while the last one is too recent."""
        if 0 <= now - self._told_at < PERIOD:
            return None
        payload = {
            "count": sum(sum(counts.values()) for counts in self._counts.values()),
            "by_reason": self._counts,
            "first_dropped_at": _text(self._first),
            "last_dropped_at": _text(self._last),
        }
        self._counts, self._told_at = {}, now
        return messages.make("tach.events.dropped", "ERROR", self._publisher_id, payload)

    def to_plain(self) -> tuple[Any, ...]:
        """Values that marshal can write."""
        return self._counts, self._publisher_id, self._first, self._last, self._told_at

    def from_plain(self, values: tuple[Any, ...]) -> None:
        """Go on from what `to_plain` gave."""
        self._counts, self._publisher_id, self._first, self._last, self._told_at = values


def _publisher_id(body: bytes) -> str:
    try:
        return str(json.loads(body)["publisher_id"])
    except (ValueError, KeyError, TypeError):
        return f"tach.{socket.gethostname()}"


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
