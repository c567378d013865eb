from __future__ import annotations

import json
import os
import posix
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from event_runs import EventRun
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import wait_for

from tach import spool
from tach.agent.spool import SpoolWriter, process_name
from tach.plan import SpoolPlan
from tach.samples import Event
from tach.sender import messages
from tach.sender.courier import EventCourier
from tach.sender.processes import start_ticks_of
from tach.sender.spool_files import GAP, SpoolFile, is_spool_name
from tach.sender.spool_queue import SpoolQueue
from tach.sender.usage import Usage

DEAD = "999999999-1-abcdef01"  # no pid is that high
HOUR = 3600.0


def body(number: int, suffix: str = "end", **more: Any) -> bytes:
    """A notification."""
    priority = "ERROR" if suffix == "error" else "INFO"
    message = json.loads(messages.make(f"a.{suffix}", priority, "p.h", {"number": number}))
    return json.dumps({**message, **more}, separators=(",", ":")).encode()


def write(directory: Path, records: Sequence[tuple[int, int, bytes]], name: str = "1") -> Path:
    """A file of a dead process with these records."""
    directory.mkdir(exist_ok=True)
    file = directory / f"{DEAD}-{name}{spool.SUFFIX}"
    file.write_bytes(b"".join(spool.pack(*each) for each in records))
    return file


