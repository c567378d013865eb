from __future__ import annotations

import math
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ports import HOST, free_ports
from processes import wait_until
from statsd_daemon import StatsdDaemon, require_statsd

from tach import buckets
from tach.histogram import Histogram
from tach.notifiers.statsd import Statsd, gauge_text, histogram_text, packed, rates
from tach.samples import Batch, Kind, Sample

TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "tcp", "unix"])
BAD_LINES = "statsd.bad_lines_seen"


@pytest.fixture(scope="module")
def daemon() -> Iterator[StatsdDaemon]:
    """A daemon for all tests that neither stop it nor look at its flush."""
    require_statsd()
    with StatsdDaemon() as running:
        yield running


@pytest.fixture
def own_daemon() -> Iterator[StatsdDaemon]:
    """A daemon for one test, which may stop it."""
    require_statsd()
    with StatsdDaemon() as running:
        yield running


def notifier(daemon: StatsdDaemon, transport: str, **options) -> Statsd:
    """A notifier that sends to the daemon."""
    if transport == "unix":
        return Statsd(path=daemon.socket_path, **options)
    port = daemon.port if transport == "udp" else daemon.tcp_port
    return Statsd(port=port, transport=transport, **options)


def sample(name: str, kind: Kind, value: float | Histogram) -> Sample:
    """A sample of any series."""
    return Sample(name, kind, value, 0.0, name, kind)


def batch(*samples: Sample) -> Batch:
    """A batch of some samples."""
    return Batch(samples, 0.0, 1.0)


def counters(prefix: str, count: int, value: int = 1) -> Batch:
    """A batch of so many counters."""
    return batch(*(sample(f"{prefix}.c{i}", "counter", value) for i in range(count)))


def lognormal(count: int) -> list[int]:
    """So many durations in nanoseconds, around 1.2 ms, in order, the same each time."""
    source = random.Random(7)
    return sorted(int(source.lognormvariate(14, 1)) for _ in range(count))


@TRANSPORTS
def test_each_kind_of_sample_arrives_exactly(daemon, transport) -> None:
    """Counters add up, gauges hold what was last sent, histograms are timers."""
    name = f"each.{transport}"
    durations = Histogram.of([1_000_000, 2_000_000, 3_500_000]).scaled(1e-6)
    with closing(notifier(daemon, transport)) as statsd:
        for repeated in range(3):
            statsd.send(
                batch(
                    sample(f"{name}.negative", "gauge", -5.25),
                    sample(f"{name}.positive", "gauge", 10.0 + repeated),
                    sample(f"{name}.duration", "histogram", durations),
                    sample(f"{name}.half", "counter", 0.5),
                    sample(f"{name}.calls", "counter", 7.0),
                )
            )
        daemon.wait_for_counter(f"{name}.calls", 21)
    assert daemon.counters()[f"{name}.calls"] == 21
    assert daemon.counters()[f"{name}.half"] == 1.5
    assert daemon.gauges()[f"{name}.negative"] == -5.25
    assert daemon.gauges()[f"{name}.positive"] == 12
    assert sorted(daemon.timers()[f"{name}.duration"]) == pytest.approx(
        [1, 1, 1, 2, 2, 2, 3.5, 3.5, 3.5], rel=0.01
    )
    assert daemon.counters()[BAD_LINES] == 0


@TRANSPORTS
def test_percentiles_of_many_calls_are_right_in_the_daemon(own_daemon, transport) -> None:
    """100,000 calls in at most 500 lines: count exact, the usual percentiles within 1 %."""
    values = lognormal(100_000)
    durations = Histogram.of(values).scaled(1e-6)
    with closing(notifier(own_daemon, transport)) as statsd:
        statsd.send(
            batch(sample("p.duration", "histogram", durations), sample("p.end", "counter", 1))
        )
    own_daemon.wait_for_counter("p.end", 1)
    own_daemon.stop()
    [flush] = own_daemon.flushes()
    lines = len(flush["timers"]["p.duration"])
    found = flush["timer_data"]["p.duration"]
    assert 250 < lines <= 500
    assert found["count"] == 100_000
    true = {p: values[p * 1000 - 1] / 1e6 for p in (50, 90, 99)}
    for percentile in (50, 90, 99):
        assert found[f"upper_{percentile}"] == pytest.approx(true[percentile], rel=0.01)
    assert found["median"] == pytest.approx(true[50], rel=0.01)
    assert found["mean"] == pytest.approx(durations.mean, rel=0.02)


