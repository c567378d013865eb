"""Consumes notifications from a queue of the exchange nova: arrivals.py PORT QUEUE COUNT.

Says `ready`, and after COUNT of them how many seconds each took since its own timestamp, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime, timezone
from typing import Any

import amqp

PATIENCE = 30.0  # seconds without any


def main(port: str, queue: str, count: str) -> None:
    """Consume so many."""
    arrived: list[tuple[float, Any]] = []
    with amqp.Connection(f"127.0.0.1:{port}") as connection:
        channel = connection.channel()
        channel.exchange_declare("nova", "topic", durable=True, auto_delete=False)
        channel.queue_declare(queue, durable=True, auto_delete=False)
        channel.queue_bind(queue, "nova", queue)
        channel.basic_consume(
            queue, no_ack=True, callback=lambda message: arrived.append((time.time(), message.body))
        )
        print("ready", flush=True)
        while len(arrived) < int(count):
            connection.drain_events(timeout=PATIENCE)
    print(json.dumps([when - written_at(body) for when, body in arrived]))


def written_at(body: bytes | str) -> float:
    """The timestamp of a notification, in seconds of the epoch."""
    written = datetime.fromisoformat(json.loads(body)["timestamp"])
    return written.replace(tzinfo=timezone.utc).timestamp()


if __name__ == "__main__":
    main(*sys.argv[1:])
