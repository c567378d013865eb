from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from event_runs import EventRun

from tach.config import ConfigErrors, load
from tach.notifiers.debug import Debug
from tach.notifiers.graphite import Graphite
from tach.notifiers.log import Log
from tach.notifiers.statsd import Statsd
from tach.plan import NotifierPlan
from tach.samples import Batch, Event, Sample

PLUGIN = """
class Picky:
    interval = 7.0
    calls = []

    def __init__(self, url: str = ""):
        self.tallies = {"asked": 0}

    def warm_up(self):
        self.calls.append("warm_up")

    def tick(self):
        self.calls.append("tick")

    def introduce(self, run):
        self.calls.append(run)

    def send(self, batch):
        self.tallies["asked"] += 1
        if self.tallies["asked"] < 3:
            raise OSError("not yet")

    def deliver(self, events):
        self.tallies["asked"] += 1
        if self.tallies["asked"] == 1:
            raise TimeoutError("too slow")
        return [self.tallies["asked"] > 2 or each.message_id != "b" for each in events]

    def close(self):
        self.calls.append("close")
"""


@pytest.fixture
def _plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notifier type `picky`, of another package."""
    (tmp_path / "picky_notifier.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules["tach.notifiers"].BUILTIN, "picky", "picky_notifier:Picky")
    monkeypatch.delitem(sys.modules, "picky_notifier", raising=False)


@pytest.fixture
def statsd() -> Iterator[socket.socket]:
    """Where packets of statsd arrive."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        yield receiver


def options_for(statsd: socket.socket) -> dict[str, Any]:
    """The notifier that sends there."""
    return {"type": "statsd", "host": "127.0.0.1", "port": statsd.getsockname()[1]}


def plan_of(tmp_path: Path, text: str) -> Any:
    """The plan of a configuration."""
    file = tmp_path / "tach.yaml"
    file.write_text(text)
    return load(str(file))


