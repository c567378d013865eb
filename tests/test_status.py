"""`tach status`: what it says of runs that live, and that asking disturbs nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ports import HOST, free_ports
from processes import Processes, wait_for
from reports import Report
from test_sender import sender_pids

from tach import status_table
from tach.plan import Plan
from tach.rundir import Run
from tach.sender.journal import JournalReader
from tach.sender.status import without_sender

SHOP = """
SIGN = "open"

def buy(number=1):
    return number

def refund(number=1):
    raise KeyError(number)

def idle():
    pass
"""
Json = dict[str, Any]
Spawn = Callable[..., subprocess.Popen[str]]


class Shop:
    """Runs programs that use `shop` and then wait for a line of input, and asks how they stand."""

    def __init__(
        self, directory: Path, spawn: Spawn, processes: Processes, environment: dict[str, str]
    ) -> None:
        self.directory = directory
        self._spawn = spawn
        self._processes = processes
        self._environment = environment
        (directory / "shop.py").write_text(SHOP)

    @contextmanager
    def open(self, config: Json, text: str, name: str = "program") -> Iterator[Any]:
        """The run of a program once it has printed a line; it is told to end afterwards."""
        file = self.directory / f"{name}.py"
        file.write_text(f"import os, sys, threading, time\nfrom contextlib import suppress\n{text}")
        program = self._spawn(config, sys.executable, file, stdin=subprocess.PIPE)
        line = program.stdout.readline()
        assert line, program.communicate()[1]
        yield program
        _, stderr = program.communicate("\n", 60)
        assert program.returncode == 0, stderr

    def ask(self, *arguments: object) -> subprocess.Popen[str]:
        """`tach status`, begun."""
        command = [sys.executable, "-m", "tach", "status", *map(str, arguments)]
        return self._processes.start(command, env=self._environment, cwd=self.directory)

    def status(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """`tach status`, ended."""
        process = self.ask(*arguments)
        stdout, stderr = process.communicate(timeout=30)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def run(self, *arguments: object) -> Json:
        """What is said as JSON of the only run."""
        ended = self.status(*arguments, "--json")
        assert (ended.returncode, ended.stderr) == (0, "")
        told = json.loads(ended.stdout)
        assert told["version"] == 1
        (run,) = told["runs"]
        assert isinstance(run, dict)
        return run


@pytest.fixture
def shop(
    tmp_path: Path, spawn_tach: Spawn, processes: Processes, environment: dict[str, str]
) -> Shop:
    """Programs to ask about."""
    return Shop(tmp_path, spawn_tach, processes, environment)


@pytest.fixture
def report(tmp_path: Path, tach_run_dir: Path) -> Report:
    """What is reported in the end."""
    return Report(tmp_path / "report.jsonl", tach_run_dir)


CALLS = """
import shop
for _ in range(7): shop.buy()
for _ in range(3):
    with suppress(KeyError): shop.refund()
print("ready", flush=True)
sys.stdin.readline()
"""
TARGETS = {
    "buy": "shop:buy",
    "refund": "shop:refund",
    "later": "never_there.shop:buy",
    "typo": "shop:biy",
    "sign": "shop:SIGN",
}


def test_states_and_counts(shop: Shop, report: Report) -> None:
    """Each target with its state, the reason if it is not patched, and its exact counts."""
    with shop.open(report.config(**TARGETS), CALLS) as program:
        run = shop.run(program.pid)

    told = {each["name"]: each for each in run["targets"]}
    assert {name: each["state"] for name, each in told.items()} == {
        "buy": "patched",
        "refund": "patched",
        "later": "waiting",
        "typo": "missing",
        "sign": "refused",
    }
    assert told["later"]["reason"] == "module 'never_there.shop' has not been imported yet"
    assert told["typo"]["reason"] == "no 'biy' in module shop; did you mean 'buy'?"
    assert "of type builtins.str" in told["sign"]["reason"]
    keys = ("calls", "errors", "series", "overflowed")
    assert {name: tuple(each[key] for key in keys) for name, each in told.items()} == {
        "buy": (7, 0, 1, 0),
        "refund": (3, 3, 1, 0),
        "later": (0, 0, 0, 0),
        "typo": (0, 0, 0, 0),
        "sign": (0, 0, 0, 0),
    }
    lines = (shop.directory / "tach.yaml").read_text().splitlines()
    assert "shop:buy" in lines[told["buy"]["line"] - 1]
    assert told["buy"]["function"] == "shop:buy"
    assert (run["answered"], run["version"]) == (True, 1)


def test_text_of_one_run(shop: Shop, report: Report) -> None:
    """The tables hold a line for each target, notifier and process; reasons stand below them."""
    with shop.open(report.config(**TARGETS), CALLS) as program:
        ended = shop.status()

    assert (ended.returncode, ended.stderr) == (0, "")
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert ["buy", "patched", "7", "0", "1"] in lines
    assert ["refund", "patched", "3", "3", "1"] in lines
    assert ["later", "waiting", "for", "import", "0", "0", "0"] in lines
    assert ["report", "console", "0", "0", "0", "-", "-", "-"] in lines
    version = ".".join(map(str, sys.version_info[:3]))
    assert [str(program.pid), version] in [line[:2] for line in lines]
    assert "typo (shop:biy): missing: no 'biy' in module shop; did you mean 'buy'?" in ended.stdout
    assert all(line == line.rstrip() for line in ended.stdout.splitlines())


def test_processes_of_the_run(shop: Shop, report: Report) -> None:
    """Every living process with its own calls; those that have ended in one sum.

    Any of the processes names the run.
    """
    forks = """
