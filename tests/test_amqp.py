from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from listeners import Listeners
from ports import HOST, free_ports
from processes import stop_group, wait_until
from rabbitmq_broker import RabbitmqBroker, require_rabbitmq
from test_spool import write

from tach import spool
from tach.config import load
from tach.histogram import Histogram
from tach.notifiers import amqp as amqp_module
from tach.notifiers.amqp import Amqp
from tach.notifiers.amqp_url import Broker, masked
from tach.notifiers.oslo_message import notification, written_at
from tach.plan import SpoolPlan
from tach.samples import Batch, Event, Sample
from tach.sender.courier import EventCourier
from tach.sender.spool_queue import SpoolQueue
from tach.sender.usage import Usage

ROOT = Path(__file__).parent.parent
INFO, ERROR = "notifications.info", "notifications.error"
# All that the tests declare, and that oslo.messaging does.
PRIORITIES = ("audit", "debug", "info", "warn", "error", "critical", "sample")
TOPICS = ("notifications", "monitor", "a", "b")
QUEUES = ["mine", *(f"{topic}.{priority}" for topic in TOPICS for priority in PRIORITIES)]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of PEM files: ca, other (another authority), server and client, with keys."""
    directory = tmp_path_factory.mktemp("certificates")
    for authority in ("ca", "other"):
        openssl(directory, "req", "-x509", "-subj", f"/CN={authority}", *key_of(authority))
    for name in ("server", "client"):
        openssl(directory, "req", "-new", "-subj", f"/CN={name}", *key_of(name, ".csr"))
        (directory / "names").write_text(f"subjectAltName=IP:{HOST}\n")
        signed_by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
        openssl(directory, "x509", "-req", "-in", f"{name}.csr", *signed_by, "-out", f"{name}.pem")
    return directory


def openssl(directory: Path, *arguments: str) -> None:
    """Run openssl in the directory."""
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def key_of(name: str, end: str = ".pem") -> list[str]:
    """The arguments for a new key and what is made with it."""
    return ["-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}{end}"]


@pytest.fixture(scope="module")
def shared_broker(certificates: Path) -> Iterator[RabbitmqBroker]:
    """One broker for all tests, as it takes long to start."""
    require_rabbitmq()
    files = {"ca": "ca.pem", "cert": "server.pem", "key": "server.key"}
    tls = {name: certificates / file for name, file in files.items()}
    with RabbitmqBroker(tls) as running:
        yield running


@pytest.fixture
def broker(shared_broker: RabbitmqBroker) -> RabbitmqBroker:
    """The broker, without anything declared in it."""
    shared_broker.delete("nova", QUEUES)
    return shared_broker


@pytest.fixture
def listen(broker: RabbitmqBroker, tmp_path: Path) -> Iterator[Callable[..., Callable[[], Any]]]:
    """Start oslo.messaging's listener of a topic; returns what reads the notifications it got."""
    with Listeners(broker, tmp_path) as listeners:
        yield listeners.start


def events(count: int, priority: str = "INFO") -> list[Event]:
    """So many new notifications."""
    return [
        notification("nova.x.end", {"number": i}, "nova.host1", 1700000000.25 + i, priority)
        for i in range(count)
    ]


def to(broker: RabbitmqBroker, **options: Any) -> closing[Amqp]:
    """A notifier for the broker and the exchange nova, closed at the end of the `with`."""
    return closing(Amqp(**{"url": broker.url, "exchange": "nova", **options}))


def keep_delivering(amqp: Amqp, batch: list[Event]) -> list[OSError]:
    """Deliver as the sender does, again and again, until all of it is confirmed; the failures."""
    failures = []
    deadline = time.monotonic() + 60
    while batch:
        assert time.monotonic() < deadline, failures[-1:]
        try:
            done = amqp.deliver(batch)
            batch = [event for event, is_done in zip(batch, done, strict=True) if not is_done]
        except OSError as error:
            failures.append(error)
            time.sleep(0.1)
    return failures


