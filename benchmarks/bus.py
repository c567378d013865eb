"""Notifications on their way to a real RabbitMQ: how many a second, and how long each takes."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import kombu
import oslo_messaging
from oslo_config import cfg
from report import Goal, Section, figure
from scratch import ROOT, Scratch
from sender import wait_for_end

sys.path.append(str(ROOT / "tests"))

from rabbitmq_broker import BIN, HOW_TO_GET_IT, RabbitmqBroker

from tach.notifiers.amqp import Amqp
from tach.notifiers.oslo_message import notification
from tach.samples import Event

COUNT = 3000
ROUNDS = 5
BATCH = 500  # events that tach is given at once
PAYLOAD = {"instance_id": "0d4f7f2a", "padding": "x" * 650}  # such that a message has 1 KB
QUEUE = "notifications.info"
SPEED = f"""\
Persistent notifications of {{size:,}} bytes, to a durable queue of RabbitMQ on this machine, that a
publisher gets confirmed in a second: the median over {ROUNDS} rounds of {COUNT:,} and their middle
half. In each round every publisher had its turn; all that they published was in the queue."""
RATES = (20, 200)  # evented calls a second
SECONDS = 10
WARM_UP = 2  # seconds of calls that do not count: the sender connects
LAG = f"""\
Milliseconds from the record of a notification in the spool (its own timestamp) to its arrival at a
consumer in a process of its own, through the sender and RabbitMQ, all on this machine: of an
unmodified program that calls a function with `events` at an even rate for {SECONDS} s. The sender
looks into the spool every 50 ms."""
CONFIG = """\
spool: {{directory: "{spool}"}}
notifiers: {{bus: {{type: amqp, url: "{url}", exchange: nova}}}}
targets:
  reboot: {{function: "rebooted:reboot", metrics: events, payload: {{number: args.number}}}}
"""

Publish = Callable[[list[Event]], None]


def measure_speed(_scratch: Scratch, _port: int) -> Section:
    """tach, kombu and oslo.messaging by turns."""
    title = "Notifications to RabbitMQ"
    if not BIN.exists():
        return left_out(title)
    rates = speeds()
    times = {name: statistics.median(ratios(rates["tach"], rates[name])) for name in rates}
    rows = [(name, figure(found).text(), f"{times[name]:.1f}") for name, found in rates.items()]
    goals = [
        Goal(f"time for a notification, in proportion to {name}", 1 / times[name], 1 / 4, "")
        for name in rates
        if name != "tach"
    ]
    meaning = SPEED.format(size=len(an_event().message))
    header = ("", "confirmed a second", "tach is faster by")
    return Section(title, meaning, header, rows, goals)


def measure_lag(scratch: Scratch, _port: int) -> Section:
    """Calls at one rate after the other."""
    title = "From a call to a consumer"
    if not BIN.exists():
        return left_out(title)
    with RabbitmqBroker() as broker:
        rows = [lag_row(rate, lags(scratch, broker, rate)) for rate in RATES]
    return Section(title, LAG, ("calls a second", "median", "p99", "longest"), rows, [])


def left_out(title: str) -> Section:
    """Says why there are no figures."""
    return Section(title, f"Left out: {HOW_TO_GET_IT}.", (), [], [])


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """How many times as fast we are, by rounds."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def an_event() -> Event:
    """A new notification."""
    return notification("nova.x.end", PAYLOAD, "nova.host1", time.time())


def speeds() -> dict[str, list[float]]:
    """Events a second of each publisher, by rounds; all of them arrive, or it fails."""
    events = [an_event() for _ in range(COUNT)]
    rates: dict[str, list[float]] = {}
    with RabbitmqBroker() as broker:
        publishers = {
            "tach": tach(broker.url),
            "kombu, confirming each": kombu_confirming_each(broker.url),
            "oslo.messaging": oslo(broker.url),
        }
        for publish in publishers.values():
            publish(events[:10])
        for _ in range(ROUNDS):
            for name, publish in publishers.items():
                broker.control("purge_queue", QUEUE)
                began = time.perf_counter()
                publish(events)
                rates.setdefault(name, []).append(COUNT / (time.perf_counter() - began))
                assert broker.depth(QUEUE) == COUNT
    return rates


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
                routing_key=QUEUE,
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


def lags(scratch: Scratch, broker: RabbitmqBroker, rate: int) -> list[float]:
    """Seconds from each notification to its arrival, of a program that makes `rate` calls a second.

    Every one of them arrives, or it fails.
    """
    spool = scratch.directory / "spool"
    config = scratch.config("lag.yaml", CONFIG.format(spool=spool, url=broker.url))
    expected = 2 * rate * (WARM_UP + SECONDS)
    consumer = scratch.start(scratch.python, "arrivals.py", str(broker.port), QUEUE, str(expected))
    assert consumer.stdout is not None
    with consumer:
        assert consumer.stdout.readline() == "ready\n"
        scratch.run(
            scratch.tach, config, scratch.python, "rebooted.py", str(rate), str(WARM_UP + SECONDS)
        )
        found: list[float] = json.loads(consumer.stdout.read())
    wait_for_end(scratch)
    assert len(found) == expected
    return found[2 * rate * WARM_UP :]


def lag_row(rate: int, seconds: list[float]) -> tuple[str, ...]:
    """A row of the table."""
    p99 = statistics.quantiles(seconds, n=100)[-1]
    figures = (statistics.median(seconds), p99, max(seconds))
    return (f"{rate:,}", *(f"{each * 1000:.1f}" for each in figures))