class Receiver:
    """A queue on a directory, and what it has delivered to here."""

    def __init__(self, directory: Path, usage: Usage | None = None, **plan: Any) -> None:
        self.tallies: Counter[str] = Counter()
        self.got: list[Event] = []
        self.now = time.time()
        self.refuse: Any = lambda event: False
        plan_ = SpoolPlan(str(directory), **plan)
        self.queue = SpoolQueue(
            str(directory), plan_, usage or Usage({}), self.tallies, lambda: self.now
        )
        self.courier = EventCourier("bus", self.queue, self.deliver, self.tallies)

    def deliver(self, events: Sequence[Event]) -> list[bool]:
        """Take all events but those to refuse."""
        taken = [not self.refuse(event) for event in events]
        self.got += [event for event, arrived in zip(events, taken, strict=True) if arrived]
        return taken

    def work(self, seconds: float = 5.0) -> bool:
        """Let the courier work; True if nothing is left."""
        return self.courier.work(time.monotonic() + seconds)

    def numbers(self) -> list[Any]:
        """The numbers in the payloads of what has been delivered, but for the sender's own."""
        payloads = [json.loads(event.message)["payload"] for event in self.got]
        return [payload["number"] for payload in payloads if "number" in payload]

    def payloads(self, suffix: str) -> list[Any]:
        """The payloads of the events of that type."""
        return [
            json.loads(each.message)["payload"]
            for each in self.got
            if each.event_type.endswith(suffix)
        ]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The directory of a spool."""
    (tmp_path / "spool").mkdir()
    return tmp_path / "spool"


# Files and records


def calls(count: int, first: int = 0) -> list[tuple[int, int, bytes]]:
    """The records of whole calls."""
    kinds = ((spool.START, "start"), (spool.END, "end"))
    return [
        (kind, call, body(call, suffix))
        for call in range(first, first + count)
        for kind, suffix in kinds
    ]


def test_records_come_back_as_they_were_written(place) -> None:
    """Kind, number and body, in order, and where the next one begins."""
    written = calls(100)
    file = write(place, written)
    found = list(SpoolFile(str(place), file.name).records(complete=True))

    assert [each[:3] for each in found] == written
    assert found[-1].end == file.stat().st_size
    again = SpoolFile(str(place), file.name, found[49].end).records(complete=True)
    assert [each[:3] for each in again] == written[50:]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_costs_the_damaged_records_only(place, data) -> None:
    """Flipped bytes, foreign bytes between, a torn end: all whole records come back."""
    packed = [spool.pack(spool.SINGLE, number, body(number)) for number in range(8)]
    damaged = data.draw(st.sets(st.integers(0, 7), max_size=4))
    parts = []
    for number, record in enumerate(packed):
        if number in damaged:
            at = data.draw(st.integers(0, len(record) - 1))
            record = record[:at] + bytes([record[at] ^ 0x55]) + record[at + 1 :]
        parts += [record, data.draw(st.sampled_from([b"", b"", b"noise", spool.MAGIC]))]
    whole = b"".join(parts)
    if data.draw(st.booleans()):
        whole = whole[: len(whole) - len(parts[-1]) - 5]
        damaged |= {7}
    file = place / f"{DEAD}-1{spool.SUFFIX}"
    file.write_bytes(whole)

    found = list(SpoolFile(str(place), file.name).records(complete=True))
    assert [each.call for each in found if each.kind != GAP] == sorted(set(range(8)) - damaged)
    assert found[-1].end == len(whole)


def test_a_record_that_is_being_written_is_waited_for(place) -> None:
    """In a file that is still written, an unfinished end is not a damaged one."""
    record = spool.pack(spool.SINGLE, 1, body(1))
    file = place / f"{DEAD}-1{spool.SUFFIX}"
    file.write_bytes(record + record[:-5])
    found = SpoolFile(str(place), file.name)

    assert [each.kind for each in found.records(complete=False)] == [spool.SINGLE]
    assert [each.kind for each in found.records(complete=True)] == [spool.SINGLE, GAP]


def test_a_long_stretch_of_noise_is_passed(place) -> None:
    """However long, and wherever the record behind it begins."""
    record = spool.pack(spool.SINGLE, 1, b"x" * 60_000)
    for noise in (1 << 20, (2 << 20) - 30_000, 5 << 20):
        file = place / f"{DEAD}-1{spool.SUFFIX}"
        file.write_bytes(b"n" * noise + record)
        found = list(SpoolFile(str(place), file.name).records(complete=True))
        assert [each.call for each in found if each.kind != GAP] == [1]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("12-34-abcdef01-ff.spool", True),
        ("12-34-abcdef01.spool", False),
        ("12-34-abcdef01-xyz.spool", False),
        ("a-34-abcdef01-ff.spool", False),
        ("12-34-abcdef01-ff", False),
        (".spool", False),
    ],
)
def test_names_of_spool_files(name: str, known: bool) -> None:
    """A file of events is known by its name."""
    assert is_spool_name(name) is known


# The writer


def writer(place: Path, troubles: list[str], rotate_at: int = 1 << 20) -> SpoolWriter:
    """A writer of this process."""
    process = process_name(start_ticks_of(os.getpid()))
    return SpoolWriter(str(place), process, rotate_at, False, troubles.append)


def test_threads_may_write_while_files_are_rotated(place) -> None:
    """No record is lost or torn when eight threads write across many small files."""
    troubles: list[str] = []
    mine = writer(place, troubles, 4096)

    def work(name: int) -> None:
        for number in range(300):
            mine.append(spool.SINGLE, name * 1000 + number, body(number))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    files = sorted(place.iterdir(), key=lambda file: int(file.stem.rpartition("-")[2], 16))
    records = [
        each for file in files for each in SpoolFile(str(place), file.name).records(complete=True)
    ]
    assert troubles == []
    assert len(files) > 20
    assert sorted(each.call for each in records) == [
        name * 1000 + number for name in range(8) for number in range(300)
    ]


def test_a_program_that_closes_everything_loses_no_event(place) -> None:
    """What was the spool's number may be a file of the program's: nothing is written to that."""
    troubles: list[str] = []
    mine = writer(place, troubles)
    mine.append(spool.SINGLE, 1, b"{}")
    (number,) = [
        int(name)
        for name in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{name}")
        and os.readlink(f"/proc/self/fd/{name}").startswith(str(place))
    ]
    theirs = os.open(place / "theirs", os.O_RDWR | os.O_CREAT)
    os.dup2(theirs, number)
    mine.append(spool.SINGLE, 2, b"{}")
    os.close(number)
    mine.append(spool.SINGLE, 3, b"{}")

    assert (place / "theirs").read_bytes() == b""
    found = [
        each.call
        for file in place.glob("*.spool")
        for each in SpoolFile(str(place), file.name).records(complete=True)
    ]
    assert (sorted(found), troubles) == ([1, 2, 3], [])


def test_a_file_that_somebody_removes_is_replaced(place) -> None:
    """Events go on into a new file; no descriptor is left behind."""
    troubles: list[str] = []
    mine = writer(place, troubles)
    for number in range(3):
        mine.append(spool.SINGLE, number, b"{}")
        (file,) = place.iterdir()
        file.unlink()
    mine.append(spool.SINGLE, 4, b"{}")
    assert len(list(place.iterdir())) == 1
    assert troubles == []


def test_without_the_right_to_a_new_file_the_old_one_goes_on(place) -> None:
    """Once open, the file of a process that has given up root takes all its events."""
    troubles: list[str] = []
    mine = writer(place, troubles, 4096)
    mine.append(spool.SINGLE, 0, body(0))
    place.rename(place.with_name("elsewhere"))
    for number in range(1, 100):
        mine.append(spool.SINGLE, number, body(number))

    (file,) = place.with_name("elsewhere").iterdir()
    records = SpoolFile(str(file.parent), file.name).records(complete=True)
    assert [each.call for each in records] == list(range(100))
    assert troubles == []


def test_a_forked_child_has_a_file_of_its_own(place) -> None:
    """The parent's is closed in it, and left alone."""
    mine = writer(place, [])
    mine.append(spool.SINGLE, 1, b"{}")
    child = os.fork()
    if child == 0:
        mine.after_fork(process_name(start_ticks_of(os.getpid())))
        mine.append(spool.SINGLE, 2, b"{}")
        ours = [
            os.readlink(f"/proc/self/fd/{name}")
            for name in ("0", *posix.listdir("/dev/fd"))
            if os.path.islink(f"/proc/self/fd/{name}")
        ]
        os._exit(sum(each.startswith(str(place)) for each in ours))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    found = {
        int(file.name.split("-")[0]): [
            each.call for each in SpoolFile(str(place), file.name).records(complete=True)
        ]
        for file in place.iterdir()
    }
    assert found == {os.getpid(): [1], child: [2]}


