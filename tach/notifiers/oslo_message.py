"""Notifications as oslo.messaging writes and reads them, formats 1.0 and 2.0."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

from tach.samples import Event


def notification(
    event_type: str,
    payload: Mapping[str, Any],
    publisher_id: str,
    timestamp: float,
    priority: str = "INFO",
) -> Event:
    """A new notification. `payload` is JSON data without NaN, `timestamp` seconds of the epoch."""
    message = {
        "message_id": str(uuid4()),
        "publisher_id": publisher_id,
        "event_type": event_type,
        "priority": priority,
        "payload": payload,
        "timestamp": timestamp_text(timestamp),
        "_unique_id": uuid4().hex,
    }
    text = json.dumps(message, allow_nan=False)
    return Event(text.encode("ascii"), event_type, priority, str(message["message_id"]))


def timestamp_text(timestamp: float) -> str:
    """Naive UTC with microseconds: some consumers stop for ever at one with an offset."""
    return datetime.fromtimestamp(timestamp, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


def envelope(message: bytes) -> bytes:
    """The message of format 1.0 in the envelope of format 2.0; the same bytes each time."""
    inner = message.decode("utf-8", "replace")
    return json.dumps({"oslo.version": "2.0", "oslo.message": inner}).encode("ascii")


def written_at(message: bytes) -> int | None:
    """The message's own timestamp in whole seconds of the epoch; None if it has none."""
    try:
        written = datetime.fromisoformat(json.loads(message)["timestamp"])
    except (ValueError, TypeError, KeyError):
        return None
    return int(written.replace(tzinfo=timezone.utc).timestamp())