import shop
shop.buy()
if os.fork() == 0:
    for _ in range(30): shop.buy()
    os._exit(0)
os.wait()
for calls in (4, 5):
    ready, done = os.pipe()
    if os.fork() == 0:
        for _ in range(calls): shop.buy()
        os.write(done, b"x")
        sys.stdin.readline()
        os._exit(0)
    os.read(ready, 1)
print("ready", flush=True)
os.wait(); os.wait()
"""
    with shop.open(report.config(buy="shop:buy"), forks) as program:
        before = time.time()
        run = shop.run()
        children = [each["pid"] for each in run["processes"][1:]]
        for child in children:
            assert shop.run(child)["pid"] == program.pid

    first = run["processes"][0]
    assert (first["pid"], first["calls"]) == (program.pid, 1)
    assert [each["calls"] for each in run["processes"][1:]] == [4, 5]
    assert {each["parent"] for each in run["processes"][1:]} == {program.pid}
    assert run["ended"] == {"processes": 1, "calls": 30}
    assert run["targets"][0]["calls"] == 40
    for each in run["processes"]:
        assert each["python"] == ".".join(map(str, sys.version_info[:3]))
        assert each["program"].startswith(f"{sys.executable} {shop.directory}/program.py")
        assert before - 60 < each["since"] <= before


def test_a_receiver_that_is_not_there(shop: Shop) -> None:
    """A notifier that cannot send: its last error, that nothing was sent, and what waits."""
    (port,) = free_ports(1)
    config = {
        "interval": "100ms",
        "notifiers": {"far": {"type": "statsd", "port": port, "transport": "tcp"}},
        "targets": {"buy": "shop:buy"},
    }
    with shop.open(config, CALLS):
        wait_for(lambda: shop.run()["notifiers"][0]["last_error"], message="the first failure")
        (told,) = shop.run()["notifiers"]
        text = shop.status().stdout

    error = told.pop("last_error")
    assert "ConnectionRefusedError" in error["text"]
    assert time.time() - 60 < error["time"] <= time.time()
    assert told == {
        "name": "far",
        "type": "statsd",
        "usable": True,
        "sent": 0,
        "dropped": 0,
        "queued": 1,
        "events": None,
        "last_success": None,
    }
    assert "notifier far: last error" in text
    assert "ago: ConnectionRefusedError" in text


def test_a_receiver_that_is_there(shop: Shop, statsd_daemon: Any) -> None:
    """A notifier that sends: how many samples, and when it last could; no error."""
    config = {
        "interval": "100ms",
        "notifiers": {"near": {"type": "statsd", "port": statsd_daemon.port}},
        "targets": {"buy": {"function": "shop:buy", "metrics": ["count"]}},
    }
    with shop.open(config, CALLS):
        wait_for(lambda: shop.run()["notifiers"][0]["sent"], message="the first sample")
        (told,) = shop.run()["notifiers"]

    assert (told["sent"], told["dropped"], told["queued"]) == (1, 0, 0)
    assert time.time() - 60 < told["last_success"] <= time.time()
    assert told["last_error"] is None


def test_events_that_wait(shop: Shop, tmp_path: Path) -> None:
    """A notifier of events with no broker: the bytes of its spool, and why they wait there."""
    pytest.importorskip("amqp")
    (port,) = free_ports(1)
    url = f"amqp://guest:guest@{HOST}:{port}//"
    config = {
        "spool": {"directory": str(tmp_path / "spool")},
        "notifiers": {"bus": {"type": "amqp", "url": url, "exchange": "shop"}},
        "targets": {"buy": {"function": "shop:buy", "metrics": ["events"]}},
    }
    with shop.open(config, CALLS):
        size = sum(file.stat().st_size for file in (tmp_path / "spool").rglob("*.spool"))
        wait_for(lambda: shop.run()["notifiers"][0]["last_error"], message="the first failure")
        wait_for(lambda: shop.run()["notifiers"][0]["events"]["spooled"] == size)
        (told,) = shop.run()["notifiers"]

    assert size > 0
    assert told["events"] == {"delivered": 0, "dropped": 0, "spooled": size}
    assert told["last_success"] is None
    assert "refused" in told["last_error"]["text"]


def test_events_that_arrive(shop: Shop, tmp_path: Path) -> None:
    """A notifier that takes events: how many were delivered, and that none waits."""
    config = {
        "spool": {"directory": str(tmp_path / "spool")},
        "notifiers": {"bus": {"type": "log", "file": str(tmp_path / "log")}},
        "targets": {"buy": {"function": "shop:buy", "metrics": ["events"]}},
    }
    with shop.open(config, CALLS):
        wanted = {"delivered": 14, "dropped": 0, "spooled": 0}
        wait_for(lambda: shop.run()["notifiers"][0]["events"] == wanted, message="14 events")
        (told,) = shop.run()["notifiers"]

    assert time.time() - 60 < told["last_success"] <= time.time()


PLUGIN = """
class Broken:
    def introduce(self, run): raise OSError("no such place")
    def send(self, batch): pass
    def close(self): pass