# The queue


def test_a_left_over_spool_is_delivered_and_removed(place) -> None:
    """In the order of the files; calls without an end get one, once."""
    write(place, [*calls(3), (spool.START, 9, body(9, "start"))], "1")
    write(place, calls(2, 3), "2")
    receiver = Receiver(place)

    assert receiver.work()
    assert receiver.numbers() == [0, 0, 1, 1, 2, 2, 9, 3, 3, 4, 4, 9]
    (end,) = receiver.payloads(".error")
    assert end["unfinished"] is True
    assert receiver.tallies == {"events.delivered": 12, "events.unfinished": 1}
    assert list(place.glob("*.spool")) == []
    receiver.courier.close()

    again = Receiver(place)
    assert again.work()
    assert again.got == []


def test_damage_is_skipped_and_counted(place) -> None:
    """A torn end, a flipped byte, a record that is no event, foreign files: the rest is sent."""
    file = write(place, calls(10))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data[:-3])
    write(place, [(spool.SINGLE, 1, b"no json"), (spool.SINGLE, 2, body(77))], "2")
    (place / "foreign.spool").write_text("foreign")
    os.mkfifo(place / f"{DEAD}-3.spool")
    (place / f"{DEAD}-4.spool").mkdir()
    (place / "notes.txt").write_text("left alone")
    receiver = Receiver(place)

    assert receiver.work()
    assert len(receiver.got) == 18 + 1 + len(receiver.payloads(".error"))
    assert receiver.tallies["events.corrupt"] == 3
    assert receiver.tallies["events.foreign"] == 3
    assert sorted(path.name for path in place.iterdir() if path.name.endswith("spool")) == []
    assert (place / "foreign.spool.foreign").read_text() == "foreign"
    assert (place / "notes.txt").exists()


def test_what_is_refused_comes_again_until_it_is_taken(place) -> None:
    """The others are not sent twice, also by a successor of this sender."""
    write(place, calls(20))
    receiver = Receiver(place)
    receiver.refuse = lambda event: json.loads(event.message)["payload"]["number"] in (3, 17)
    assert not receiver.work(0.3)
    assert len(receiver.got) == 36
    receiver.courier.close()

    successor = Receiver(place)
    assert successor.work()
    assert len(receiver.got) + len(successor.got) >= 40
    messages_ = {event.message for event in receiver.got + successor.got}
    assert len({event.message_id for event in receiver.got + successor.got}) == 40
    assert len(messages_) == 40
    assert list(place.glob("*.spool")) == []


