"""Notifications that the sender makes itself, in oslo's format 1.0."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timezone
from typing import Any

UNFINISHED = "the process died before the call ended"


def unfinished(start: bytes) -> bytes:
    """The `.error` of a call of which only the `.start` is there."""
    message = json.loads(start)
    payload = {
        **message["payload"],
        "unfinished": True,
        "started_at": message["timestamp"],
        "exception": {
            "class": "ProcessDied",
            "module": "tach",
            "message": UNFINISHED,
            "kwargs": {},
            "code": None,
        },
    }
    event_type = message["event_type"].removesuffix(".start") + ".error"
    context = {key: each for key, each in message.items() if key.startswith("_context_")}
    return make(event_type, "ERROR", message["publisher_id"], payload, context)


def make(
    event_type: str,
    priority: str,
    publisher_id: str,
    payload: dict[str, Any],
    context: dict[str, Any] | None = None,
) -> bytes:
    """A new notification, as ASCII JSON."""
    message = {
        "message_id": str(uuid.uuid4()),
        "_unique_id": uuid.uuid4().hex,
        "publisher_id": publisher_id,
        "event_type": event_type,
        "priority": priority,
        "timestamp": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "payload": {**payload, "tach_version": 1},
        **(context or {}),
    }
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii")