"""


def test_a_notifier_that_cannot_be_used(
    shop: Shop, tmp_path: Path, environment: dict[str, str]
) -> None:
    """A notifier that could not be started is there all the same, with the reason."""
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tach.notifiers]\nbroken = their_plugin:Broken\n")
    (tmp_path / "their_plugin.py").write_text(PLUGIN)
    environment["PYTHONPATH"] = str(tmp_path)
    config = {"notifiers": {"mine": {"type": "broken"}}, "targets": {"buy": "shop:buy"}}
    with shop.open(config, CALLS):
        (told,) = shop.run()["notifiers"]
        text = shop.status().stdout

    reason = "notifier mine cannot be used: OSError: no such place"
    assert told["usable"] is False
    assert told["last_error"] == {"text": reason, "time": None}
    assert f"\n{reason}\n" in text


def test_two_runs(shop: Shop, report: Report) -> None:
    """With more than one run a line for each; a pid chooses one of them."""
    config = report.config(**TARGETS)
    with shop.open(config, CALLS, "one") as one, shop.open(config, CALLS, "two") as two:
        overview = shop.status().stdout.splitlines()
        told = json.loads(shop.status("--json").stdout)["runs"]
        chosen = shop.run(two.pid)

    rows = [line.split() for line in overview[1:3]]
    numbers = ["1", "2", "of", "5", "10", "3", "0", "answers"]
    expected = {(str(one.pid), *numbers, "one"), (str(two.pid), *numbers, "two")}
    assert {tuple(row) for row in rows} == expected
    assert overview[3:] == ["tach status PID says more of one of them"]
    assert {each["pid"] for each in told} == {one.pid, two.pid}
    assert chosen["program"] == "two"


@contextmanager
def stopped_sender(run_dir: Path) -> Iterator[None]:
    """The sender and its guard do nothing."""
    wait_for(lambda: len(sender_pids(run_dir)) == 2)
    pids = sender_pids(run_dir)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_sender_that_does_not_answer(shop: Shop, report: Report, tach_run_dir: Path) -> None:
    """It is said in one line, soon, with the log to look into; what can be read is shown."""
    with shop.open(report.config(**TARGETS), CALLS) as program:
        shop.run()  # all that the program has to say is in the journal
        (directory,) = tach_run_dir.iterdir()
        with stopped_sender(tach_run_dir):
            began = time.monotonic()
            ended = shop.status(program.pid)
            took = time.monotonic() - began
            told = json.loads(shop.status("--json").stdout)["runs"]

    assert took < 6
    assert ended.returncode == 1
    assert ended.stderr == (
        f"tach: the sender of the run of process {program.pid} does not answer; "
        f"see {directory}/sender.log\n"
    )
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert ["buy", "patched", "-", "-", "-"] in lines
    assert "its sender does not answer" in ended.stdout
    assert "typo (shop:biy): missing: no 'biy' in module shop; did you mean 'buy'?" in ended.stdout
    (run,) = told
    assert (run["answered"], run["sender"], run["notifiers"]) == (False, None, [])
    assert [each["calls"] for each in run["processes"]] == [None]
    assert [each["calls"] for each in run["targets"]] == [None] * 5
    assert report.calls() == {"buy": 7, "refund": 3}


def test_no_run(shop: Shop, tach_run_dir: Path) -> None:
    """Where there is no run, that is said, with where it was looked for; exit status 1."""
    ended = shop.status()

    whose = "run" if os.geteuid() == 0 else "run of yours"
    assert ended.stderr == f"tach: no {whose} is going on; looked in {tach_run_dir}\n"
    assert (ended.returncode, ended.stdout) == (1, "")


def test_a_run_that_died_is_none(shop: Shop, tach_run_dir: Path) -> None:
    """What a dead run has left behind is not taken for a living one."""
    left = tach_run_dir / f"tach-{os.geteuid()}-1-0123abcd"
    left.mkdir()
    (left / "journal").write_text("process\t1\t1\t0\t3.11.7\tpython gone.py\n")
    (left / "sender.lock").touch()

    ended = shop.status()

    assert (ended.returncode, ended.stdout) == (1, "")
    assert "is going on" in ended.stderr


def test_an_unknown_process(shop: Shop, report: Report) -> None:
    """A pid of no run is said to be none, in one line, though another run lives."""
    with shop.open(report.config(buy="shop:buy"), CALLS):
        ended = shop.status(os.getpid())

    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"has a process {os.getpid()}; looked in" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["x"], ["-1"], ["1", "2"], ["--jsn"]])
def test_wrong_usage(shop: Shop, arguments: list[str]) -> None:
    """What is no pid or option is refused with exit status 2."""
    ended = shop.status(*arguments)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "tach status" in ended.stderr


def test_asking_under_load_loses_nothing(shop: Shop, report: Report, tach_run_dir: Path) -> None:
    """Asked 50 times, several at once, while four processes call: all calls are counted.

    The numbers only grow, each asker gets the answer, and nothing of the asking is left behind.
    """
    load = """
