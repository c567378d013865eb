"""Listens as oslo.messaging does: oslo_listener.py URL EXCHANGE TOPICS FILE [durable].

Appends each notification to FILE as a JSON line: the `method` of the endpoint that oslo.messaging
called for it, its publisher_id, event_type, payload, metadata and context.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import oslo_messaging
from oslo_config import cfg

PRIORITIES = ("audit", "debug", "info", "warn", "error", "critical", "sample")


class Endpoint:
    """Has a method for each priority; all of them write to the file."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._lock = threading.Lock()
        for priority in PRIORITIES:
            setattr(self, priority, self._method(priority))

    def _method(self, priority: str) -> Callable[..., None]:
        def receive(
            ctxt: dict[str, Any], publisher_id: str, event_type: str, payload: Any, metadata: Any
        ) -> None:
            line = {
                "method": priority,
                "publisher_id": publisher_id,
                "event_type": event_type,
                "payload": payload,
                "metadata": metadata,
                "context": dict(ctxt),
            }
            with self._lock, open(self._file, "a") as file:
                file.write(json.dumps(line) + "\n")

        return receive


def main(url: str, exchange: str, topics: str, file: str, durable: str = "") -> None:
    """Listen until the standard input is closed."""
    conf = cfg.ConfigOpts()
    conf([])
    transport = oslo_messaging.get_notification_transport(
        conf, url=url.replace("amqp:", "rabbit:", 1)
    )
    conf.set_override("amqp_durable_queues", bool(durable), group="oslo_messaging_rabbit")
    conf.set_override("heartbeat_timeout_threshold", 0, group="oslo_messaging_rabbit")
    targets = [oslo_messaging.Target(exchange=exchange, topic=each) for each in topics.split(",")]
    listener = oslo_messaging.get_notification_listener(
        transport, targets, [Endpoint(file)], executor="threading"
    )
    listener.start()
    print("listening", flush=True)
    sys.stdin.read()
    listener.stop()
    listener.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