def test_a_notifier_that_raises_is_tried_again_later(place) -> None:
    """With backoff; nothing is lost, and the failures are counted."""
    write(place, calls(5))
    receiver = Receiver(place)

    def fail(event: Event) -> bool:
        raise ConnectionRefusedError("nobody there")

    receiver.refuse = fail
    assert not receiver.work(0.2)
    assert receiver.tallies["events.failures"] == 1
    receiver.refuse = lambda event: False
    wait_for(receiver.work)
    assert len(receiver.got) == 10


def test_one_sender_at_a_time_works_on_a_spool(place) -> None:
    """The second waits until the first has left, then goes on from there."""
    first, second = Receiver(place), Receiver(place)
    write(place, calls(5), "1")
    assert first.work()
    write(place, calls(5), "2")
    assert second.work()
    assert second.got == []
    first.courier.close()
    assert second.work()
    assert (len(first.got), len(second.got)) == (10, 10)


def test_a_full_spool_drops_info_first_and_errors_last(place) -> None:
    """Oldest first; what goes is counted; usage still owes what the dropped ends said."""
    records = [
        (spool.END, number, body(number, "error" if number % 10 == 0 else "end"))
        for number in range(1000)
    ]
    for part in range(10):
        write(place, records[part * 100 : part * 100 + 100], f"{part * 16:x}")
    usage = Usage({"a": "hour"})
    receiver = Receiver(place, usage, max_size=100_000)
    receiver.refuse = lambda event: True
    assert not receiver.work(0.1)
    receiver.refuse = lambda event: False
    wait_for(receiver.work)

    numbers = receiver.numbers()
    assert set(range(0, 1000, 10)) <= set(numbers)
    assert set(range(901, 1000)) <= set(numbers)
    assert 1 not in numbers
    dropped = receiver.tallies["events.dropped"]
    assert dropped == receiver.tallies["events.dropped.spool_full"] == 1000 - len(numbers) > 500
    receiver.now += HOUR
    assert receiver.work()
    (told,) = receiver.payloads(".usage")
    assert (told["count"], told["errors"]) == (1000, 100)


def test_a_spool_full_of_errors_drops_the_oldest(place) -> None:
    """The bound holds whatever is in it."""
    for part in range(10):
        errors = [(spool.END, part, body(part, "error")) for _ in range(100)]
        write(place, errors, f"{part * 16:x}")
    receiver = Receiver(place, max_size=100_000)
    assert receiver.work()
    assert receiver.tallies["events.dropped"] + len(receiver.numbers()) == 1000
    assert 0 < len(receiver.numbers()) < 400
    assert receiver.numbers()[-1] == 9


def test_what_is_too_old_goes(place) -> None:
    """Errors too, and it is counted."""
    file = write(place, [(spool.END, 1, body(1, "error"))], "1")
    os.utime(file, (time.time() - 100, time.time() - 100))
    write(place, [(spool.END, 2, body(2))], "2")
    receiver = Receiver(place, max_age=60.0)
    assert receiver.work()
    assert receiver.numbers() == [2]
    assert receiver.tallies["events.dropped.too_old"] == 1


def drop(receiver: Receiver, place: Path, first: int) -> int:
    """Let the spool of a receiver that is down overflow; how many events that has cost."""
    before = receiver.tallies["events.dropped"]
    for part in range(first, first + 4):
        records = [
            (spool.END, number, body(number, "error" if number % 10 == 0 else "end"))
            for number in range(part * 100, part * 100 + 100)
        ]
        write(place, records, f"{part * 16:x}")
    receiver.refuse = lambda event: True
    receiver.work(0.1)
    receiver.refuse = lambda event: False
    return receiver.tallies["events.dropped"] - before