@contextmanager
def meanwhile(disturbance: Callable[[], None]) -> Iterator[threading.Thread]:
    """Something that goes on in another thread; what it raises fails the test."""
    errors: list[Exception] = []

    def perform() -> None:
        try:
            disturbance()
        except Exception as error:  # noqa: BLE001 - it is raised again below
            errors.append(error)

    thread = threading.Thread(target=perform)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()
    for error in errors:
        raise error


def deliver_through(amqp: Amqp, disturbance: Callable[[], None]) -> list[Event]:
    """What was delivered before, during and after the disturbance."""
    sent = events(20)
    keep_delivering(amqp, sent)
    with meanwhile(disturbance) as thread:
        while thread.is_alive():
            batch = events(20)
            keep_delivering(amqp, batch)
            sent += batch
    after = events(20)
    keep_delivering(amqp, after)
    return sent + after


def assert_arrived(broker: RabbitmqBroker, sent: list[Event]) -> int:
    """Each event is in the queue, its duplicates are alike. Returns the number of duplicates."""
    arrived: dict[str, set[tuple[bytes, str]]] = {}
    messages = broker.take_all(INFO)
    for message in messages:
        alike = (message.body, repr(sorted(message.properties.items())))
        arrived.setdefault(message.properties["message_id"], set()).add(alike)

    assert arrived.keys() == {event.message_id for event in sent}
    assert {len(each) for each in arrived.values()} == {1}
    assert {json.loads(message.body)["message_id"] for message in messages} == arrived.keys()
    return len(messages) - len(arrived)


# What consumers receive


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "transient"])
@pytest.mark.parametrize("format", ["1.0", "2.0"])
def test_oslo_messaging_receives_each_event_once(broker, listen, format, durable) -> None:
    """Each goes to the endpoint of its priority, on whatever exchange oslo.messaging declared."""
    received = listen(durable=durable)
    sent = [*events(900), *events(100, "ERROR")]
    with to(broker, format=format) as amqp:
        assert amqp.deliver(sent[::-1]) == [True] * 1000
    wait_until(lambda: len(received()) >= 1000, "1000 notifications")

    assert Counter(each["method"] for each in received()) == {"info": 900, "error": 100}
    by_id = {each["metadata"]["message_id"]: each for each in received()}
    for event in sent:
        message = json.loads(event.message)
        assert by_id[event.message_id]["payload"] == message["payload"]
        assert by_id[event.message_id]["publisher_id"] == "nova.host1"
        assert by_id[event.message_id]["metadata"]["timestamp"] == message["timestamp"]
    assert amqp.tallies["published"] == amqp.tallies["confirmed"] == 1000
    assert amqp.tallies["unroutable"] == amqp.tallies["reconnects"] == 0


def test_each_topic_gets_a_copy(broker, listen) -> None:
    """Consumers of several topics do not take each other's notifications."""
    received = [listen(topic) for topic in ("notifications", "monitor")]
    sent = events(50)
    with to(broker, topics=["notifications", "monitor"]) as amqp:
        assert amqp.deliver(sent) == [True] * 50
    for each in received:
        wait_until(lambda each=each: len(each()) == 50, "50 notifications")

    assert amqp.tallies["confirmed"] == 100


def test_a_message_is_what_was_written_with_its_properties(broker) -> None:
    """Format 1.0 is the bytes of the event; persistent, and named so that it can be found."""
    [event] = events(1)
    with to(broker) as amqp:
        amqp.deliver([event])
    [message] = broker.take_all(INFO)

    assert message.body.encode() == event.message
    assert message.properties == {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "delivery_mode": 2,
        "message_id": event.message_id,
        "timestamp": 1700000000,
        "type": "nova.x.end",
        "app_id": "tach",
    }
    assert amqp.tallies["bytes"] == len(event.message)


def test_the_envelope_of_format_2_holds_the_message_as_text(broker) -> None:
    """Format 2.0 is an object of the version and the message as JSON text."""
    [event] = events(1)
    with to(broker, format="2.0") as amqp:
        amqp.deliver([event])
    [message] = broker.take_all(INFO)

    assert json.loads(message.body) == {
        "oslo.version": "2.0",
        "oslo.message": event.message.decode(),
    }


# Exchange and queues