def errors_of(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a configuration, from the line number on."""
    with pytest.raises(ConfigErrors) as caught:
        plan_of(tmp_path, text)
    return [str(each).partition("tach.yaml:")[2] for each in caught.value.errors]


def messages(file: Path) -> list[str]:
    """The lines of a log without their times."""
    return [line.split(" ", 2)[2] for line in file.read_text().splitlines()]


def batch(*calls: int) -> Batch:
    """A batch with a counter for each number."""
    return Batch([Sample("a.calls", "counter", n, 60.0, "a", "calls") for n in calls], 0.0, 60.0)


def event(message_id: str) -> Event:
    """A notification."""
    return Event(json.dumps({"id": message_id}).encode(), "a.end", "INFO", message_id)


def test_what_is_sent_is_logged(tmp_path: Path, statsd: socket.socket) -> None:
    """The wrapped notifier sends what it would send alone; each sample is a line of the log."""
    file = tmp_path / "debug.log"
    with closing(Debug(options_for(statsd), str(file))) as debug:
        debug.send(batch(3, 4))
        assert statsd.recv(2000) == b"a.calls:3|c\na.calls:4|c"
        assert debug.tallies["packets"] == 1

    assert messages(file) == ["counter a.calls 3", "counter a.calls 4"]


@pytest.mark.usefixtures("_plugin")
def test_everything_optional_is_that_of_the_wrapped_one() -> None:
    """Intervals, tallies, visits: there if the wrapped notifier has them, and only then."""
    wishes = ("interval", "aligned", "cumulative", "idle", "per_process")
    graphite = Debug({"type": "graphite", "interval": 10.0, "per": "process"})
    alone: Any = Graphite(interval=10.0, per="process")
    assert {wish: getattr(graphite, wish, None) for wish in wishes} == {
        wish: getattr(alone, wish, None) for wish in wishes
    }
    assert not hasattr(graphite, "tick")

    picky = Debug({"type": "picky"})
    picky.introduce("run")
    picky.warm_up()
    picky.tick()
    picky.close()
    assert (picky.interval, picky.tallies) == (7.0, {"asked": 0})
    assert picky.calls == ["run", "warm_up", "tick", "close"]


@pytest.mark.usefixtures("_plugin")
def test_errors_go_through_and_are_logged(tmp_path: Path) -> None:
    """The sender sees every failure of the wrapped one; a batch given again is logged once."""
    file = tmp_path / "debug.log"
    debug, same = Debug({"type": "picky"}, str(file)), batch(3)
    with closing(debug):
        for _ in range(2):
            with pytest.raises(OSError, match="not yet"):
                debug.send(same)
        debug.send(same)
        debug.send(batch(3))

    failure = "picky: OSError: not yet"
    assert messages(file) == ["counter a.calls 3", failure, failure, "counter a.calls 3"]


@pytest.mark.usefixtures("_plugin")
def test_events_are_confirmed_by_the_wrapped_one(tmp_path: Path) -> None:
    """Its answer is the answer; events that come again are logged once."""
    file = tmp_path / "debug.log"
    debug, both = Debug({"type": "picky"}, str(file)), [event("a"), event("b")]
    with closing(debug):
        with pytest.raises(TimeoutError):
            debug.deliver(both)
        assert debug.deliver(both) == [True, False]
        assert debug.deliver(both[1:]) == [True]

    assert messages(file) == [
        'event a.end {"id": "a"}',
        'event a.end {"id": "b"}',
        "picky: TimeoutError: too slow",
        "picky: events not taken: 1 of 2",
    ]


@pytest.mark.parametrize("file", ["missing/debug.log", "/dev/full"])
def test_a_log_that_cannot_be_written_hinders_nothing(
    tmp_path: Path, statsd: socket.socket, caplog: pytest.LogCaptureFixture, file: str
) -> None:
    """The samples are sent all the same; the reason is told once where it can be."""
    with closing(Debug(options_for(statsd), str(tmp_path / file))) as debug:
        debug.send(batch(3))
        debug.send(batch(4))
        assert [statsd.recv(2000), statsd.recv(2000)] == [b"a.calls:3|c", b"a.calls:4|c"]

    (said,) = [each.getMessage() for each in caplog.records]
    assert said.startswith("debug: cannot log: [Errno ")


def test_logs_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    """Two notifiers with the same logger write each to its file, at its level."""
    files = [tmp_path / "a.log", tmp_path / "b.log"]
    with closing(Log(str(files[0]), "debug")) as first, closing(Log(str(files[1]))) as second:
        first.send(batch(1))
        second.send(batch(2))

    assert [messages(file) for file in files] == [["counter a.calls 1"], ["counter a.calls 2"]]


@pytest.mark.parametrize("logger", ["tach.log", "shop"])
def test_without_a_file_it_is_the_senders_log(logger: str) -> None:
    """Whatever the name: the sender's log is that of the logger `tach`."""
    seen: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(f"{record.name} {record.getMessage()}")  # type: ignore[method-assign]
    root, tach = logging.getLogger(), logging.getLogger("tach")
    others, root.handlers = root.handlers, []
    tach.addHandler(handler)
    try:
        Log(level="debug", logger=logger).send(batch(1))
    finally:
        tach.removeHandler(handler)
        root.handlers = others

    assert seen == [f"{logger} counter a.calls 1"]


# The configuration


def test_the_wrapped_one_stands_in_it(tmp_path: Path) -> None:
    """Its options are converted by its own annotations; it says whether events can be delivered."""
    plan = plan_of(
        tmp_path,
        "notifiers:\n"
        "  a: {type: debug, notifier: {type: statsd, port: '${TACH_UNSET:-9}', timeout: 1m}}\n"
        "  b: {type: debug, level: debug, notifier: {type: debug, notifier: {type: log}}}\n",
    )

    statsd = {"type": "statsd", "port": 9, "timeout": 60.0}
    inner = {"type": "debug", "notifier": {"type": "log"}}
    assert plan.notifiers == (
        NotifierPlan("a", "debug", {"notifier": statsd}, 2, delivers=False),
        NotifierPlan("b", "debug", {"notifier": inner, "level": "debug"}, 3, delivers=True),
    )
    assert type(plan).from_json(plan.to_json()) == plan
    made = Debug(**plan.notifiers[0].options)
    assert vars(made)["_wrapped"].__class__ is Statsd


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("{type: debug}", ["2: notifiers.n: the option 'notifier' is missing; add it"]),
        (
            "{type: debug, notifier: statsd}",
            ["2: notifiers.n.notifier: expected a mapping such as {type: console}, got 'statsd'"],
        ),
        (
            "{type: debug, notifer: {type: log}}",
            [
                "2: notifiers.n: unknown key 'notifer'; did you mean 'notifier'?",
                "2: notifiers.n: the option 'notifier' is missing; add it",
            ],
        ),
        (
            "\n    type: debug\n    level: loud\n    notifier:\n      type: statsd\n"
            "      prot: 1\n      host: []",
            [
                "4: notifiers.n.level: expected one of 'debug', 'info', 'warning', got 'loud'; "
                "known: debug, info, warning",
                "7: notifiers.n.notifier: unknown key 'prot'; did you mean 'port'?",
                "8: notifiers.n.notifier.host: expected a text, got a list",
            ],
        ),
        (
            "{type: debug, notifier: {type: statd}}",
            ["2: notifiers.n.notifier: unknown notifier type 'statd'; did you mean 'statsd'?"],
        ),
        (
            "\n    type: debug\n    notifier: {type: graphite, port: 0}",
            ["4: notifiers.n.notifier: port 0 must be from 1 to 65535"],
        ),
        (
            "{type: debug, notifier: {type: console}}",
            ["2: notifiers.n: a console shows itself what it is given; wrap another notifier"],
        ),
        (
            "{type: debug, file: '', notifier: {type: log}}",
            ["2: notifiers.n: file must not be empty; leave it out for the sender's log"],
        ),
    ],
)
def test_a_mistake_has_its_line(tmp_path: Path, text: str, errors: list[str]) -> None:
    """The wrapped notifier is checked as any other, and all mistakes are said at once."""
    assert errors_of(tmp_path, f"notifiers:\n  n: {text}") == errors


