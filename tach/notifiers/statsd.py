"""Sends samples to a statsd daemon, over UDP, TCP or a unix socket."""

from __future__ import annotations

import errno
import functools
import os
import select
import socket
import time
from collections import deque
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, get_args

from statsd import StatsClient, TCPStatsClient, UnixSocketStatsClient

from tach.histogram import Histogram
from tach.notifiers.dogstatsd import Dogstatsd, check_tags
from tach.notifiers.options import host as checked_host
from tach.notifiers.options import within
from tach.notifiers.statsd_rates import (
    FEWEST_LINES,
    USUAL_PERCENTILES,
    plain_number,
    rate_text,
    rates,
)

if TYPE_CHECKING:
    from tach.samples import Batch, RunInfo, Sample

Transport = Literal["udp", "tcp", "unix"]
Dialect = Literal["statsd", "dogstatsd"]
LARGEST_DATAGRAM = 65507
LONGEST_UNIX_PATH = 107
# The kernel keeps some 80 full datagrams for a daemon that is busy, and loses the rest: at this
# pace it may be busy for 40 ms.
BURST = 10
BURST_PAUSE = 0.005
# What may be over a moment later: a full queue, a daemon that is being restarted.
PASSING = (errno.ECONNREFUSED, errno.EAGAIN, errno.ENOBUFS)
PASSING_PAUSE = 0.01
REFUSAL_WAIT_MS = 50
TOGETHER = "\v"  # what no name has: between two lines that must not be parted