def test_a_batch_greater_than_the_receive_buffer_of_the_daemon_arrives(daemon) -> None:
    """Over UDP, several times what the kernel keeps for the daemon does not overrun it.

    A machine that lets the daemon wait too long loses datagrams whatever the pace, so that one
    batch of three is enough; sent at once, none of them arrives whole.
    """
    durations = Histogram.of(lognormal(500)).scaled(1e-6)
    assert any(arrive(daemon, f"burst.{i}", [durations] * 60) for i in range(3))


def arrive(daemon: StatsdDaemon, name: str, several: list[Histogram]) -> bool:
    """Whether all lines of several histograms in one batch reach the daemon over UDP."""
    given = batch(*(sample(f"{name}.{i}", "histogram", each) for i, each in enumerate(several)))
    with closing(notifier(daemon, "udp")) as statsd:
        statsd.send(given)
        assert statsd.tallies["packets"] > 400
        # The daemon reads in order: what has not come before this is lost.
        wait_until(lambda: marked(statsd, daemon, f"{name}.end"), "the daemon has read all")
    received = [values for key, values in daemon.timers().items() if key.startswith(f"{name}.")]
    return sum(map(len, received)) == sum(each.count for each in several)


def marked(statsd: Statsd, daemon: StatsdDaemon, name: str) -> bool:
    """Send a counter of that name, and tell whether one has arrived."""
    statsd.send(batch(sample(name, "counter", 1)))
    return name in daemon.counters()


@TRANSPORTS
def test_lines_are_packed_into_few_packets(daemon, transport) -> None:
    """Packets are filled up to `max_packet` bytes and tallied."""
    with closing(notifier(daemon, transport, max_packet=512)) as statsd:
        statsd.send(counters(f"packed.{transport}", 100))
        daemon.wait_for_counter(f"packed.{transport}.c99", 1)
    tallies = statsd.tallies
    size = sum(len(f"packed.{transport}.c{i}:1|c\n") for i in range(100))
    assert size - tallies["packets"] <= tallies["bytes"] <= size
    assert tallies["packets"] == math.ceil(size / 512)
    assert (tallies["reconnects"], tallies["invalid"]) == (0, 0)


