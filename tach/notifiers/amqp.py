"""Sends notifications to an AMQP broker: events that must arrive, and metrics.

On py-amqp, because it has pipelined confirms and tells of a blocked connection, and because every
OpenStack environment has it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, get_args

from tach.notifiers.amqp_connection import BlockedError, Connection, Copy, RefusedError, Settings
from tach.notifiers.amqp_url import Broker
from tach.notifiers.metrics_message import metrics_messages
from tach.notifiers.options import within
from tach.notifiers.oslo_message import envelope, written_at

if TYPE_CHECKING:
    from tach.samples import Batch, Event

Format = Literal["1.0", "2.0"]
LONGEST_NAME = 255  # bytes of a name on the wire
LONGEST_TOPIC = 200
REFUSAL_PAUSE = 60.0
TALLIES = ("published", "confirmed", "unroutable", "nacked", "bytes", "reconnects", "blocked")
# Confirmations are remembered until the sender has heard of them, but not for ever.
REMEMBERED = 100_000


class Amqp:
    """Publishes to a RabbitMQ, as oslo.messaging's notifications are.

    Options: `url`, amqp:// or amqps://, or a list of them, the next of which is tried when one
    fails; `exchange`, that of the service, which consumers listen to; `topics`, for each of which a
    copy is sent, with the routing key <topic>.<priority>; `format`, 1.0 (the message itself, which
    all consumers understand, StackTach no other) or 2.0 (oslo's envelope); `create_exchange`, and
    whether it is to be `durable`; `create_queues`, a durable one for each routing key; where these
    exist they are used as they are. `publisher_id` of metrics (default: tach.<host>) and `interval`
    between them; `heartbeat`, `timeout` of connecting and of each answer, `confirm_timeout`, all in
    seconds; `window`, the most messages that are not confirmed yet; `tls_ca`, `tls_cert`, `tls_key`
    (paths of PEM files) and `tls_verify`, for amqps://.

    `tallies` holds running totals of messages, one for each topic: published, confirmed,
    unroutable, nacked; and bytes, reconnects, and blocked (how often the broker stopped reading).
    """

    def __init__(
        self,
        url: str | list[str],
        exchange: str,
        topics: Sequence[str] = ("notifications",),
        format: Format = "1.0",
        durable: bool = True,
        create_exchange: bool = True,
        create_queues: bool = True,
        publisher_id: str | None = None,
        interval: float | None = None,
        heartbeat: float = 30.0,
        timeout: float = 5.0,
        confirm_timeout: float = 10.0,
        window: int = 100,
        tls_ca: str | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        tls_verify: bool = True,
    ) -> None:
        self.interval = None if interval is None else within("interval", interval, 0.1, 86400)
        self._brokers = _brokers(url)
        self._topics = _topics(topics)
        self._format = _format(format)
        self._publisher_id = publisher_id or f"tach.{socket.gethostname()}"
        self._settings = Settings(
            _name("exchange", exchange, LONGEST_NAME),
            durable,
            create_exchange,
            create_queues,
            int(within("heartbeat", heartbeat, 1, 3600)),
            within("timeout", timeout, 0.01, 3600),
            within("confirm_timeout", confirm_timeout, 0.01, 3600),
            int(within("window", window, 1, 65535)),
            _file("tls_ca", tls_ca),
            _file("tls_cert", tls_cert),
            _file("tls_key", tls_key),
            tls_verify,
        )
        if tls_key and not tls_cert:
            raise ValueError("tls_key needs tls_cert, the certificate that belongs to it")
        self.tallies = dict.fromkeys(TALLIES, 0)
        self._connection: Connection | None = None
        self._connected_before = False
        self._next_broker = 0
        self._refusals: dict[Broker, _Refusal] = {}
        self._confirmed: set[Copy] = set()
        self._batch: Batch | None = None
        self._unsent: list[Event] = []

    @classmethod
    def check(cls, **options: Any) -> None:
        """Raise ValueError, saying what is wrong, if the options make no sense."""
        cls(**options)
        if find_spec("amqp") is None:
            raise ValueError("the package amqp is missing; pip install 'tach[amqp]'")

    def deliver(self, events: Sequence[Event]) -> list[bool]:
        """Publish the events and wait; True for each whose copies are all confirmed.

        False is one that the broker refused, or that no queue is there for. Raises OSError if the
        broker cannot be reached or does not answer. What it confirmed until then is remembered and
        not published again when the same event is given again, nor is what a blocked broker still
        has to confirm.
        """
        copies = {event.message_id: self._copies(event) for event in events}
        with self._dropping_what_failed():
            connection = self._connected()
            connection.declare(copy.routing_key for each in copies.values() for copy in each)
            known = self._confirmed | connection.in_flight()
            for event in events:
                if new := [copy for copy in copies[event.message_id] if copy not in known]:
                    connection.publish(new, self._body(event), self._properties(event))
            connection.wait_for_all()
        return self._answer(copies, events)

    def send(self, batch: Batch) -> None:
        """Publish a notification for each series; OSError if not all of them are confirmed.

        The same batch given again is the same messages again, without those that are confirmed.
        """
        if batch is not self._batch:
            self._batch, self._unsent = batch, metrics_messages(batch, self._publisher_id)
        delivered = self.deliver(self._unsent)
        self._unsent = [
            event for event, done in zip(self._unsent, delivered, strict=True) if not done
        ]
        if self._unsent:
            raise ConnectionError(
                f"{len(self._unsent)} of {len(delivered)} notifications were refused, or nobody "
                "has a queue for them"
            )

    def tick(self) -> None:
        """Keep an idle connection alive; to be called at least every half `heartbeat`."""
        with contextlib.suppress(OSError), self._dropping_what_failed():
            if self._connection is not None:
                self._connection.tick()

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _copies(self, event: Event) -> list[Copy]:
        priority, message_id = event.priority.lower(), _cut(event.message_id)
        return [Copy(_cut(f"{topic}.{priority}"), message_id) for topic in self._topics]

    def _body(self, event: Event) -> bytes:
        return event.message if self._format == "1.0" else envelope(event.message)

    def _properties(self, event: Event) -> dict[str, Any]:
        """The same for each publishing of the event, so that a duplicate is a duplicate."""
        written = written_at(event.message)
        return {
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "delivery_mode": 2,
            "message_id": _cut(event.message_id),
            "type": _cut(event.event_type),
            "app_id": "tach",
            **({} if written is None else {"timestamp": written}),
        }

    def _answer(self, copies: dict[str, list[Copy]], events: Sequence[Event]) -> list[bool]:
        answer = [self._confirmed.issuperset(copies[event.message_id]) for event in events]
        for event, delivered in zip(events, answer, strict=True):
            if delivered:
                self._confirmed.difference_update(copies[event.message_id])
        if len(self._confirmed) > REMEMBERED:
            self._confirmed.clear()
        return answer

    @contextlib.contextmanager
    def _dropping_what_failed(self) -> Iterator[None]:
        """Drop a connection after an error: what comes next on it could be an answer to before."""
        try:
            yield
        except BlockedError:
            raise
        except Exception as error:
            if isinstance(error, RefusedError) and self._connection is not None:
                self._refusals[self._connection.broker] = _Refusal(str(error))
            self._drop()
            raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.drop()
            self._connection = None

    def _connected(self) -> Connection:
        self.tick()  # notices if the broker has hung up since
        if self._connection is None:
            self._connection = self._connect()
            self.tallies["reconnects"] += self._connected_before
            self._connected_before = True
        return self._connection

    def _connect(self) -> Connection:
        """A connection to the first broker that wants one, beginning with the last that did."""
        failures = []
        for _ in self._brokers:
            broker = self._brokers[self._next_broker]
            try:
                return self._connect_to(broker)
            except OSError as error:
                failures.append(str(error))
            self._next_broker = (self._next_broker + 1) % len(self._brokers)
        raise ConnectionRefusedError("; ".join(failures))

    def _connect_to(self, broker: Broker) -> Connection:
        refusal = self._refusals.get(broker)
        if refusal and time.monotonic() < refusal.until:
            raise RefusedError(refusal.what)
        try:
            connection = Connection(broker, self._settings, self._confirmed, self.tallies)
        except RefusedError as error:
            self._refusals[broker] = _Refusal(str(error))
            raise
        self._refusals.pop(broker, None)
        return connection


class _Refusal:
    """What a broker said that is of no use to ask again soon."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.until = time.monotonic() + REFUSAL_PAUSE


def _cut(text: str) -> str:
    """As much of it as a name on the wire can hold."""
    return text.encode()[:LONGEST_NAME].decode(errors="ignore")


def _brokers(url: str | Sequence[str]) -> list[Broker]:
    urls = [url] if isinstance(url, str) else list(url)
    if not urls or not all(isinstance(each, str) for each in urls):
        raise ValueError("url must be a URL such as amqp://user:password@host:5672//, or a list")
    return [Broker.parse(each) for each in urls]


def _topics(topics: Sequence[str]) -> list[str]:
    if isinstance(topics, str) or not topics:
        raise ValueError(f"topics {topics!r} must be a list such as [notifications]")
    return [_name("topics", topic, LONGEST_TOPIC) for topic in topics]


def _format(format: Format) -> Format:
    if format not in get_args(Format):
        raise ValueError(f"format {format!r} is none of {', '.join(get_args(Format))}")
    return format


def _name(option: str, name: str, longest: int) -> str:
    if not isinstance(name, str) or not 0 < len(name.encode()) <= longest:
        raise ValueError(f"{option} {name!r} must be a name of 1 to {longest} bytes")
    return name


def _file(option: str, path: str | None) -> str | None:
    if path is not None and not os.access(path, os.R_OK):
        raise ValueError(f"{option} {path!r} cannot be read")
    return path
