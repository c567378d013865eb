"""One connection to a broker: what it declares, what it has published, what was confirmed."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tach.notifiers.amqp_url import Broker

log = logging.getLogger("tach.amqp")

REFUSED_CODES = (403, 530)
# Waiting is cut into slices of this many seconds, so that heartbeats are sent meanwhile.
SLICE = 1.0
DURABLE_QUEUE = {"durable": True, "exclusive": False, "auto_delete": False}


class Copy(NamedTuple):
    """A message on its way to the queues of one routing key."""

    routing_key: str
    message_id: str


class BlockedError(TimeoutError):
    """The broker has stopped reading, for lack of memory or disk; the connection is all right."""


class RefusedError(PermissionError):
    """The broker does not want this user, or not in this virtual host."""


class Settings(NamedTuple):
    """What holds for each connection; times in seconds."""

    exchange: str
    durable: bool
    create_exchange: bool
    create_queues: bool
    heartbeat: int
    timeout: float
    confirm_timeout: float
    window: int
    tls_ca: str | None
    tls_cert: str | None
    tls_key: str | None
    tls_verify: bool


class Connection:
    """An open connection to `broker`, with one channel in confirm mode and the exchange there.

    Copies that the broker has confirmed are added to `confirmed`. All that talk to the broker raise
    BlockedError if it has stopped reading, which leaves the connection as it is; after any other
    OSError it must be dropped: RefusedError if the broker said no, TimeoutError, ConnectionError.
    """

    def __init__(
        self, broker: Broker, settings: Settings, confirmed: set[Copy], tallies: dict[str, int]
    ) -> None:
        self.broker = broker
        self._settings = settings
        self._confirmed = confirmed
        self._tallies = tallies
        self._blocked = False
        self._declared: set[str] = set()
        self._unrouted: set[str] = set()
        self._returned: set[Copy] = set()
        self._unconfirmed: dict[int, Copy] = {}
        self._last_tag = 0
        self._connection = self._new_connection()
        try:
            with self._translated():
                self._connection.connect()
                self._declare_exchange()
                self._channel = self._confirming_channel()
        except Exception:
            self.drop()
            raise

    def in_flight(self) -> set[Copy]:
        """The copies that are published and not confirmed yet."""
        return set(self._unconfirmed.values())

    def declare(self, routing_keys: Iterable[str]) -> None:
        """See to it, once for each, that there is a queue named as the routing key."""
        for key in sorted(set(routing_keys) - self._declared):
            # A broker that has stopped reading would never answer.
            self.wait_for_unblocked()
            with self._translated():
                self._declare_queue(key)
            self._declared.add(key)

    def publish(self, copies: Iterable[Copy], body: bytes, properties: dict[str, Any]) -> None:
        """Hand the copies of a message to the broker, each as soon as the window has room."""
        message = self._amqp.Message(body, **properties)
        for copy in copies:
            self.wait_for_unblocked()
            self._wait(lambda: len(self._unconfirmed) < self._settings.window)
            self._publish(copy, message)

    def _publish(self, copy: Copy, message: Any) -> None:
        self._last_tag += 1
        self._unconfirmed[self._last_tag] = copy
        with self._translated():
            self._channel.basic_publish(
                message,
                self._settings.exchange,
                copy.routing_key,
                mandatory=True,
                timeout=self._settings.timeout,
            )
        self._tallies["published"] += 1
        self._tallies["bytes"] += len(message.body)

    def wait_for_unblocked(self) -> None:
        """Return as soon as the broker reads."""
        if self._blocked:
            self._wait(lambda: not self._blocked)

    def wait_for_all(self) -> None:
        """Return as soon as the broker has answered for every copy."""
        self._wait(lambda: not self._unconfirmed)

    def tick(self) -> None:
        """Read what has come and send a heartbeat if it is time to. Never waits."""
        with self._translated():
            with contextlib.suppress(TimeoutError):
                while True:
                    self._connection.drain_events(timeout=0)
            self._heartbeat()

    def close(self) -> None:
        """Say goodbye, unless the broker does not listen."""
        if not self._blocked:
            with contextlib.suppress(OSError), self._translated():
                self._connection.close()
        self.drop()

    def drop(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError, ValueError):
            self._connection.collect()

    def _new_connection(self) -> Any:
        import amqp

        self._amqp = amqp
        settings, broker = self._settings, self.broker
        external = broker.user is None and settings.tls_cert is not None
        return amqp.Connection(
            broker.address,
            userid="guest" if broker.user is None else broker.user,
            password="guest" if broker.user is None else broker.password,
            login_method="EXTERNAL" if external else "PLAIN",
            virtual_host=broker.virtual_host,
            ssl=_tls(broker, settings) if broker.tls else False,
            connect_timeout=settings.timeout,
            read_timeout=settings.timeout,
            write_timeout=settings.timeout,
            heartbeat=settings.heartbeat,
            on_blocked=self._on_blocked,
            on_unblocked=self._on_unblocked,
            client_properties={"connection_name": f"tach on {socket.gethostname()}"},
            # py-amqp's own, one second, would end the connection when the broker stops reading.
            socket_settings={socket.TCP_USER_TIMEOUT: 2000 * settings.heartbeat},
        )

    def _declare_exchange(self) -> None:
        name = self._settings.exchange
        if self._exists("exchange_declare", name, type="topic"):
            return
        if not self._settings.create_exchange:
            raise ConnectionError(
                f"{self.broker.address}: there is no exchange {name!r}; "
                "create it, or set create_exchange: true"
            )
        durable = self._settings.durable
        self._perform("exchange_declare", name, "topic", durable=durable, auto_delete=False)

    def _declare_queue(self, key: str) -> None:
        if not self._exists("queue_declare", key):
            # Without a queue of this name there may be others that are bound to the routing key.
            if self._settings.create_queues:
                self._create_queue(key)
            return
        if key in self._unrouted and self._settings.create_queues:
            self._bind(key)
        self._warn_if_transient(key)

    def _create_queue(self, key: str) -> None:
        self._perform("queue_declare", key, **DURABLE_QUEUE)
        self._bind(key)

    def _bind(self, key: str) -> None:
        self._perform("queue_bind", key, self._settings.exchange, key)

    def _exists(self, declare: str, name: str, **more: Any) -> bool:
        """Ask for it passively: that works whatever it was declared with."""
        try:
            self._perform(declare, name, passive=True, **more)
        except self._amqp.NotFound:
            return False
        return True

    def _warn_if_transient(self, key: str) -> None:
        # Nothing tells whether a queue is durable; declaring it so is refused if it is not.
        try:
            self._perform("queue_declare", key, **DURABLE_QUEUE)
        except self._amqp.ChannelError as error:
            if "inequivalent arg 'durable'" in error.reply_text:
                log.warning(
                    "%s: the queue %s is not durable: a restart of the broker loses what is in it",
                    self.broker.address,
                    key,
                )

    def _perform(self, method: str, *arguments: Any, **more: Any) -> None:
        """Call it on a channel of its own, since the broker closes the channel where it fails."""
        channel = self._connection.channel()
        getattr(channel, method)(*arguments, **more)
        channel.close()

    def _confirming_channel(self) -> Any:
        channel = self._connection.channel()
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        return channel

    def _on_blocked(self, _: str) -> None:
        self._blocked = True
        self._tallies["blocked"] += 1
        log.warning("%s is short of memory or disk and has stopped reading", self.broker.address)

    def _on_unblocked(self) -> None:
        self._blocked = False
        log.info("%s reads again", self.broker.address)

    def _on_return(self, _: Exception, exchange: str, routing_key: str, message: Any) -> None:
        """The broker has no queue for it; the confirmation that follows means nothing."""
        self._tallies["unroutable"] += 1
        self._returned.add(Copy(routing_key, message.properties["message_id"]))
        self._declared.discard(routing_key)
        if routing_key not in self._unrouted:
            self._unrouted.add(routing_key)
            log.warning(
                "%s: no queue is bound to the exchange %s with the routing key %s",
                self.broker.address,
                exchange,
                routing_key,
            )

    def _on_ack(self, tag: int, multiple: bool) -> None:
        copies = set(self._take(tag, multiple))
        returned = copies & self._returned
        self._returned -= returned
        self._tallies["confirmed"] += len(copies - returned)
        self._confirmed |= copies - returned

    def _on_nack(self, tag: int, multiple: bool) -> None:
        copies = self._take(tag, multiple)
        self._returned.difference_update(copies)
        self._tallies["nacked"] += len(copies)

    def _take(self, tag: int, multiple: bool) -> list[Copy]:
        tags = list(takewhile(lambda each: each <= tag, self._unconfirmed)) if multiple else [tag]
        return [self._unconfirmed.pop(each) for each in tags]

    def _wait(self, done: Callable[[], bool]) -> None:
        """Read until it is done. The time-out begins anew with whatever the broker answers."""
        seen, deadline = None, 0.0
        while not done():
            state = (len(self._unconfirmed), self._blocked)
            if state != seen:
                seen, deadline = state, time.monotonic() + self._settings.confirm_timeout
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._too_late()
            with self._translated():
                try:
                    self._connection.drain_events(timeout=min(left, SLICE))
                except TimeoutError:
                    self._heartbeat()

    def _too_late(self) -> TimeoutError:
        address, waited = self.broker.address, f"{self._settings.confirm_timeout:g} s"
        if self._blocked:
            return BlockedError(f"{address} is short of memory or disk, not over within {waited}")
        missing = len(self._unconfirmed)
        return TimeoutError(f"{address} did not confirm {missing} messages within {waited}")

    def _heartbeat(self) -> None:
        # A broker that has stopped reading cannot see them, and expects none.
        if not self._blocked:
            self._connection.heartbeat_tick()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """OSErrors that name the broker, out of those of py-amqp and of the socket."""
        address = self.broker.address
        try:
            yield
        except self._amqp.AMQPError as error:
            what = f"{address}: {error.reply_text or type(error).__name__}"
            refused = error.reply_code in REFUSED_CODES
            raise (RefusedError if refused else ConnectionError)(what) from error
        except TimeoutError as error:
            raise TimeoutError(f"{address}: timed out") from error
        except OSError as error:
            raise ConnectionError(f"{address}: {error.strerror or error}") from error


def _tls(broker: Broker, settings: Settings) -> dict[str, Any]:
    return {
        "ca_certs": settings.tls_ca,
        "certfile": settings.tls_cert,
        "keyfile": settings.tls_key,
        "cert_reqs": ssl.CERT_REQUIRED if settings.tls_verify else ssl.CERT_NONE,
        "server_hostname": broker.host if settings.tls_verify else None,
    }
