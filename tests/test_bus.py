"""Notifications from a program through the spool and a real RabbitMQ to who listens there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from listeners import Listeners
from processes import wait_for
from rabbitmq_broker import RabbitmqBroker, require_rabbitmq
from test_sender import sender_pids

QUEUES = ("notifications.info", "notifications.error")
REBOOT = "compute.instance.reboot"


@pytest.fixture(scope="module")
def shared_broker() -> Iterator[RabbitmqBroker]:
    """One broker for all tests, as it takes long to start."""
    require_rabbitmq()
    with RabbitmqBroker() as running:
        yield running


@pytest.fixture
def broker(shared_broker: RabbitmqBroker) -> RabbitmqBroker:
    """The broker, without anything declared in it."""
    shared_broker.delete("nova", QUEUES)
    return shared_broker


@pytest.fixture
def config(broker: RabbitmqBroker, tmp_path: Path) -> dict[str, Any]:
    """The calls of `bus_targets` to the bus."""
    return {
        "interval": "200ms",
        "spool": {"directory": str(tmp_path / "spool")},
        "notifiers": {
            "bus": {"type": "amqp", "url": broker.url, "exchange": "nova", "confirm_timeout": "3s"}
        },
        "targets": {
            "reboot": {
                "function": "bus_targets:Manager.reboot",
                "metrics": "events",
                "event": REBOOT,
                "payload": {"instance_id": "args.instance.uuid", "number": "args.instance.number"},
            }
        },
    }


def spooled(tmp_path: Path) -> list[Path]:
    """The spool files that have not been dealt with."""
    return list((tmp_path / "spool").rglob("*.spool"))


@pytest.mark.parametrize(("calls", "format_"), [(10_000, "1.0"), (1_000, "2.0")])
def test_a_listener_receives_exactly_what_happened(
    calls: int,
    format_: str,
    run_tach: Callable[..., Any],
    config: dict[str, Any],
    broker: RabbitmqBroker,
    programs: Path,
    tmp_path: Path,
) -> None:
    """A start for each call, an end on info or an error on error; every payload an object."""
    config["notifiers"]["bus"]["format"] = format_
    with Listeners(broker, tmp_path) as listeners:
        received = listeners.start()

        ended = run_tach(config, sys.executable, programs / "bus_service.py", calls)

        assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "done"), ended.stderr
        wait_for(lambda: len(received()) >= 2 * calls, timeout=60)
        wait_for(lambda: not spooled(tmp_path), message="an empty spool")
        notifications = received()
    kinds = Counter((each["method"], each["event_type"]) for each in notifications)
    assert kinds == {
        ("info", f"{REBOOT}.start"): calls,
        ("info", f"{REBOOT}.end"): calls * 9 // 10,
        ("error", f"{REBOOT}.error"): calls // 10,
    }
    assert all(isinstance(each["payload"], dict) for each in notifications)
    assert len({each["metadata"]["message_id"] for each in notifications}) == 2 * calls
    pairs = Counter(each["payload"]["number"] for each in notifications)
    assert pairs == dict.fromkeys(range(calls), 2)
    one = next(each for each in notifications if each["method"] == "error")
    assert one["context"]["request_id"] == "req-of-the-test"
    assert "s3cret" not in json.dumps(notifications)
    assert one["payload"]["exception"]["class"] == "Refused"


def messages(broker: RabbitmqBroker) -> list[bytes]:
    """All that lies in the queues, taken from them."""
    return [
        each.body if isinstance(each.body, bytes) else each.body.encode()
        for queue in QUEUES
        for each in broker.take_all(queue)
    ]


def check(bodies: list[bytes], numbers: set[int]) -> None:
    """Each call in pairs, each message at least once, duplicates the same to the byte."""
    by_id: dict[str, set[bytes]] = defaultdict(set)
    ends: Counter[tuple[int, bool]] = Counter()
    for body in bodies:
        by_id[json.loads(body)["message_id"]].add(body)
    assert all(len(different) == 1 for different in by_id.values())
    for [body] in by_id.values():
        message = json.loads(body)
        is_start = message["event_type"].endswith(".start")
        ends[message["payload"]["number"], is_start] += 1
    told = {number for number, _ in ends}
    assert told >= numbers
    assert ends == {(number, is_start): 1 for number in told for is_start in (True, False)}


def progress(program: subprocess.Popen[str], least: int) -> set[int]:
    """Wait until the program has begun that many calls; the numbers of those calls."""
    assert program.stdout is not None
    for line in program.stdout:
        if int(line) >= least:
            return set(range(int(line) - 9))
    raise AssertionError("the program ended before it was disturbed")


@pytest.mark.parametrize("disturbance", ["restarts", "closed connections", "memory alarm"])
def test_a_broker_that_is_disturbed_loses_nothing(
    disturbance: str,
    spawn_tach: Callable[..., subprocess.Popen[str]],
    config: dict[str, Any],
    broker: RabbitmqBroker,
    programs: Path,
    tmp_path: Path,
) -> None:
    """Stopped twice, cut off, out of memory: each message arrives, at least once, unchanged."""
    program = spawn_tach(config, sys.executable, programs / "bus_service.py", 3000, 0.02)
    for least in (500, 1500):
        progress(program, least)
        if disturbance == "restarts":
            broker.stop()
            progress(program, least + 200)
            broker.start()
        elif disturbance == "closed connections":
            broker.close_all_connections()
        else:
            with broker.memory_alarm():
                progress(program, least + 200)
    _, err = program.communicate(timeout=60)

    assert program.returncode == 0, err
    finish(config, run_directory(tmp_path), tmp_path)
    check(messages(broker), set(range(3000)))


def test_senders_that_are_killed_lose_nothing(
    spawn_tach: Callable[..., subprocess.Popen[str]],
    config: dict[str, Any],
    broker: RabbitmqBroker,
    programs: Path,
    tmp_path: Path,
    tach_run_dir: Path,
) -> None:
    """The sender killed three times while it delivers: each message arrives, unchanged."""
    program = spawn_tach(config, sys.executable, programs / "bus_service.py", 3000, 0.02)
    for least in (500, 1200, 1900):
        progress(program, least)
        *_, worker = wait_for(lambda: sender_pids(tach_run_dir))
        os.kill(worker, signal.SIGKILL)
    _, err = program.communicate(timeout=60)

    assert program.returncode == 0, err
    finish(config, tach_run_dir, tmp_path)
    check(messages(broker), set(range(3000)))


@pytest.mark.parametrize("with_sender", [False, True])
def test_a_program_that_is_killed_is_told_to_the_end(
    with_sender: bool,
    spawn_tach: Callable[..., subprocess.Popen[str]],
    run_tach: Callable[..., Any],
    config: dict[str, Any],
    broker: RabbitmqBroker,
    programs: Path,
    tmp_path: Path,
    tach_run_dir: Path,
) -> None:
    """Killed in the middle, alone or with its sender: what it told arrives, every call ends. What
    the sender leaves the next run of the configuration sends."""
    program = spawn_tach(config, sys.executable, programs / "bus_service.py", 3000, 0.02)
    begun = progress(program, 1000)
    for pid in sender_pids(tach_run_dir) if with_sender else ():
        os.kill(pid, signal.SIGKILL)
    program.kill()
    program.communicate()
    if with_sender:
        assert spooled(tmp_path)
        ended = run_tach(config, sys.executable, programs / "bus_service.py", 10)
        assert ended.returncode == 0, ended.stderr

    finish(config, tach_run_dir, tmp_path)
    bodies = messages(broker)
    if with_sender:  # the next run has told of its own ten calls too
        again = [body for body in bodies if json.loads(body)["payload"]["number"] < 10]
        assert len({json.loads(body)["message_id"] for body in again}) == 40
        bodies = [body for body in bodies if body not in again]
        begun -= set(range(10))
    check(bodies, begun)


def test_what_a_full_spool_dropped_is_told_once(
    run_tach: Callable[..., Any],
    config: dict[str, Any],
    broker: RabbitmqBroker,
    programs: Path,
    tmp_path: Path,
    tach_run_dir: Path,
) -> None:
    """While the broker is down; all that has not arrived then is in the one error that says so."""
    config["spool"]["max_size"] = "128KiB"
    broker.stop()
    try:
        ended = run_tach(config, sys.executable, programs / "bus_service.py", 1000, 0.02)
    finally:
        broker.start()
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "done"), ended.stderr

    finish(config, tach_run_dir, tmp_path)
    found = [json.loads(body) for body in messages(broker)]
    arrived = {each["message_id"]: each for each in found}
    kinds = Counter((each["event_type"], each["priority"]) for each in arrived.values())
    lost = 2000 - len(arrived) + 1
    assert kinds["tach.events.dropped", "ERROR"] == 1
    assert kinds[f"{REBOOT}.error", "ERROR"] == 100
    assert 0 < kinds[f"{REBOOT}.end", "INFO"] < 900
    (told,) = [each for each in arrived.values() if each["event_type"] == "tach.events.dropped"]
    assert told["payload"]["count"] == lost
    assert told["payload"]["by_reason"] == {"spool_full": {"INFO": lost, "ERROR": 0}}
    assert told["publisher_id"].startswith("bus_service")
    assert str(tmp_path) not in json.dumps(told)


def run_directory(tmp_path: Path) -> Path:
    """Where the runs of the test are."""
    return tmp_path / "run"


def finish(config: dict[str, Any], run_dir: Path, tmp_path: Path) -> None:
    """Wait for the end of the runs; send with `tach forward` what they have left, if anything."""
    wait_for(lambda: not sender_pids(run_dir), timeout=40, message="the end of the run")
    if spooled(tmp_path):
        subprocess.run(
            [sys.executable, "-m", "tach", "forward", "--config", "tach.yaml"],
            cwd=tmp_path,
            check=True,
            timeout=60,
            env={**os.environ, "TACH_RUN_DIR": str(run_dir)},
        )
    assert not spooled(tmp_path)