class Statsd:
    """Sends to a statsd daemon over UDP, TCP or a unix socket, many lines a packet.

    Options: `host` and `port`, or `path` of a unix socket; `transport` (udp, tcp or unix);
    `timeout` of connecting and sending, in seconds; `max_packet`, the bytes of a packet;
    `max_lines`, the most lines (dogstatsd: values) for the durations of one series in one batch;
    `resolve_every`, the seconds after which the host is looked up and connected to anew.
    `dialect`: dogstatsd names metrics by what they measure and tags them with their target, and its
    unix sockets take datagrams; for it alone are `tags` of every metric, `distributions` (False:
    histograms, which the agent sums up itself) and `strip`, the prefix of the configuration, that
    targets are to be without.

    Nothing is resolved or connected before the first `send`. `tallies` holds running totals:
    bytes, packets, reconnects, and invalid (samples without a finite number, left out).
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8125,
        transport: Transport = "udp",
        path: str | None = None,
        timeout: float = 3.0,
        max_packet: int = 1432,
        max_lines: int = 500,
        resolve_every: float = 300.0,
        dialect: Dialect = "statsd",
        tags: dict[str, str] | None = None,
        distributions: bool = True,
        strip: str | None = None,
    ) -> None:
        self.dialect = _dialect(dialect, tags, distributions, strip)
        self.transport = _transport(transport, path)
        self.path = path
        self.host = checked_host(host)
        self.port = int(within("port", port, 1, 65535))
        self.timeout = within("timeout", timeout, 0.001, 3600)
        self.max_packet = int(within("max_packet", max_packet, 64, LARGEST_DATAGRAM))
        self.max_lines = int(within("max_lines", max_lines, FEWEST_LINES, 1_000_000))
        self.resolve_every = within("resolve_every", resolve_every, 1, 1e9)
        self.tallies = {"bytes": 0, "packets": 0, "reconnects": 0, "invalid": 0}
        kind: Literal["d", "h"] = "d" if distributions else "h"
        self._dogstatsd = Dogstatsd(tags or {}, kind, strip, self.max_lines, self.max_packet)
        self._client: Any = None
        self._connected_at = 0.0
        self._batch: Batch | None = None
        self._unsent: deque[str] = deque()

    @classmethod
    def check(cls, **options: Any) -> None:
        """Raise ValueError, saying what is wrong, if the options make no sense."""
        cls(**options)

    def introduce(self, run: RunInfo) -> None:
        """Learn what the tags are to say."""
        self._dogstatsd.introduce(run)

    def send(self, batch: Batch) -> None:
        """Send what of this batch is not sent yet; OSError if the daemon cannot be reached.

        A batch that failed half-way is continued where it stopped when it is given again, as long
        as no other one came between.
        """
        if batch is not self._batch:
            self._batch, self._unsent = batch, self._packets(batch)
        sent = 0
        while self._unsent:
            self._send_packet(self._unsent[0])
            self._unsent.popleft()
            sent += 1
            if self.transport == "udp" and sent % BURST == 0:
                time.sleep(BURST_PAUSE)

    def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _packets(self, batch: Batch) -> deque[str]:
        texts = []
        text_of = self._text if self.dialect == "statsd" else self._tagged
        for sample in batch.samples:
            if isinstance(sample.value, Histogram) or isfinite(sample.value):
                texts.append(text_of(sample))
            else:
                self.tallies["invalid"] += 1
        text = "\n".join(filter(None, texts)).encode("ascii", "replace").decode("ascii")
        return packed(text, self.max_packet)

    def _tagged(self, sample: Sample) -> str:
        return "\n".join(self._dogstatsd.lines(sample))

    def _text(self, sample: Sample) -> str:
        if isinstance(sample.value, Histogram):
            name = sample.name.encode("ascii", "replace").decode("ascii")
            return histogram_text(name, sample.value, self.max_lines)
        if sample.kind == "gauge":
            return gauge_text(sample.name, sample.value)
        return f"{sample.name}:{plain_number(sample.value)}|c"

    def _send_packet(self, packet: str) -> None:
        if time.monotonic() - self._connected_at > self.resolve_every:
            self.close()
        try:
            if self._client is None:
                self._client = self._connect()
            self._client._send(packet)
        except OSError:
            self.close()
            raise
        self.tallies["packets"] += 1
        self.tallies["bytes"] += len(packet)

    def _connect(self) -> Any:
        if self._connected_at:
            self.tallies["reconnects"] += 1
        self._connected_at = time.monotonic()
        if self.transport == "unix" and self.dialect == "dogstatsd":
            return _DatagramClient(self.path, self.timeout)
        if self.transport == "unix":
            return _UnixClient(self.tallies, self.path, timeout=self.timeout)
        ipv6 = not _has_ipv4(self.host, self.port)
        if self.transport == "tcp":
            return _TCPClient(self.tallies, self.host, self.port, timeout=self.timeout, ipv6=ipv6)
        return _UDPClient(self.timeout, self.host, self.port, ipv6=ipv6)


def packed(text: str, most: int) -> deque[str]:
    """The lines of a text in packets of at most so many characters, and TOGETHER as line ends."""
    packets: deque[str] = deque()
    start, length = 0, len(text)
    while start < length:
        end = start + most
        if end < length:
            # no packet without a line, however long it is
            end = text.rfind("\n", start, end + 1)
            end = end if end > start else text.find("\n", start + 1)
        end = end if 0 < end < length else length
        packets.append(text[start:end].replace(TOGETHER, "\n"))
        start = end + 1
    return packets


def histogram_text(name: str, durations: Histogram, most: int) -> str:
    """At most `most` lines that stand for the whole distribution, as `name:value|ms|@rate`.

    The daemon sorts the values it gets and ignores their rates, so the values are m evenly spaced
    quantiles: see `_fractions`. It takes none below 0, and would lose the count of those: they go
    as 0.
    """
    count = durations.count
    if not count:
        return ""
    fractions, ends = _lines(count, most)
    return durations.lines(fractions, f"{name}:", ends)


@functools.lru_cache(8)  # many series have the same few counts
def _lines(count: int, most: int) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Which quantiles the lines for so many calls hold, and how each line ends."""
    exponents = rates(count, most)
    ends = tuple(f"|ms{rate_text(exponent)}" for exponent in exponents)
    return tuple(_fractions(len(exponents), whole=len(exponents) == count)), ends


def _fractions(lines: int, whole: bool) -> list[float]:
    """Which quantiles the lines hold, ascending: every call's own where there is a line for each.

    Else line i holds (i + 1) / lines, because the daemon takes line round(p * lines) for percentile
    p; for the usual ones that line holds exactly p. The last, which would be the greatest of all
    with the weight of many, holds the middle of its share.
    """
    if whole:
        return [(i + 0.5) / lines for i in range(lines)]
    fractions = [(i + 1) / lines for i in range(lines)]
    for percentile in USUAL_PERCENTILES:
        fractions[round(percentile * lines) - 1] = percentile
    fractions[-1] = (lines - 0.5) / lines
    return fractions