@pytest.mark.parametrize(("max_packet", "lines"), [(65, 3), (64, 2)])
def test_a_packet_has_at_most_the_bytes_allowed(max_packet, lines) -> None:
    """Datagrams are filled to `max_packet` and no further."""
    line = b"n" * 17 + b":1|c"  # three of them, and what parts them, are just 65 bytes
    with receiver(socket.SOCK_DGRAM) as udp:
        with closing(Statsd(port=udp.getsockname()[1], max_packet=max_packet)) as statsd:
            statsd.send(batch(*(sample("n" * 17, "counter", 1) for _ in range(30))))
        received = [udp.recv(65536) for _ in range(30 // lines)]
    assert received == [b"\n".join([line] * lines)] * (30 // lines)


@contextmanager
def receiver(kind: socket.SocketKind) -> Iterator[socket.socket]:
    """A bound socket, listening where its kind can."""
    with socket.socket(socket.AF_INET, kind) as bound:
        bound.settimeout(10)
        bound.bind((HOST, 0))
        if kind == socket.SOCK_STREAM:
            bound.listen()
        yield bound


@given(st.integers(1, (1 << 64) - 1), st.integers(64, 2000))
def test_rates_of_the_lines_add_up_to_the_count(count: int, most: int) -> None:
    """Each line stands for 2^k calls, all lines for all calls, and there are at most so many."""
    exponents = rates(count, most)
    assert sum(1 << k for k in exponents) == count
    assert 1 <= len(exponents) <= most


@given(st.integers(1, 10_000_000), st.integers(64, 2000))
def test_nearly_all_lines_have_one_rate(count: int, most: int) -> None:
    """The greatest 2^k is the least that will do, and at most k lines have another rate."""
    exponents = rates(count, most)
    k = max(exponents)
    others = [each for each in exponents if each != k]
    assert len(set(others)) == len(others) <= k
    if count % (1 << k) == 0:
        assert others == []
    if k:
        assert (count >> (k - 1)) + (count % (1 << (k - 1))).bit_count() > most


def test_lines_of_another_rate_are_spread_over_the_distribution() -> None:
    """The lines for the remainder stand neither all at the fast nor all at the slow end."""
    exponents = rates(500 * 1024 - 1, 500)
    k = max(exponents)
    others = [i / len(exponents) for i, each in enumerate(exponents) if each != k]
    assert len(others) == k
    assert all(abs(at - (i + 0.5) / k) < 0.01 for i, at in enumerate(others))


@given(st.integers(1, 300), st.integers(0, 1 << 32))
def test_lines_are_quantiles_with_exact_rates(count: int, seed: int) -> None:
    """Every call's own value where there is a line for each, else evenly spaced quantiles; rates
    are plain decimals, never 1."""
    source = Random(seed)
    values = [source.randrange(1 << 40) for _ in range(count)]
    durations = Histogram.of(values).scaled(1e-6)
    lines = histogram_text("a.b", durations, 64).split("\n")
    parts = [re.fullmatch(r"a\.b:(\d+\.\d{6})\|ms(?:\|@(0\.\d+))?", line) for line in lines]
    assert None not in parts
    if count <= 64:
        own = [(i + 0.5) / count for i in range(count)]
        assert [p[1] for p in parts] == [f"{each:.6f}" for each in durations.quantiles(own)]
    for percentile in (0.5, 0.9, 0.99) if count > 64 else ():
        value = float(parts[round(percentile * len(lines)) - 1][1])
        if percentile < 0.99:  # else it is the last one, which stands for its whole share
            assert value == pytest.approx(durations.quantile(percentile), abs=1e-6)
    assert [float(p[1]) for p in parts] == sorted(float(p[1]) for p in parts)
    weights = [1 / Fraction(p[2] or 1) for p in parts]
    assert sum(weights) == len(values)
    assert all(weight > 1 for p, weight in zip(parts, weights, strict=True) if p[2])


def test_a_tiny_rate_is_not_written_with_an_exponent() -> None:
    """2^-20 is written out: statsd reads `@9.5e-07` as a rate of 9.5."""
    huge = Histogram(buckets.pack({7 * 128 + 3: 1 << 28}), total=3 * (1 << 28))
    lines = histogram_text("a", huge, 500).split("\n")
    assert lines == ["a:3.000000|ms|@0.00000095367431640625"] * 256


def test_nothing_is_sent_for_no_calls() -> None:
    """A histogram of nothing has no lines."""
    assert histogram_text("a", Histogram(), 500) == ""


def test_a_negative_gauge_is_set_not_subtracted() -> None:
    """The two lines that set a negative gauge are one unit, so that no packet parts them."""
    pair = "a:0|g\na:-2|g"
    assert list(packed(gauge_text("a", -2), 1432)) == [pair]
    text = f"{'x' * 20}\n{gauge_text('a', -2)}\n{'y' * 20}"
    for most in range(14, 80):
        assert any(pair in packet for packet in packed(text, most))
    assert gauge_text("a", 2.5) == "a:2.5|g"


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 60))
def test_packets_are_as_full_as_they_may_be(lengths: list[int], most: int) -> None:
    """Whole lines in their order, at most so many characters; a longer line goes alone."""
    lines = [chr(97 + number % 26) * length for number, length in enumerate(lengths)]
    packets = list(packed("\n".join(lines), most))

    assert "\n".join(packets).split("\n") == lines
    assert all(len(packet) <= most or "\n" not in packet for packet in packets)
    for before, after in pairwise(packets):
        assert len(before) + 1 + len(after.split("\n")[0]) > most


def test_a_name_with_a_percent_sign_is_sent_as_it_is() -> None:
    """No name is taken for a format, whatever it has in it."""
    assert histogram_text("a%s%.1f", Histogram.of([1]), 500) == "a%s%.1f:1.000000|ms"


def test_what_is_no_finite_number_is_left_out_and_counted(daemon) -> None:
    """NaN and infinity are tallied as invalid; the rest of the batch arrives."""
    with closing(notifier(daemon, "udp")) as statsd:
        statsd.send(
            batch(
                sample("invalid.nan", "gauge", math.nan),
                sample("invalid.inf", "counter", math.inf),
                sample("invalid.minus", "gauge", -math.inf),
                sample("invalid.end", "counter", 1),
            )
        )
        daemon.wait_for_counter("invalid.end", 1)
    assert statsd.tallies["invalid"] == 3
    assert {name for name in daemon.counters() if name.startswith("invalid")} == {"invalid.end"}
    assert not [name for name in daemon.gauges() if name.startswith("invalid")]


@TRANSPORTS
def test_a_name_beyond_ascii_raises_nothing(daemon, transport) -> None:
    """Names are sanitised elsewhere; one that is not loses its letters, no more."""
    with closing(notifier(daemon, transport)) as statsd:
        statsd.send(batch(sample(f"name.{transport}.ü", "counter", 2)))
        daemon.wait_for_counter(f"name.{transport}.", 2)


def test_an_empty_batch_is_no_packet() -> None:
    """Nothing to send needs no daemon."""
    Statsd(host="no-such-host.invalid").send(batch())


@TRANSPORTS
def test_a_stopped_daemon_is_an_error_and_a_restarted_one_gets_the_numbers(
    own_daemon, transport
) -> None:
    """OSError while nobody listens; the batch that was refused arrives, once, after a restart."""
    with closing(notifier(own_daemon, transport)) as statsd:
        statsd.send(counters("first", 1))
        own_daemon.wait_for_counter("first.c0", 1)
        own_daemon.stop()
        refused = counters("second", 100, value=3)
        for _ in range(4):
            with pytest.raises(OSError, match=r"refused|No such file"):
                statsd.send(refused)
        own_daemon.start()
        statsd.send(refused)
        statsd.send(counters("third", 1))
        own_daemon.wait_for_counter("third.c0", 1)
        found = own_daemon.counters()
    assert [found[f"second.c{i}"] for i in range(100)] == [3] * 100
    assert found[BAD_LINES] == 0
    assert statsd.tallies["reconnects"] >= 1


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_a_daemon_that_was_restarted_in_between_loses_nothing(own_daemon, transport) -> None:
    """A stream whose other end has hung up is noticed before the next packet is lost in it."""
    with closing(notifier(own_daemon, transport)) as statsd:
        statsd.send(counters("before", 1))
        own_daemon.wait_for_counter("before.c0", 1)
        own_daemon.stop()
        own_daemon.start()
        statsd.send(counters("after", 1))
        own_daemon.wait_for_counter("after.c0", 1)
    assert statsd.tallies["reconnects"] == 1


@TRANSPORTS
def test_a_batch_that_was_sent_is_not_sent_again(daemon, transport) -> None:
    """The same batch given twice is sent once; an equal one is another batch."""
    name = f"twice.{transport}"
    with closing(notifier(daemon, transport)) as statsd:
        first = counters(name, 1)
        statsd.send(first)
        statsd.send(first)
        statsd.send(counters(name, 1))
        statsd.send(counters(f"{name}.end", 1))
        daemon.wait_for_counter(f"{name}.end.c0", 1)
    assert daemon.counters()[f"{name}.c0"] == 2


def test_a_peer_that_does_not_read_times_out_and_no_line_is_sent_twice() -> None:
    """A full TCP connection is an error after `timeout`; a retry continues where it stopped."""
    with receiver(socket.SOCK_STREAM) as server:
        # Before listening, so that connections inherit it.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        statsd = Statsd(port=server.getsockname()[1], transport="tcp", timeout=0.3)
        huge = counters("slow", 400_000)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            statsd.send(huge)
        # Filling the buffers takes a while; the rest is the one timeout.
        assert 0.3 <= time.monotonic() - started < 10
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.extend(read_connections(server, 2)))
        reader.start()
        statsd.send(huge)
        statsd.close()
        reader.join(30)
        assert not reader.is_alive()
    # What follows the last newline of a connection is no line: the daemon drops it.
    lines = [line for each in received for line in each.split(b"\n")[:-1] if line]
    assert Counter(lines) == Counter(f"slow.c{i}:1|c".encode() for i in range(400_000))