def test_what_is_missing_is_created_durable(broker) -> None:
    """Exchange and queues are made if they are missing, and outlive the broker's restart."""
    with to(broker) as amqp:
        amqp.deliver([*events(1), *events(1, "ERROR")])

    assert "nova\ttopic\ttrue" in broker.control("list_exchanges", "name", "type", "durable")
    queues = broker.control("list_queues", "name", "durable", "--no-table-headers").split()
    assert sorted(queues) == [ERROR, INFO, "true", "true"]


def test_a_transient_queue_is_used_and_reported(broker, caplog) -> None:
    """A queue that others declared transient is used as it is, and said to be unsafe."""
    with broker.connected() as channel:
        channel.exchange_declare("nova", "topic", durable=False, auto_delete=False)
        channel.queue_declare(INFO, durable=False, auto_delete=False)
        channel.queue_bind(INFO, "nova", INFO)
    with to(broker) as amqp:
        assert amqp.deliver(events(3)) == [True] * 3
        assert amqp.deliver(events(3)) == [True] * 3

    assert broker.depth(INFO) == 6
    [record] = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert f"the queue {INFO} is not durable" in record.getMessage()


def test_a_missing_exchange_is_reported_where_it_must_not_be_created(broker) -> None:
    """With create_exchange: false nothing is created, and the error says what to do."""
    with to(broker, create_exchange=False) as amqp:
        with pytest.raises(OSError, match="there is no exchange 'nova'; create it, or set create_"):
            amqp.deliver(events(1))
        with broker.connected() as channel:
            channel.exchange_declare("nova", "topic", durable=True, auto_delete=False)
        assert amqp.deliver(events(1)) == [True]


def test_what_nobody_listens_to_is_not_delivered(broker, caplog) -> None:
    """Without a queue an event is unroutable, and delivered only when there is one."""
    sent = events(3)
    with to(broker, create_queues=False) as amqp:
        assert amqp.deliver(sent) == [False] * 3
        assert amqp.tallies["unroutable"] == 3
        assert amqp.tallies["confirmed"] == 0
        with broker.connected() as channel:
            channel.queue_declare("mine", durable=True, auto_delete=False)
            channel.queue_bind("mine", "nova", "*.info")
        assert amqp.deliver(sent) == [True] * 3
    assert broker.depth("mine") == 3
    assert [each.getMessage() for each in caplog.records if "no queue is bound" in each.message]


@pytest.mark.parametrize("lost", ["queue_delete", "queue_unbind"])
def test_a_queue_that_was_lost_is_made_again(broker, lost) -> None:
    """After a queue was deleted, or unbound, the first event is refused and the next arrives."""
    with to(broker) as amqp:
        assert amqp.deliver(events(1)) == [True]
        with broker.connected() as channel:
            arguments = (INFO,) if lost == "queue_delete" else (INFO, "nova", INFO)
            getattr(channel, lost)(*arguments)
        sent = events(1)
        assert amqp.deliver(sent) == [False]
        assert amqp.deliver(sent) == [True]
    assert sent[0].message_id in {m.properties["message_id"] for m in broker.take_all(INFO)}


def test_what_a_full_queue_refuses_is_not_delivered(broker) -> None:
    """A nack is no confirmation; later the same event is published again, the others are not."""
    with broker.connected() as channel:
        limits = {"x-max-length": 1, "x-overflow": "reject-publish"}
        channel.queue_declare(INFO, durable=True, auto_delete=False, arguments=limits)
        channel.exchange_declare("nova", "topic", durable=True, auto_delete=False)
        channel.queue_bind(INFO, "nova", INFO)
    sent = events(3)
    with to(broker, window=1) as amqp:
        first = amqp.deliver(sent)
        assert (first[0], first[-1]) == (True, False)
        assert amqp.tallies["nacked"] == first.count(False)
        arrived = [message.properties["message_id"] for message in broker.take_all(INFO)]
        for event in sent[first.count(True) :]:
            assert amqp.deliver([event]) == [True]
            arrived += [message.properties["message_id"] for message in broker.take_all(INFO)]
    assert arrived == [event.message_id for event in sent]


