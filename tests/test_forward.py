from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rabbitmq_broker import RabbitmqBroker, require_rabbitmq
from test_spool import Receiver, body, calls, write

from tach import spool, spooldir

PLUGIN = """
class Picky:
    def send(self, batch): pass
    def close(self): pass
    def deliver(self, events):
        return [not each.event_type.endswith(".error") for each in events]
"""
CONFIG = """
spool: {directory: spools}
notifiers:
  bus: {type: log, file: got.log}
  other: {type: log, file: other.log}
  screen: {type: console}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tach.yaml").write_text(CONFIG)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The spool of the notifier `bus` of the configuration."""
    found = Path(spooldir.of_notifier(spooldir.of_configuration("spools", "tach.yaml"), "bus"))
    found.mkdir(parents=True)
    return found


def forward(*arguments: Any, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run `tach forward`."""
    command = [sys.executable, "-m", "tach", "forward", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **more)


def got(file: str = "got.log") -> list[str]:
    """The types of the events that arrived."""
    lines = Path(file).read_text().splitlines() if Path(file).exists() else []
    return [line.partition(" event ")[2].split()[0] for line in lines]


@pytest.mark.parametrize("what", ["notifier", "configuration", "default"])
def test_a_spool_is_sent_with_its_notifier(place, what) -> None:
    """Named itself, by its configuration's directory, or not at all: all arrives, none is left."""
    write(place, [*calls(600), (spool.START, 900, body(900, "start"))])
    spools = {"notifier": [place], "configuration": [place.parent], "default": []}[what]
    done = forward(*spools, "--config", "tach.yaml")

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"{place}: 1202 events sent, 1 unfinished, 0 bytes left\n"
    assert got() == ["a.start", "a.end"] * 600 + ["a.start", "a.error"]
    assert list(place.glob("*.spool")) == []
    assert forward(place, "--config", "tach.yaml").stderr == (
        f"{place}: 0 events sent, 0 bytes left\n"
    )
    assert len(got()) == 1202


def test_a_file_is_sent_and_stays(place) -> None:
    """Whatever its name and wherever it lies, if the directory has the name of a notifier."""
    file = write(place, calls(2))
    done = forward(file, "--config", "tach.yaml")
    assert (done.returncode, len(got()), file.exists()) == (0, 4, True)

    Path("other").mkdir()
    file.rename("other/kept.foreign")
    done = forward("other/kept.foreign", "--config", "tach.yaml")
    assert (done.returncode, len(got("other.log"))) == (0, 4)


def test_a_dry_run_prints_and_sends_nothing(place) -> None:
    """A line for each event that waits, and for each damage."""
    bodies = [body(1, "start", _context_request_id="req-1"), body(2, "error")]
    file = write(place, [(spool.START, 1, bodies[0]), (spool.END, 2, bodies[1])])
    with file.open("ab") as more:
        more.write(b"noise")
    before = file.read_bytes()
    done = forward(place, "--dry-run")

    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr, len(lines)) == (0, "", 4)
    assert lines[0] == f"# {place}"
    assert lines[1].split()[2:5] == ["a.start", "INFO", "req-1"]
    assert lines[2].split()[2:5] == ["a.error", "ERROR", "-"]
    assert len(lines[2].split()[5]) == 36
    assert lines[3] == "# damaged"
    assert file.read_bytes() == before
    assert got() == []
    assert forward(file, "--dry-run").stdout.splitlines()[1:] == lines[1:]


def test_what_is_not_taken_is_left(place, tmp_path) -> None:
    """The exit status is 1, the rest is in the spool, and a second try sends only that."""
    (tmp_path / "their_plugin.py").write_text(PLUGIN)
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tach.notifiers]\npicky = their_plugin:Picky\n")
    Path("picky.yaml").write_text("notifiers: {bus: {type: picky}}")
    write(place, [*calls(3), (spool.END, 7, body(7, "error"))])
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = forward(place, "--config", "picky.yaml", "--timeout", "300ms", env=env)

    assert done.returncode == 1
    assert "1 events were not taken; its events wait in the spool" in done.stderr
    assert "6 events sent, " in done.stderr.splitlines()[-1]
    done = forward(place, "--config", "tach.yaml")
    assert (done.returncode, got()) == (0, ["a.error"])


def test_a_spool_that_a_run_works_on_is_left_to_it(place) -> None:
    """Two senders would send everything twice."""
    receiver = Receiver(place)
    assert receiver.queue.acquire()
    done = forward(place, "--config", "tach.yaml")
    assert (done.returncode, done.stderr) == (
        2,
        f"tach: {place}: a running tach is sending it already\n",
    )


# To a real broker


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitmqBroker]:
    """One broker for all tests, as it takes long to start; each takes all that arrives."""
    require_rabbitmq()
    with RabbitmqBroker() as running:
        yield running


def arrived(broker: RabbitmqBroker, queue: str = "notifications.info") -> Counter[bytes]:
    """How often each notification is in the queue; taken from it."""
    messages = broker.take_all(queue)
    return Counter(
        each.body if isinstance(each.body, bytes) else each.body.encode() for each in messages
    )


