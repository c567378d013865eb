"""Notifications published and confirmed per second: tach, kombu, oslo.messaging, side by side.

It needs a RabbitMQ and the extra `bus`: PYTHONPATH=tests python benchmarks/bus.py [COUNT [ROUNDS]]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import kombu
import oslo_messaging
from oslo_config import cfg
from rabbitmq_broker import RabbitmqBroker

from tach.notifiers.amqp import Amqp
from tach.notifiers.oslo_message import notification
from tach.samples import Event

BATCH = 500  # events that tach is given at once
PAYLOAD = {"instance_id": "0d4f7f2a", "padding": "x" * 650}  # such that a message has 1 KB
Publish = Callable[[list[Event]], None]


def tach(url: str) -> Publish:
    """The notifier amqp, in format 1.0."""
    notifier = Amqp(url, "nova")

    def publish(events: list[Event]) -> None:
        for start in range(0, len(events), BATCH):
            assert all(notifier.deliver(events[start : start + BATCH]))

    return publish


def kombu_confirming_each(url: str) -> Publish:
    """kombu, which waits for the confirmation of each message."""
    connection = kombu.Connection(url, transport_options={"confirm_publish": True})
    producer = connection.Producer(exchange=kombu.Exchange("nova", "topic"), auto_declare=False)

    def publish(events: list[Event]) -> None:
        for event in events:
            producer.publish(
                event.message,
                routing_key="notifications.info",
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=2,
                mandatory=True,
            )

    return publish


def oslo(url: str) -> Publish:
    """oslo.messaging's notifier, which makes the messages itself."""
    conf = cfg.ConfigOpts()
    conf([])
    transport = oslo_messaging.get_notification_transport(conf, url.replace("amqp", "rabbit", 1))
    conf.set_override("amqp_durable_queues", True, group="oslo_messaging_rabbit")
    conf.set_override("heartbeat_timeout_threshold", 0, group="oslo_messaging_rabbit")
    conf.set_override("control_exchange", "nova")
    notifier = oslo_messaging.Notifier(
        transport, "nova.host1", driver="messaging", topics=["notifications"]
    )

    def publish(events: list[Event]) -> None:
        for event in events:
            notifier.info({}, event.event_type, PAYLOAD)

    return publish


def measure(count: int, rounds: int) -> dict[str, list[float]]:
    """Events a second of each publisher, by rounds; all of them arrive, or it fails."""
    events = [notification("nova.x.end", PAYLOAD, "nova.host1", time.time()) for _ in range(count)]
    rates: dict[str, list[float]] = {}
    with RabbitmqBroker() as broker:
        publishers = {
            "tach": tach(broker.url),
            "kombu, confirming each": kombu_confirming_each(broker.url),
            "oslo.messaging": oslo(broker.url),
        }
        for publish in publishers.values():
            publish(events[:10])
        for _ in range(rounds):
            for name, publish in publishers.items():
                broker.control("purge_queue", "notifications.info")
                began = time.perf_counter()
                publish(events)
                rates.setdefault(name, []).append(count / (time.perf_counter() - began))
                assert broker.depth("notifications.info") == count
    return rates


def main(count: int = 3000, rounds: int = 5) -> None:
    """Print a line for each publisher."""
    rates = measure(count, rounds)
    size = len(notification("nova.x.end", PAYLOAD, "nova.host1", time.time()).message)
    print(f"{count} persistent messages of {size} bytes to a durable queue, {rounds} rounds")
    ours = rates["tach"]
    for name, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(ours, found, strict=True))
        median = statistics.median(found)
        print(f"{name:24} {median:8.0f}/s   tach is {ratio:4.1f} times as fast")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