# Trouble on the way


def test_nothing_is_lost_when_the_broker_restarts(broker) -> None:
    """Stopped and started in the middle: everything arrives, duplicates are the same bytes."""

    def restart() -> None:
        broker.stop()
        broker.start()

    with to(broker) as amqp:
        sent = deliver_through(amqp, restart)
    assert amqp.tallies["reconnects"] == 1
    assert_arrived(broker, sent)


def test_nothing_is_lost_when_connections_are_closed(broker) -> None:
    """Cut off in the middle by the broker: everything arrives, duplicates are the same bytes."""
    with to(broker) as amqp:
        sent = deliver_through(amqp, broker.close_all_connections)
    assert amqp.tallies["reconnects"] >= 1
    assert_arrived(broker, sent)


@pytest.mark.parametrize("disturbance", ["closed", "silent"])
def test_what_may_have_arrived_twice_is_counted(broker, tmp_path, disturbance) -> None:
    """Cut off in mid-publish, or without an answer: no more duplicates than the sender tells of."""
    tallies: Counter[str] = Counter()
    queue = SpoolQueue(str(tmp_path), SpoolPlan(), Usage({}), tallies)

    def disturb() -> None:
        wait_until(lambda: tallies["events.delivered"] > 100, "some have arrived")
        while not tallies["events.failures"]:
            if disturbance == "closed":
                broker.close_all_connections()
            else:
                stop_group(broker.process_group())
                try:
                    wait_until(lambda: tallies["events.failures"] > 0, "a delivery fails")
                finally:
                    os.killpg(broker.process_group(), signal.SIGCONT)

    sent: list[Event] = []
    with to(broker, confirm_timeout=0.3) as amqp:
        courier = EventCourier("bus", queue, amqp.deliver, tallies)
        with meanwhile(disturb) as thread:
            while thread.is_alive():
                batch = events(300)
                records = [(spool.SINGLE, 0, event.message) for event in batch]
                write(tmp_path, records, f"{len(sent):x}")
                sent += batch
                courier.work(time.monotonic() + 0.2)
        wait_until(lambda: courier.work(time.monotonic() + 1), "all have arrived", timeout=60)
        courier.close()

    duplicates = assert_arrived(broker, sent)
    assert tallies["events.delivered"] == len(sent)
    assert duplicates <= tallies["events.resent"] <= 500 * tallies["events.failures"]
    assert tallies["events.resent"] > 0
    assert disturbance == "closed" or duplicates > 0


def test_a_broker_short_of_memory_is_waited_for(broker) -> None:
    """During a memory alarm each delivery fails in time; after it nothing was sent twice."""
    failures: list[OSError] = []

    def alarm() -> None:
        with broker.memory_alarm():
            wait_until(lambda: len(failures) >= 2, "two deliveries fail")

    with to(broker, confirm_timeout=1.5, window=5) as amqp:
        sent = events(20)
        keep_delivering(amqp, sent)
        with meanwhile(alarm) as thread:
            while thread.is_alive():
                batch = events(20)
                sent += batch
                while True:
                    try:
                        assert amqp.deliver(batch) == [True] * 20
                        break
                    except OSError as error:
                        failures.append(error)
        assert amqp.deliver(sent[:1]) == [True]

    assert {type(error) for error in failures} == {amqp_module.BlockedError}
    assert "short of memory or disk" in str(failures[0])
    assert amqp.tallies["blocked"] == 1
    assert amqp.tallies["reconnects"] == 0
    assert assert_arrived(broker, sent) == 1


def test_a_broker_that_does_not_confirm_in_time_is_connected_to_anew(broker) -> None:
    """After a time-out nothing is read from that connection, and all is published again."""
    process = broker.process_group()
    with to(broker, timeout=5, confirm_timeout=0.3) as amqp:
        sent = events(10)
        amqp.deliver(sent[:5])
        stop_group(process)
        try:
            with pytest.raises(TimeoutError, match=r"did not confirm 5 messages within 0\.3 s"):
                amqp.deliver(sent[5:])
        finally:
            os.killpg(process, signal.SIGCONT)
        keep_delivering(amqp, sent[5:])

    assert amqp.tallies["reconnects"] >= 1
    assert assert_arrived(broker, sent) >= 5