def gauge_text(name: str, value: float) -> str:
    """The line that sets a gauge: two for a value below 0, since a sign alone means "add"."""
    line = f"{name}:{plain_number(value)}|g"
    return f"{name}:0|g{TOGETHER}{line}" if value < 0 else line


def _has_ipv4(host: str, port: int) -> bool:
    return any(family == socket.AF_INET for family, *_ in socket.getaddrinfo(host, port))


class _UDPClient(StatsClient):  # type: ignore[misc]
    """A connected UDP socket: it learns that nobody listens, which sendto never does."""

    def __init__(self, timeout: float, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sock.settimeout(timeout)
        try:
            self._sock.connect(self._addr)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        # Not all versions of the statsd package close it.
        self._sock.close()

    def _send(self, data: str) -> None:
        packet = data.encode("ascii")
        try:
            self._transmit(packet, 0)
        except OSError as error:
            if error.errno not in PASSING:
                raise
            time.sleep(PASSING_PAUSE)
            self._transmit(packet, REFUSAL_WAIT_MS)

    def _transmit(self, packet: bytes, wait_ms: int) -> None:
        """Send it and wait so long for the answer that nobody listens."""
        self._sock.send(packet)
        if wait_ms:
            _readable(self._sock, wait_ms)
        refusal = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if refusal:
            raise OSError(refusal, os.strerror(refusal))


class _DatagramClient:
    """A unix socket of datagrams, as DogStatsD has it."""

    def __init__(self, path: str | None, timeout: float) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.settimeout(timeout)
        try:
            self._sock.connect(path or "")
        except OSError:
            self._sock.close()
            raise

    def close(self) -> None:
        self._sock.close()

    def _send(self, data: str) -> None:
        self._sock.send(data.encode("ascii"))


class _Stream:
    """What both stream clients do: connect once more where the daemon hung up."""

    def __init__(self, tallies: dict[str, int], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tallies = tallies
        self._sock: socket.socket | None

    def _send(self, data: str) -> None:
        # A packet is far smaller than the room there is when a socket becomes writable, so it goes
        # out whole or not at all and can be sent again.
        if self._sock is not None and _hung_up(self._sock):
            self._hang_up()
        connected = self._sock is not None
        try:
            super()._send(data)  # type: ignore[misc]
        except ConnectionError:
            if not connected:
                raise
            self._hang_up()
            super()._send(data)  # type: ignore[misc]

    def _hang_up(self) -> None:
        self.close()  # type: ignore[attr-defined]
        self._tallies["reconnects"] += 1


class _TCPClient(_Stream, TCPStatsClient):  # type: ignore[misc]
    pass


class _UnixClient(_Stream, UnixSocketStatsClient):  # type: ignore[misc]
    pass


def _hung_up(connection: socket.socket) -> bool:
    """Whether the peer closed it: sending would seem to work once more, and be lost."""
    if not _readable(connection, 0):
        return False
    try:
        return not connection.recv(4096)
    except ConnectionError:
        return True


def _readable(connection: socket.socket, wait_ms: int) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(wait_ms))


def _dialect(
    dialect: Dialect, tags: dict[str, str] | None, distributions: bool, strip: str | None
) -> Dialect:
    if dialect not in get_args(Dialect):
        raise ValueError(f"dialect {dialect!r} is none of {', '.join(get_args(Dialect))}")
    for option, given in (("tags", tags), ("distributions", not distributions), ("strip", strip)):
        if given and dialect == "statsd":
            raise ValueError(f"{option!r} is for the dialect dogstatsd; add 'dialect: dogstatsd'")
    check_tags(tags or {})
    return dialect


def _transport(transport: Transport, path: str | None) -> Transport:
    if transport not in get_args(Transport):
        raise ValueError(f"transport {transport!r} is none of {', '.join(get_args(Transport))}")
    if path is None:
        if transport == "unix":
            raise ValueError("transport unix needs 'path', the path of the daemon's socket")
        return transport
    if transport == "tcp":
        raise ValueError("'path' is for transport unix, not tcp; leave out one of them")
    if not isinstance(path, str) or not 0 < len(os.fsencode(path)) <= LONGEST_UNIX_PATH:
        raise ValueError(f"path {path!r} must have 1 to {LONGEST_UNIX_PATH} bytes")
    return "unix"