def read_connections(server: socket.socket, count: int) -> list[bytes]:
    """All that so many connections sent, one after the other."""
    found = []
    for _ in range(count):
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as file:
            found.append(file.read())
    return found


def test_a_host_that_does_not_answer_times_out() -> None:
    """Connecting is bounded by `timeout` too."""
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen(0)
        port = server.getsockname()[1]
        # Whoever comes after the queue is full gets no answer.
        queued = [socket.socket() for _ in range(4)]
        for each in queued:
            each.setblocking(False)
            each.connect_ex((HOST, port))
        statsd = Statsd(port=port, transport="tcp", timeout=0.3)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            statsd.send(counters("a", 1))
        assert 0.3 <= time.monotonic() - started < 5
        for each in queued:
            each.close()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_host_that_does_not_resolve_is_an_os_error_at_the_first_send(transport) -> None:
    """A notifier can be made while DNS is down; sending raises, each time."""
    statsd = Statsd(host="no-such-host.invalid", transport=transport)
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            statsd.send(counters("a", 1))
    statsd.close()


def test_the_host_is_looked_up_again_after_a_while(daemon) -> None:
    """After `resolve_every` seconds the connection is made anew."""
    with closing(notifier(daemon, "udp", resolve_every=1)) as statsd:
        statsd.send(counters("again", 1))
        assert statsd.tallies["reconnects"] == 0
        wait_until(lambda: resolved_anew(statsd), "the host is resolved again")