def test_the_next_url_is_tried_when_one_fails(broker) -> None:
    """Of several brokers the first that answers is used, and stayed with."""
    [dead] = free_ports(1)
    with to(broker, url=[f"amqp://{HOST}:{dead}//", broker.url]) as amqp:
        assert amqp.deliver(events(2)) == [True, True]
        assert amqp.deliver(events(2)) == [True, True]
    alone = Amqp(f"amqp://u:sekret@{HOST}:{dead}//", "nova")
    with pytest.raises(ConnectionError, match=f"^{HOST}:{dead}: Connection refused$"):
        alone.deliver(events(1))

    assert amqp.tallies["reconnects"] == 0


def test_ticks_keep_an_idle_connection_alive(broker) -> None:
    """With `tick` the broker hears heartbeats; without, it hangs up, and is connected to anew."""
    with to(broker, heartbeat=2) as ticked, to(broker, heartbeat=2) as silent:
        for amqp in (ticked, silent):
            amqp.deliver(events(1))
        enough = threading.Event()

        def tick() -> None:
            while not enough.wait(0.1):
                ticked.tick()

        def one_is_left() -> bool:
            return broker.control("list_connections", "pid", "--no-table-headers").count("<") == 1

        ticking = threading.Thread(target=tick)
        ticking.start()
        try:
            wait_until(one_is_left, "the broker hangs up on the silent one", timeout=40)
        finally:
            enough.set()
            ticking.join()
        for amqp in (ticked, silent):
            assert amqp.deliver(events(1)) == [True]
    assert (ticked.tallies["reconnects"], silent.tallies["reconnects"]) == (0, 1)


# Who may connect


def test_a_refused_user_waits_and_the_password_is_never_told(broker, caplog, monkeypatch) -> None:
    """After a refusal the broker is left alone for a minute; no text holds the password."""
    caplog.set_level(logging.DEBUG)
    url = f"amqp://guest:sek%20ret@{HOST}:{broker.port}//"
    told = ""
    with to(broker, url=url) as amqp:
        for _ in range(3):
            with pytest.raises(OSError, match="ACCESS_REFUSED") as caught:
                amqp.deliver(events(1))
            told += "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        told += repr(amqp) + repr(amqp._brokers) + caplog.text
        wait_until(lambda: refusals(broker) == 1, "the refusal is in the broker's log")
        monkeypatch.setattr(amqp_module, "time", Later())
        with pytest.raises(OSError, match="ACCESS_REFUSED"):
            amqp.deliver(events(1))

    wait_until(lambda: refusals(broker) == 2, "the second refusal is there too")
    assert "sek" not in told
    assert "ret@" not in told


class Later:
    """The clock, a minute later."""

    def monotonic(self) -> float:
        return time.monotonic() + 61


def refusals(broker: RabbitmqBroker) -> int:
    """How many logins the broker has refused, by its log."""
    return (broker.directory / "log").read_text().count("PLAIN login refused")


def test_tls_with_an_own_authority_and_a_client_certificate(broker, certificates) -> None:
    """amqps:// checks the broker's certificate and shows its own; tls_verify: false checks none."""
    url = f"amqps://guest:guest@{HOST}:{broker.tls_port}//"
    shown = {
        "url": url,
        "tls_cert": str(certificates / "client.pem"),
        "tls_key": str(certificates / "client.key"),
    }
    with to(broker, **shown, tls_ca=str(certificates / "ca.pem")) as amqp:
        assert amqp.deliver(events(200)) == [True] * 200
    with to(broker, **shown, tls_verify=False) as amqp:
        assert amqp.deliver(events(1)) == [True]
    wary = Amqp(**shown, exchange="nova", tls_ca=str(certificates / "other.pem"))
    with pytest.raises(OSError, match="certificate verify failed"):
        wary.deliver(events(1))
    nameless = Amqp(url, "nova", tls_ca=str(certificates / "ca.pem"), timeout=2)
    with pytest.raises(OSError, match=HOST):
        nameless.deliver(events(1))

    assert broker.depth(INFO) == 201