def test_a_spool_is_sent_to_a_broker_without_a_configuration(broker, place) -> None:
    """Everything once, unchanged, each on the queue of its priority; one line says so."""
    records = [*calls(500), (spool.END, 900, body(900, "error"))]
    file = write(place, records)
    to = ("--to", broker.url, "--exchange", "nova")
    before = file.read_bytes()
    dry = forward(place, *to, "--dry-run")
    assert (dry.returncode, len(dry.stdout.splitlines())) == (0, 1002)
    assert file.read_bytes() == before
    done = forward(place, *to)

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"{place}: 1001 events sent, 0 bytes left\n"
    *infos, error = [record[2] for record in records]
    assert arrived(broker) == dict.fromkeys(infos, 1)
    assert arrived(broker, "notifications.error") == {error: 1}
    assert list(place.glob("*.spool")) == []

    write(place, calls(3), "2")
    done = forward(place, *to, "--topic", "a", "--topic", "b")
    assert (done.returncode, broker.depth("a.info"), broker.depth("b.info")) == (0, 6, 6)


def test_a_broker_that_does_not_want_us_leaves_the_spool(broker, place) -> None:
    """The exit status is 1, the reason is said, the password is not."""
    file = write(place, calls(3))
    url = broker.url.replace("guest:guest", "guest:s3cret")
    done = forward(place, "--to", url, "--exchange", "nova", "--timeout", "300ms")

    assert (done.returncode, done.stdout) == (1, "")
    assert "ACCESS_REFUSED" in done.stderr
    assert done.stderr.endswith(f"{place}: 0 events sent, {file.stat().st_size} bytes left\n")
    assert "s3cret" not in done.stderr


def start_on_a_terminal(*arguments: Any) -> tuple[subprocess.Popen[bytes], int]:
    """`tach forward` with its stderr on a terminal, and the other end of that."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tach", "forward", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=theirs)
    os.close(theirs)
    return process, ours


def shown(terminal: int) -> str:
    """What is written to a terminal until nobody has the other end any more."""
    text = b""
    with suppress(OSError):
        while True:
            text += os.read(terminal, 10_000)
    os.close(terminal)
    return text.decode()


def test_progress_is_shown_on_a_terminal(broker, place) -> None:
    """In one line that changes while it goes on, and says in the end where things are."""
    write(place, calls(10_000))
    process, terminal = start_on_a_terminal(place, "--to", broker.url, "--exchange", "nova")
    *progress, last = shown(terminal).split("\x1b[K")

    assert process.wait(60) == 0
    assert last == f"{place}: 20000 events sent, 0 bytes left\r\n"
    states = [
        re.fullmatch(r"\r(\d+) events sent, (\d+) bytes left", each) for each in progress[:-1]
    ]
    assert states
    assert all(states)
    sent = [int(state[1]) for state in states if state]
    assert sent == sorted(sent)
    assert 0 < sent[0] <= 20_000
    assert arrived(broker).total() == 20_000


def test_what_a_killed_forward_has_sent_is_sent_again_and_counted(broker, place) -> None:
    """Killed in the middle, the next one finishes the job; no more came twice than it says."""
    records = calls(10_000)
    write(place, records)
    to = ("--to", broker.url, "--exchange", "nova")
    process, terminal = start_on_a_terminal(place, *to)
    os.read(terminal, 1)  # the first progress
    process.kill()
    process.wait()
    os.close(terminal)
    done = forward(place, *to)

    assert done.returncode == 0
    told = re.search(r"(\d+) events sent, (?:(\d+) resent, )?0 bytes left", done.stderr)
    assert told
    assert 0 < int(told[1]) < 20_000
    got = arrived(broker)
    assert got.keys() == {record[2] for record in records}
    assert got.total() - len(got) <= int(told[2] or 0) <= 500
    assert len({json.loads(message)["message_id"] for message in got}) == 20_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which SPOOL? name its directory, or a configuration with --config"),
        (["nowhere"], "there is no nowhere"),
        (["."], ". is no spool: no *.spool in it nor in its directories"),
        (["spool"], "where to? say --config FILE or --to URL"),
        (
            ["spool", "--to", "ampq://h"],
            "--to: unknown kind of address 'ampq:'; did you mean 'amqp'?",
        ),
        (
            ["spool", "--to", "amqp://h"],
            "--to: which exchange? say --exchange NAME, of where consumers listen",
        ),
        (
            ["spool", "--config", "tach.yaml"],
            "tach.yaml has no notifier 'spool' for this spool; known: bus, other",
        ),
    ],
)
def test_what_cannot_be_forwarded_is_said(arguments: list[str], message: str) -> None:
    """In one line, with what to do; the exit status is 2."""
    if arguments[:1] == ["spool"]:
        write(Path("spool"), calls(1))
    done = forward(*arguments)
    assert (done.returncode, done.stderr) == (2, f"tach: {message}\n")


def test_a_wrong_configuration_and_a_wrong_option_are_said() -> None:
    """As everywhere."""
    Path("wrong.yaml").write_text("intervall: 1s")
    done = forward("--config", "wrong.yaml")
    assert (done.returncode, done.stderr) == (
        2,
        "wrong.yaml:1: top level: unknown key 'intervall'; did you mean 'interval'?\n",
    )
    done = forward("--timeout", "long")
    assert done.returncode == 2
    assert "expected a duration such as 500ms" in done.stderr