def resolved_anew(statsd: Statsd) -> bool:
    """Send something, and tell whether that was over another connection than the first."""
    statsd.send(counters("again", 1))
    return statsd.tallies["reconnects"] == 1


def test_an_ipv6_address_is_used_as_such() -> None:
    """A host that has no IPv4 address is reached over IPv6."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        udp.settimeout(10)
        try:
            udp.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        with closing(Statsd(host="::1", port=udp.getsockname()[1])) as statsd:
            statsd.send(counters("a", 1))
        assert udp.recv(100) == b"a.c0:1|c"


def test_making_a_notifier_touches_no_network() -> None:
    """Neither the constructor nor `check` nor `close` before a send resolves or connects."""
    udp, *_ = free_ports(3)
    Statsd(port=udp, transport="tcp").close()
    Statsd.check(host="no-such-host.invalid", path="/no/such/socket")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transport": "upd"}, "transport 'upd' is none of udp, tcp, unix"),
        ({"transport": "unix"}, "transport unix needs 'path', the path of the daemon's socket"),
        (
            {"transport": "tcp", "path": "/run/statsd.sock"},
            "'path' is for transport unix, not tcp; leave out one of them",
        ),
        ({"path": ""}, "path '' must have 1 to 107 bytes"),
        ({"path": "/" + "x" * 107}, f"path '/{'x' * 107}' must have 1 to 107 bytes"),
        ({"port": 0}, "port 0 must be from 1 to 65535"),
        ({"port": 65536}, "port 65536 must be from 1 to 65535"),
        ({"port": "8125"}, "port '8125' must be a number"),
        ({"port": True}, "port True must be a number"),
        ({"host": ""}, "host '' must be a name or an address"),
        ({"timeout": 0}, "timeout 0 must be from 0.001 to 3600"),
        ({"timeout": math.nan}, "timeout nan must be from 0.001 to 3600"),
        ({"max_packet": 65508}, "max_packet 65508 must be from 64 to 65507"),
        ({"max_lines": 10}, "max_lines 10 must be from 64 to 1e+06"),
        ({"resolve_every": -1}, "resolve_every -1 must be from 1 to 1e+09"),
    ],
)
def test_nonsense_in_the_options_is_a_value_error(options, message) -> None:
    """`check` says which option is wrong, and what it must be."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Statsd.check(**options)


def test_a_host_that_can_be_no_name_is_a_value_error() -> None:
    """What DNS cannot even be asked for is found before the program starts."""
    with pytest.raises(ValueError, match="cannot be the name of a host"):
        Statsd.check(host="x" * 64 + ".example")