# Metrics


def batch_of(*samples: tuple[str, str, Any]) -> Batch:
    """A batch of the minute before 2023-11-14 22:14:20, of (series, suffix, value)."""
    made = [
        Sample(
            f"{series}.{suffix}",
            "histogram" if isinstance(value, Histogram) else "counter",
            value,
            1700000060.0,
            series,
            suffix,
        )
        for series, suffix, value in samples
    ]
    return Batch(made, 1700000000.0, 1700000060.0)


def test_metrics_become_one_notification_for_each_series(broker, listen) -> None:
    """`<series>.metrics` holds the calls, errors and durations of the interval."""
    received = listen()
    durations = Histogram.of([i * 1_000_000 for i in range(1, 101)]).scaled(1e-6)
    batch = batch_of(
        ("nova.build", "duration", durations),
        ("nova.build", "calls", 100),
        ("nova.build", "errors", 3),
        ("nova.build", "errors.by_type.KeyError", 2),
        ("nova.build", "errors.by_type.OSError", 1),
        ("nova.reboot", "calls", 7),
        ("nova.reboot", "size", 1.5),
        ("nova.reboot", "odd", float("nan")),
    )
    with to(broker, publisher_id="nova.host1") as amqp:
        amqp.send(batch)
    wait_until(lambda: len(received()) >= 2, "2 notifications")
    build, reboot = (each["payload"] for each in received())

    assert [each["event_type"] for each in received()] == [
        "nova.build.metrics",
        "nova.reboot.metrics",
    ]
    assert {each["publisher_id"] for each in received()} == {"nova.host1"}
    assert {each["metadata"]["timestamp"] for each in received()} == {"2023-11-14 22:14:20.000000"}
    found = build.pop("duration_ms")
    assert build == {
        "tach_version": 1,
        "series": "nova.build",
        "start": "2023-11-14T22:13:20.000000Z",
        "end": "2023-11-14T22:14:20.000000Z",
        "calls": 100,
        "errors": 3,
        "cancelled": 0,
        "ignored": 0,
        "errors_by_type": {"KeyError": 2, "OSError": 1},
    }
    exact = {name: found.pop(name) for name in ("count", "sum", "min", "max", "mean")}
    assert exact == pytest.approx({"count": 100, "sum": 5050, "min": 1, "max": 100, "mean": 50.5})
    assert found == pytest.approx({"p50": 50, "p90": 90, "p95": 95, "p99": 99}, rel=0.01)
    assert (reboot["calls"], reboot["errors"], reboot["duration_ms"]) == (7, 0, None)
    assert reboot["values"] == {"size": 1.5, "odd": None}


def test_a_batch_sent_again_is_the_same_messages_again(broker) -> None:
    """What was refused is sent again as it was, what was confirmed is not."""
    with broker.connected() as channel:
        channel.exchange_declare("nova", "topic", durable=True, auto_delete=False)
        for queue in ("a.info", "b.info"):
            channel.queue_declare(queue, durable=True, auto_delete=False)
        channel.queue_bind("a.info", "nova", "a.info")
        batch = batch_of(("x", "calls", 1), ("y", "calls", 2))
        with to(broker, topics=["a", "b"], create_queues=False) as amqp:
            with pytest.raises(ConnectionError, match="2 of 2 notifications were refused"):
                amqp.send(batch)
            channel.queue_bind("b.info", "nova", "b.info")
            amqp.send(batch)
            amqp.send(batch)
    first, second = ([m.body for m in broker.take_all(queue)] for queue in ("a.info", "b.info"))

    assert len(first) == 2
    assert first == second