import shop
for _ in range(3):
    if os.fork() == 0: break
print("ready", flush=True)
for _ in range(100):
    for _ in range(500): shop.buy()
    time.sleep(0.02)
with suppress(ChildProcessError):
    while True: os.wait()
sys.stdin.readline()
"""
    with shop.open(report.config(buy="shop:buy"), load):
        (directory,) = tach_run_dir.iterdir()
        seen = []
        for _ in range(10):
            askers = [shop.ask("--json") for _ in range(5)]
            answers = [asker.communicate(timeout=30) for asker in askers]
            assert [stderr for _, stderr in answers] == [""] * 5
            calls = [json.loads(out)["runs"][0]["targets"][0]["calls"] for out, _ in answers]
            assert min(calls) >= max(seen, default=0)
            seen += calls
        left = [each.name for each in directory.iterdir() if each.name.startswith("status-")]

    assert len(seen) == 50
    assert left == []
    assert report.calls() == {"buy": 4 * 100 * 500}


def test_disabled_targets(tmp_path: Path) -> None:
    """Targets that the configuration has switched off are listed as disabled."""

    class WithDisabled(Plan):
        disabled = (("buy", "shop:buy", 3),)

    (tmp_path / "journal").touch()
    plan = WithDisabled("tach.yaml", "", 1.0, 1.0, (), ())

    status = without_sender(
        Run(str(tmp_path), 1, "shop", [], ""), plan, JournalReader(str(tmp_path), plan)
    )

    (told,) = status["targets"]
    assert (told["name"], told["function"], told["line"]) == ("buy", "shop:buy", 3)
    assert (told["state"], told["reason"]) == ("disabled", "")


def test_overflow_is_shown(shop: Shop, report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    """A target with more names than it may have says so, and how many calls went into `other`."""
    with shop.open(report.config(buy="shop:buy"), CALLS):
        run = shop.run()
    run["targets"][0].update(series=1001, overflowed=12)

    status_table.show_one(run)

    shown = capsys.readouterr().out
    assert ["buy", "patched,", "overflowed", "7", "0", "1001"] in map(str.split, shown.splitlines())
    assert "buy (shop:buy): 12 calls counted as other: it has too many series\n" in shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200000, "2 d")],
)
def test_age(seconds: float, shown: str) -> None:
    """A span of time is told in the largest unit of which there are at least two."""
    assert status_table.age(seconds) == shown