def test_a_wrapped_mistake_is_reported_once(tmp_path: Path) -> None:
    """Whether an unknown notifier could deliver events is not guessed."""
    text = (
        "notifiers: {n: {type: debug, notifier: {type: ampq}}}\n"
        "targets: {a: {function: 'p:f', metrics: events}}"
    )
    assert len(errors_of(tmp_path, text)) == 1

    text = text.replace("ampq", "statsd")
    (error,) = errors_of(tmp_path, text)
    assert "its events go nowhere" in error


def test_the_check_shows_no_password(tmp_path: Path) -> None:
    """`tach check` masks the URL of a wrapped broker like that of another."""
    pytest.importorskip("amqp")
    bus = "{type: amqp, exchange: x, url: 'amqp://u:s3cret@h//'}"
    (tmp_path / "tach.yaml").write_text(f"notifiers: {{n: {{type: debug, notifier: {bus}}}}}")
    done = subprocess.run(
        [sys.executable, "-m", "tach", "check", "tach.yaml"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip

    assert "notifier n: debug notifier=(type=amqp" in done.stdout
    assert "s3cret" not in done.stdout


# A whole run


def test_a_run_is_logged_and_sent(
    run_tach: Any, tmp_path: Path, tach_run_dir: Path, statsd: socket.socket
) -> None:
    """Samples of an unmodified program reach the daemon, and events the bus, and both the log."""
    events = EventRun(tmp_path, tach_run_dir)
    of_bus, of_counts = tmp_path / "bus.log", tmp_path / "counts.log"
    config = events.config(prefix="p")
    bus = {"type": "debug", "notifier": config["notifiers"]["bus"], "file": str(of_bus)}
    counts = {"type": "debug", "notifier": options_for(statsd), "file": str(of_counts)}
    config["notifiers"] |= {"bus": bus, "counts": counts}
    done = run_tach(config, events.program("for i in range(50): calls.Worker().work(i)"))

    assert (done.returncode, done.stderr) == (0, "")
    assert events.counts() == {"work.start": 50, "work.end": 50}
    said = [each for each in messages(of_bus) if each.startswith("event ")]
    assert [json.loads(each.split(" ", 2)[2]) for each in said] == events.messages()
    counted = [each for each in messages(of_counts) if each.startswith("counter p.work.calls ")]
    assert counted == ["counter p.work.calls 50"]
    assert b"p.work.calls:50|c" in statsd.recv(2000)