def test_drops_are_told_once_per_episode(place) -> None:
    """As one error, when the receiver takes events again; not more than one a minute."""
    receiver = Receiver(place, max_size=50_000)
    began = receiver.now
    lost = drop(receiver, place, 0)
    receiver.now += 30
    lost += drop(receiver, place, 10)
    assert receiver.payloads(".dropped") == []
    wait_for(receiver.work)

    (told,) = receiver.payloads(".dropped")
    assert told == {
        "count": lost,
        "by_reason": {"spool_full": {"INFO": lost, "ERROR": 0}},
        "first_dropped_at": at(began),
        "last_dropped_at": at(began + 30),
        "tach_version": 1,
    }
    assert lost == receiver.tallies["events.dropped"] == 800 - len(receiver.numbers())
    (event,) = [each for each in receiver.got if each.event_type == "tach.events.dropped"]
    assert (event.priority, json.loads(event.message)["publisher_id"]) == ("ERROR", "p.h")

    again = drop(receiver, place, 20)
    wait_for(receiver.work)
    receiver.now += 59
    assert receiver.work()
    assert len(receiver.payloads(".dropped")) == 1
    receiver.now += 1
    assert receiver.work()
    assert [each["count"] for each in receiver.payloads(".dropped")] == [lost, again]


def test_drops_that_nobody_was_told_of_are_told_by_the_next_sender(place) -> None:
    """Also where the one that dropped them was killed."""
    first = Receiver(place, max_size=50_000)
    lost = drop(first, place, 0)
    killed(first)
    successor = Receiver(place, max_size=50_000)
    assert successor.work()
    assert [each["count"] for each in successor.payloads(".dropped")] == [lost]


def killed(receiver: Receiver) -> None:
    """Another may take over, and nothing more is written by this one."""
    lock = receiver.queue._lock
    assert lock is not None
    os.close(lock)


def duplicates(*receivers: Receiver) -> int:
    """How many events have arrived more often than once, in all."""
    ids = [event.message_id for receiver in receivers for event in receiver.got]
    return len(ids) - len(set(ids))


def test_what_may_have_arrived_twice_is_counted(place) -> None:
    """A receiver that takes some and then fails without a word; not one that is not there."""
    write(place, calls(300))
    receiver = Receiver(place)

    def absent(event: Event) -> bool:
        raise ConnectionRefusedError

    def take_some(event: Event) -> bool:
        if len(receiver.got) == 120:
            raise ConnectionResetError
        receiver.got.append(event)
        return False

    receiver.refuse = absent
    assert not receiver.work(0.1)
    receiver.refuse = take_some
    wait_for(lambda: receiver.work(0.1) or len(receiver.got) == 120)
    assert receiver.tallies["events.resent"] == 0
    receiver.refuse = lambda event: False
    wait_for(receiver.work)

    assert receiver.courier.troubles() == [
        "notifier bus: events that may have arrived twice, at most: 500"
    ]
    assert len(receiver.got) == 720
    assert duplicates(receiver) == 120
    assert receiver.tallies["events.resent"] == 500
    write(place, calls(10), "20")
    assert receiver.work()
    assert receiver.tallies["events.resent"] == 500


def test_what_a_killed_sender_may_have_sent_is_counted(place) -> None:
    """What it had on offer when it died is in doubt for its successor, and nothing else."""
    write(place, [*calls(400), (spool.START, 900, body(900, "start"))])
    first = Receiver(place)
    first.queue.acquire()
    first.queue.tend()
    items = first.queue.offer()
    first.queue.confirm(items, first.deliver([item.event for item in items]))
    items = first.queue.offer()
    first.got += [item.event for item in items[:77]]
    killed(first)

    successor = Receiver(place)
    assert successor.work()
    assert duplicates(first, successor) == 77
    assert successor.tallies["events.resent"] == len(items) == 301
    assert successor.tallies["events.delivered"] == 302
    successor.courier.close()
    write(place, calls(5), "20")
    third = Receiver(place)
    assert third.work()
    assert third.tallies["events.resent"] == 0


@pytest.mark.parametrize("absence", [ConnectionRefusedError, socket.gaierror])
def test_what_nobody_was_there_to_take_is_not_in_doubt(place, absence: type[OSError]) -> None:
    """Also for the successor of a sender that was killed then."""
    write(place, calls(300))
    first = Receiver(place)

    def absent(event: Event) -> bool:
        raise absence

    first.refuse = absent
    assert not first.work(0.1)
    killed(first)

    successor = Receiver(place)
    assert successor.work()
    assert successor.tallies["events.delivered"] == 600
    assert successor.tallies["events.resent"] == 0


