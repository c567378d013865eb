"""Sums up events per period and tenant, from the very records that are delivered."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from tach.sender import messages

GRACE = 5.0  # seconds after a period's end in which its last events may still come in
_FORMAT = "%Y-%m-%d %H:%M:%S"

# (event, tenant, beginning of the period)
Key = tuple[str, str, str]


class Usage:
    """`periods` says which events are summed up, and over what: event -> hour, day or month."""

    def __init__(self, periods: dict[str, str]) -> None:
        self._periods = periods
        self._sums: dict[Key, dict[str, Any]] = {}

    def add(self, body: bytes) -> None:
        """Take in the `.end` or `.error` of a call; others are none of its business."""
        if not self._periods:
            return
        message = json.loads(body)
        event, _, suffix = message["event_type"].rpartition(".")
        period = self._periods.get(event)
        if period is None or suffix not in ("end", "error"):
            return
        payload = message["payload"]
        when = datetime.strptime(message["timestamp"][:19], _FORMAT)
        tenant = payload.get("tenant_id")
        key = (event, "" if tenant is None else str(tenant), str(begin_of(period, when)))
        sums = self._sums.setdefault(key, _nothing(message["publisher_id"]))
        sums["count"] += 1
        sums["duration"] += payload.get("duration", 0.0)
        if suffix == "error":
            sums["errors"] += 1
            kind = payload.get("exception", {}).get("class", "other")
            sums["errors_by_type"][kind] = sums["errors_by_type"].get(kind, 0) + 1

    def close_periods(self, now: float, oldest: str | None, out: list[bytes]) -> None:
        """Append the notifications of the periods that have ended by `now` (of the epoch).

        `oldest` is the timestamp of the oldest event not added yet: its period is not over.
        """
        reached = datetime.fromtimestamp(now - GRACE, timezone.utc).replace(tzinfo=None)
        if oldest is not None:
            reached = min(reached, datetime.strptime(oldest[:19], _FORMAT))
        for key in list(self._sums):
            event, tenant, beginning = key
            begin = datetime.strptime(beginning, _FORMAT)
            end = end_of(self._periods.get(event, "day"), begin)
            if end <= reached:
                out.append(_notification(event, tenant, begin, end, self._sums.pop(key)))

    @property
    def has_sums(self) -> bool:
        """Whether there is anything to tell, one day."""
        return bool(self._sums)

    def to_plain(self) -> tuple[dict[str, str], list[tuple[Key, dict[str, Any]]]]:
        """Values that marshal can write."""
        return self._periods, list(self._sums.items())

    def from_plain(self, values: tuple[dict[str, str], list[tuple[Key, dict[str, Any]]]]) -> None:
        """Go on from what `to_plain` gave, also with what is no longer configured."""
        periods, sums = values
        self._periods = {**periods, **self._periods}
        self._sums = dict(sums)


def begin_of(period: str, when: datetime) -> datetime:
    """The beginning of the period that `when` (naive UTC) lies in."""
    hour = when.replace(minute=0, second=0, microsecond=0)
    if period == "hour":
        return hour
    day = hour.replace(hour=0)
    return day if period == "day" else day.replace(day=1)


def end_of(period: str, begin: datetime) -> datetime:
    """The end of the period that begins at `begin`, which is the beginning of the next."""
    if period == "hour":
        return begin + timedelta(hours=1)
    if period == "day":
        return begin + timedelta(days=1)
    return (begin + timedelta(days=32)).replace(day=1)


def _nothing(publisher_id: str) -> dict[str, Any]:
    return {
        "count": 0,
        "errors": 0,
        "duration": 0.0,
        "errors_by_type": {},
        "publisher_id": publisher_id,
    }


def _notification(
    event: str, tenant: str, begin: datetime, end: datetime, sums: dict[str, Any]
) -> bytes:
    publisher_id = sums.pop("publisher_id")
    payload = {
        "tenant_id": tenant or None,
        "audit_period_beginning": str(begin),
        "audit_period_ending": str(end),
        **sums,
    }
    return messages.make(f"{event}.usage", "INFO", publisher_id, payload)