# Options


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            {"url": "http://u:sekret@h//"},
            "url 'http://***@h//' must begin with amqp:// or amqps://",
        ),
        ({"url": "u:sekret@h"}, "url '***@h' must begin with"),
        (
            {"url": "amqp://u:sek/ret@h:1//"},
            "url: the port, or what is in [], is wrong; write %2F for /",
        ),
        ({"url": "amqp://u:1#sekret@h//"}, "url 'amqp://***@h//' must end with the virtual host"),
        ({"url": "amqp://u:sekret"}, "url: the port, or what is in [], is wrong"),
        ({"url": "amqp://u:s@ekret@h:x//"}, "url: the port, or what is in [], is wrong"),
        ({"url": "amqp://u:sekret@//"}, "url 'amqp://***@//' names no host"),
        ({"url": "amqp://h/?password=sekret"}, "url 'amqp://h/?***' must end with the virtual"),
        ({"url": []}, "url must be a URL such as"),
        ({"exchange": ""}, "exchange '' must be a name"),
        ({"topics": []}, "topics [] must be a list"),
        ({"topics": ["x" * 201]}, "must be a name of 1 to 200 bytes"),
        ({"format": "3.0"}, "format '3.0' is none of 1.0, 2.0"),
        ({"heartbeat": 0}, "heartbeat 0 must be from 1 to 3600"),
        ({"window": 0}, "window 0 must be from 1 to 65535"),
        ({"tls_ca": "/nowhere.pem"}, "tls_ca '/nowhere.pem' cannot be read"),
        ({"tls_key": __file__}, "tls_key needs tls_cert"),
    ],
)
def test_wrong_options_are_refused_before_the_start(options, error) -> None:
    """`check` says what is wrong with an option, without user and password."""
    with pytest.raises(ValueError, match=re.escape(error)) as caught:
        Amqp.check(**{"url": "amqp://h", "exchange": "nova", **options})

    assert "ekret" not in str(caught.value)


def test_a_url_is_percent_decoded() -> None:
    """User, password and virtual host may hold anything; ports and virtual host have defaults."""
    broker = Broker.parse("amqps://a%40b:%2Fc%3F@[::1]/d%2Fe")
    plain = Broker.parse("amqp://Host")

    assert (broker.user, broker.password, broker.virtual_host) == ("a@b", "/c?", "d/e")
    assert (broker.address, broker.tls) == ("[::1]:5671", True)
    assert (plain.address, plain.user, plain.virtual_host, plain.tls) == (
        "host:5672",
        None,
        "/",
        False,
    )
    assert Broker.parse("amqp://h//").virtual_host == "/"
    assert "c" not in repr(broker)
    assert masked("amqps://a:b@c:1/d") == "amqps://***@c:1/d"
    assert masked("amqp://c:1/d") == "amqp://c:1/d"


def test_without_py_amqp_the_configuration_says_what_to_install(monkeypatch) -> None:
    """A missing package is an error before the program starts."""
    monkeypatch.setitem(sys.modules, "amqp", None)
    with pytest.raises(ValueError, match=r"pip install 'tach\[amqp\]'"):
        Amqp.check(url="amqp://h", exchange="nova")


def test_the_block_in_the_example_is_right_when_uncommented(tmp_path) -> None:
    """The commented example of the notifier shows all options, as they may be."""
    text = (ROOT / "tach.yaml.example").read_text()
    block = text[text.index("  # bus:") : text.index("\n\n", text.index("  # bus:"))]
    options = yaml.safe_load(block.replace("  # ", "", 1).replace("\n  # ", "\n"))["bus"]
    for file in ("tls_ca", "tls_cert", "tls_key"):
        options[file] = __file__
    options["url"] = options["url"].partition("${")[0] + "x@h//"
    (tmp_path / "tach.yaml").write_text(yaml.safe_dump({"notifiers": {"bus": options}}))
    [plan] = load(str(tmp_path / "tach.yaml")).notifiers

    assert set(plan.options) == set(Amqp.__init__.__annotations__) - {"return"}


def test_a_message_without_a_timestamp_has_none() -> None:
    """Whole seconds of the message's own time, or nothing; never an error."""
    assert written_at(b'{"timestamp": "2023-11-14 22:13:20"}') == 1700000000
    assert written_at(b'{"timestamp": "2023-11-14 22:13:20.999999"}') == 1700000000
    assert [written_at(m) for m in (b"{}", b"[]", b"x", b'{"timestamp": 1}', b"\xff")] == [None] * 5