def test_a_state_that_cannot_be_written_stops_nothing(place, monkeypatch) -> None:
    """A full disk is the more reason to remove what has arrived."""
    write(place, calls(5))
    receiver = Receiver(place)
    assert receiver.queue.acquire()
    (place / "state.new").mkdir()  # as good as a full disk: the state cannot be replaced
    receiver.work(1)
    wait_for(lambda: receiver.work() or not list(place.glob("*.spool")))
    assert len({event.message_id for event in receiver.got}) == 10
    (place / "state.new").rmdir()
    wait_for(receiver.work)


def at(seconds: float) -> str:
    """That time of the epoch as a message says it."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


def test_usage_is_the_sum_of_the_events_across_a_restart(place) -> None:
    """Two processes' events of one hour, a restart of the sender in its middle, one message."""
    begin = time.time() // HOUR * HOUR - 2 * HOUR
    for name, count in (("1", 7), ("2", 5)):
        ends = [(spool.END, n, body(n, timestamp=at(begin + n))) for n in range(count)]
        write(place, ends, name)
    first = Receiver(place, Usage({"a": "hour"}))
    first.now = begin + 10
    assert first.work()
    assert first.payloads(".usage") == []
    first.courier.close()

    late = [(spool.END, 1, body(1, "error", timestamp=at(begin + HOUR - 0.5)))]
    late += [(spool.END, 2, body(2, timestamp=at(begin + HOUR + 1)))]
    write(place, late, "3")
    second = Receiver(place, Usage({"a": "hour"}))
    second.now = begin + HOUR + 60
    second.refuse = lambda event: True
    assert not second.work(0.1)
    second.refuse = lambda event: False
    wait_for(second.work)
    (told,) = second.payloads(".usage")
    assert (told["count"], told["errors"]) == (13, 1)
    assert (told["audit_period_beginning"], told["audit_period_ending"]) == (
        at(begin)[:19],
        at(begin + HOUR)[:19],
    )


def test_a_call_cut_short_counts_as_used(place) -> None:
    """Its .error is an event like any other."""
    write(place, [(spool.START, 1, body(1, "start"))])
    receiver = Receiver(place, Usage({"a": "hour"}))
    assert receiver.work()
    receiver.now += 2 * HOUR
    assert receiver.work()
    (told,) = receiver.payloads(".usage")
    assert (told["count"], told["errors"], told["errors_by_type"]) == (1, 1, {"ProcessDied": 1})


# End to end, with a receiver that fails


PLUGIN = """
import os
class Failing:
    def __init__(self, until: str): self.until, self.got = until, until + ".got"
    def send(self, batch): pass
    def close(self): pass
    def deliver(self, events):
        if not os.path.exists(self.until):
            raise ConnectionRefusedError("not yet")
        with open(self.got, "a") as file:
            file.writelines(each.event_type + chr(10) for each in events)
        return [True] * len(events)
"""


def test_a_receiver_that_is_down_costs_info_first(run_tach, tmp_path, tach_run_dir) -> None:
    """With a tiny spool the program goes on unharmed; the errors arrive when the receiver is up."""
    (tmp_path / "plug").mkdir()
    (tmp_path / "plug" / "their_plugin.py").write_text(PLUGIN)
    info = tmp_path / "plug" / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tach.notifiers]\nfailing = their_plugin:Failing\n")
    run = EventRun(tmp_path, tach_run_dir)
    up = tmp_path / "up"
    config = run.config(spool={"max_size": "64KiB"})
    config["notifiers"]["bus"] = {"type": "failing", "until": str(up)}
    program = run.program(
        """
for i in range(1000):
    try:
        calls.Worker().work(i, fail=i % 50 == 0)
    except calls.Boom:
        pass
    if i % 100 == 0:
        time.sleep(0.3)
print("unharmed")
"""
    )
    env = {"PYTHONPATH": str(tmp_path / "plug")}
    done = run_tach(config, program, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "unharmed\n", "")
    run.ended()
    (trouble,) = run.report.troubles()
    assert trouble.startswith("notifier bus: events dropped from its spool: ")
    assert 0 < sum(file.stat().st_size for file in run.spooled()) < (64 << 10) + (16 << 10)

    up.touch()
    run_tach(config, run.program("pass"), env=env)
    run.ended()
    got = Counter(Path(f"{up}.got").read_text().split())
    assert got["work.error"] == 20
    assert 0 < got["work.start"] < 500
