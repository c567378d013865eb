from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from event_runs import EventRun, Message
from processes import marked, wait_for
from test_sender import sender_pids

MEMBERS = {
    "message_id",
    "_unique_id",
    "publisher_id",
    "event_type",
    "priority",
    "timestamp",
    "payload",
    "_context_request_id",
}


@pytest.fixture
def events(tmp_path: Path, tach_run_dir: Path) -> EventRun:
    """The events of this test's runs."""
    return EventRun(tmp_path, tach_run_dir)


def pairs(messages: list[Message]) -> dict[Any, list[str]]:
    """The event types of each call, by the number in its payload."""
    found: dict[Any, list[str]] = {}
    for each in messages:
        found.setdefault(each["payload"]["number"], []).append(each["event_type"])
    return found


def run(run_tach: Any, events: EventRun, text: str, config: Any = None, **more: Any) -> Any:
    """Run a program to its end under tach, and see to it that it does not notice."""
    done = run_tach(config or events.config(), events.program(text), **more)
    assert (done.returncode, done.stderr) == (0, "")
    return done


# How many, and what they hold


TEN_THOUSAND = """
import warnings
warnings.simplefilter("ignore")
import eventlet
eventlet.monkey_patch()
import calls

def one(number):
    try:
        calls.Worker().work(number, fail=number % 10 == 0, do=lambda: eventlet.sleep(0))
    except calls.Boom:
        return 1
    return 0

pool = eventlet.GreenPool(100)
print(sum(pool.imap(one, range(10000))))
"""


def test_ten_thousand_calls_of_an_eventlet_service_are_told_exactly(run_tach, events) -> None:
    """Each call has its .start and then its .end or .error, every id is unique, all are objects."""
    done = run(run_tach, events, TEN_THOUSAND, timeout=120)
    messages = events.messages()

    assert done.stdout == "1000\n"
    assert events.counts() == {"work.start": 10000, "work.end": 9000, "work.error": 1000}
    assert len({each["message_id"] for each in messages}) == 20000
    assert all(type(each["payload"]) is dict for each in messages)
    assert {each["priority"] for each in messages if each["event_type"] == "work.error"} == {
        "ERROR"
    }
    found = pairs(messages)
    for number in range(10000):
        assert found[number] == ["work.start", "work.error" if number % 10 == 0 else "work.end"]
    assert events.spooled() == []


def test_a_message_is_what_consumers_read(run_tach, events) -> None:
    """Exactly oslo's members; of an exception an object; the time in UTC with a blank."""
    text = """
worker = calls.Worker()
worker.work(1, None, do=lambda: "answer")
try:
    worker.work(number=2, fail=True)
except calls.Boom:
    pass
"""
    payload = {"number": "args.number", "host": "self.host", "answer": "result"}
    run(run_tach, events, text, events.config(payload, publisher_id="compute.{host}"))
    start, end, _, error = events.messages()

    for each in (start, end, error):
        assert set(each) == MEMBERS
        assert each["publisher_id"] == f"compute.{os.uname().nodename}"
        assert time.strptime(each["timestamp"], "%Y-%m-%d %H:%M:%S.%f")
        assert len(each["message_id"]) == 36
    assert start["payload"] == {"number": 1, "host": "here", "tach_version": 1}
    duration = end["payload"].pop("duration")
    assert 0 < duration < 1
    assert end["payload"] == {
        "number": 1,
        "host": "here",
        "answer": "answer",
        "started_at": start["timestamp"],
        "tach_version": 1,
    }
    assert error["payload"]["exception"] == {
        "class": "Boom",
        "module": "calls",
        "message": "call 2",
        "kwargs": {},
        "code": None,
    }
    assert [each["priority"] for each in (start, end, error)] == ["INFO", "INFO", "ERROR"]


EVERYWHERE = """
def call(number):
    calls.Worker().work(number)

threads = [threading.Thread(target=lambda n=n: [call(f"t{n}.{i}") for i in range(200)])
           for n in range(8)]
for each in threads: each.start()
for each in threads: each.join()

def handler(*_):
    call(f"s{next(numbers)}")
import itertools
numbers = itertools.count()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for i in range(2000):
    call(f"m{i}")
signal.setitimer(signal.ITIMER_REAL, 0)
handled = next(numbers)

children = []
for n in range(4):
    pid = os.fork()
    if pid == 0:
        for i in range(100):
            call(f"f{n}.{i}")
        os.kill(os.getpid(), signal.SIGKILL)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
print(handled)
"""


def test_events_of_threads_signal_handlers_and_forked_workers(run_tach, events) -> None:
    """Wherever a call happens, it is told once; a worker killed by SIGKILL loses none."""
    done = run(run_tach, events, EVERYWHERE, events.config(spool={"max_size": "4MiB"}))
    handled = int(done.stdout)
    found = pairs(events.messages())

    assert Counter(number[0] for number in found) == {"t": 1600, "m": 2000, "f": 400, "s": handled}
    assert handled > 20
    whole = ["work.start", "work.end"]
    assert {number: types for number, types in found.items() if types != whole} == {}


def test_a_fork_in_the_middle_of_a_call_makes_one_end(run_tach, events) -> None:
    """The child of the call returns from it too; the call is the parent's."""
    text = """
pid = calls.Worker().work(1, do=os.fork)
if pid == 0:
    calls.Worker().work(2)
else:
    os.waitpid(pid, 0)
"""
    run(run_tach, events, text)
    assert pairs(events.messages()) == {
        1: ["work.start", "work.end"],
        2: ["work.start", "work.end"],
    }


def test_recursion_to_the_limit_leaves_no_call_open(run_tach, events) -> None:
    """Where the program has no frames left, a call is told whole or not at all."""
    text = """
sys.setrecursionlimit(300)
def deeper():
    calls.Worker().work(1, do=deeper)
try:
    deeper()
except RecursionError:
    print("as without tach")
"""
    assert run(run_tach, events, text).stdout == "as without tach\n"
    counts = events.counts()
    assert counts["work.start"] == counts["work.error"] > 10
    assert [each for each in events.messages("error") if "unfinished" in each["payload"]] == []


# The request


REQUESTS = """
Context, worker = calls.Context, calls.Worker()
worker.work(1, Context("req-1", project_id="p", user_id="u", is_admin=True, roles=["x"]))
worker.work(2, context={"request_id": "req-2", "user": "me", "auth_token": "s3cret"})
calls.outer(3, lambda: worker.work(3))
calls.outer(4, lambda: worker.work(4, Context("req-4", global_request_id="req-g")))
worker.work(5)

class Slots:
    __slots__ = ("request_id", "project_id")
    user_id = "of the class"
slots = Slots()
slots.request_id = "req-6"
worker.work(6, slots)

class Lazy:
    def __getattr__(self, name): raise RuntimeError("evil")
class Computed:
    @property
    def request_id(self): raise RuntimeError("evil")
worker.work(7, Lazy())
worker.work(8, Computed())

import types
module = sys.modules["oslo_context.context"] = types.ModuleType("oslo_context.context")
module.get_current = lambda: Context("req-oslo", project_id="po")
worker.work(9)
worker.work(10, Context("req-10"))
"""


def test_calls_belong_to_requests(run_tach, events) -> None:
    """The id comes from the context argument, else oslo.context, else from the outermost call."""
    run(run_tach, events, REQUESTS)
    assert "s3cret" not in events.file.read_text()
    messages = events.messages()
    contexts: dict[Any, dict[str, Any]] = {}
    for each in messages:
        context = {key[9:]: value for key, value in each.items() if key.startswith("_context_")}
        number = each["payload"].get("number", "outer")
        if number != "outer":
            assert contexts.setdefault(number, context) == context

    assert contexts[1] == {
        "request_id": "req-1",
        "project_id": "p",
        "tenant": "p",
        "user_id": "u",
        "is_admin": True,
    }
    assert contexts[2] == {"request_id": "req-2", "user": "me"}
    assert contexts[4] == {"request_id": "req-4", "global_request_id": "req-g"}
    assert contexts[6] == {"request_id": "req-6", "user_id": "of the class"}
    assert contexts[9] == {"request_id": "req-oslo", "project_id": "po", "tenant": "po"}
    assert contexts[10] == {"request_id": "req-10"}
    made_up = [contexts[number]["request_id"] for number in (3, 5, 7, 8)]
    assert len(set(made_up)) == 4
    assert all(len(each) == 40 and each.startswith("req-") for each in made_up)
    first, second = [each for each in messages if each["event_type"] == "outer.start"]
    assert first["_context_request_id"] == contexts[3]["request_id"]
    assert second["_context_request_id"] not in made_up


# Arguments that are secret, large or hostile


HOSTILE = """
class Evil:
    def _fail(self, *args):
        time.sleep(1)
        raise RuntimeError("s3cret")
    __repr__ = __str__ = __getattr__ = __eq__ = __hash__ = __bool__ = __len__ = _fail
    @property
    def raising(self): raise ZeroDivisionError("s3cret")
    @property
    def unsayable(self):
        class Unsayable(Exception):
            def __str__(self): raise RuntimeError("s3cret")
        raise Unsayable

class Failure(Exception):
    def __init__(self): super().__init__(Evil())
    def __str__(self): time.sleep(1); return "s3cret"
    __repr__ = __str__

cycle = []
cycle.append(cycle)
big = "x" * 10_000_000
arguments = [big, cycle, float("nan"), float("inf"), b"\\xff", Evil(), 10 ** 5000,
             {"db": {"password": "s3cret"}, "token_id": "s3cret"}, [[["deep"] * 50] * 50] * 50]
began = time.monotonic()
for each in arguments:
    assert calls.Worker().work(each, password="s3cret", do=lambda: each) is each
failure = Failure()
def fail(): raise failure
try:
    calls.Worker().work(Evil(), do=fail)
except Failure as error:
    assert error is failure
assert time.monotonic() - began < 0.9
"""
HOSTILE_PAYLOAD = {
    "value": "args.number",
    "pw": "args.password",
    "raising": "args.number.raising",
    "unsayable": "args.number.unsayable",
    "pin_secret": "args.fail",
    "result": "result",
}


def test_hostile_and_secret_arguments_do_no_harm(run_tach, events) -> None:
    """Each message is valid, small and without the secret; the calls go as without tach."""
    run(run_tach, events, HOSTILE, events.config(HOSTILE_PAYLOAD))
    messages = events.messages()
    text = events.file.read_text()

    assert events.counts() == {"work.start": 10, "work.end": 9, "work.error": 1}
    assert "s3cret" not in text
    assert max(map(len, text.splitlines())) < 140_000
    assert {each["payload"]["pw"] for each in messages} == {"***"}
    assert {each["payload"]["pin_secret"] for each in messages} == {"***"}
    assert {each["payload"]["raising"] for each in messages} == {None}
    values = [each["payload"]["value"] for each in events.messages("start")]
    assert values[0] == "x" * 1024
    assert values[2:7] == [None, None, "\ufffd", "<__main__.Evil>", "<int>"]
    assert values[7] == {"db": {"password": "***"}, "token_id": "***"}
    (error,) = events.messages("error")
    assert error["payload"]["exception"]["message"] == "<__main__.Evil>"
    assert sorted(events.report.troubles()) == [
        "event work: raising of its payload is null: ZeroDivisionError",
        "event work: raising of its payload is null: no raising",
        "event work: unsayable of its payload is null: Unsayable",
        "event work: unsayable of its payload is null: no unsayable",
    ]


def test_a_missing_step_is_null_and_said_once(run_tach, events) -> None:
    """However many calls there are."""
    text = "for i in range(50): calls.Worker().work(i)"
    run(run_tach, events, text, events.config({"number": "args.number", "uuid": "args.fail.uuid"}))

    assert {each["payload"]["uuid"] for each in events.messages()} == {None}
    assert events.report.troubles() == ["event work: uuid of its payload is null: no uuid"]


def test_an_interrupted_property_reaches_the_program(run_tach, events) -> None:
    """What is no Exception is the program's own; the call has ended and is told."""
    text = """
class Stop(BaseException): pass
class Thing:
    @property
    def size(self): raise Stop
try:
    calls.Worker().work(1, do=Thing)
except Stop:
    print("stopped")
"""
    config = events.config({"number": "args.number", "size": "result.size"})
    assert run(run_tach, events, text, config).stdout == "stopped\n"
    assert pairs(events.messages()) == {1: ["work.start", "work.end"]}


# Deaths


def test_a_call_cut_short_by_sigkill_ends_with_an_error(run_tach, spawn_tach, events) -> None:
    """Its .start gets exactly one partner, which says that the process died."""
    text = "calls.Worker().work(1); calls.Worker().work(2, do=lambda: time.sleep(60))"
    process = spawn_tach(events.config(), events.program(text))
    wait_for(lambda: len(events.so_far()) == 3, message="the second start")
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert pairs(events.messages()) == {
        1: ["work.start", "work.end"],
        2: ["work.start", "work.error"],
    }
    (error,) = events.messages("error")
    start = events.messages("start")[1]
    assert error["priority"] == "ERROR"
    assert error["payload"]["unfinished"] is True
    assert error["payload"]["started_at"] == start["timestamp"]
    assert error["payload"]["exception"]["message"] == "the process died before the call ended"
    assert error["_context_request_id"] == start["_context_request_id"]
    assert events.spooled() == []


def test_a_call_that_execs_ends_when_its_process_does(run_tach, events) -> None:
    """The program that takes its place has calls of its own, in the same process."""
    (events.directory / "second.py").write_text("import calls\ncalls.Worker().work(2)\n")
    run(
        run_tach,
        events,
        "calls.Worker().work(1, do=lambda: os.execvp('python', ['python', 'second.py']))",
    )

    assert pairs(events.messages()) == {
        1: ["work.start", "work.error"],
        2: ["work.start", "work.end"],
    }


def kill_all(environment: dict[str, str]) -> None:
    """Kill the program and its sender, guard and all, at once."""
    mark = f"TACH_RUN_DIR={environment['TACH_RUN_DIR']}"
    for signal_ in (signal.SIGSTOP, signal.SIGKILL):
        for each in marked(mark):
            os.kill(each.pid, signal_)
    wait_for(lambda: not marked(mark), message="their death")


def test_the_next_run_delivers_what_an_earlier_one_left(
    run_tach, spawn_tach, events, environment, tach_run_dir
) -> None:
    """Program and sender killed together: every event arrives, repeated ones byte by byte."""
    text = """
calls.Worker().work("ready")
i = 0
while True:
    i += 1
    calls.Worker().work(i, do=lambda: print(i, flush=True))
"""
    process = spawn_tach(events.config(), events.program(text))
    wait_for(lambda: len(events.so_far()) > 500, message="some events")
    kill_all(environment)
    told = [int(line) for line in process.communicate()[0].split("\n")[:-1] if line.isdigit()]
    assert events.spooled()
    for left in tach_run_dir.iterdir():
        subprocess.run(["rm", "-rf", left], check=True)

    run(run_tach, events, "pass")
    messages = events.messages()
    texts: dict[str, set[str]] = {}
    for each in messages:
        texts.setdefault(each["message_id"], set()).add(json.dumps(each))
    assert all(len(each) == 1 for each in texts.values())
    unique = {each["message_id"]: each for each in messages}.values()
    found = pairs(list(unique))
    assert set(told) <= set(found)
    assert all(len(types) == 2 for types in found.values())
    assert sum(types[1] == "work.error" for types in found.values()) <= 1
    assert events.spooled() == []


def test_a_killed_sender_loses_and_repeats_nothing_else(
    spawn_tach, events, tach_run_dir, tmp_path
) -> None:
    """The sender dies three times while the program goes on: every event arrives."""
    end = tmp_path / "end"
    text = f"""
i = 0
while not os.path.exists({str(end)!r}):
    calls.Worker().work(i, do=lambda: time.sleep(0.0005))
    i += 1
print(i)
"""
    process = spawn_tach(events.config(), events.program(text))
    for number in range(1, 4):
        wait_for(lambda number=number: len(events.so_far()) > 1000 * number, timeout=60)
        wait_for(lambda: len(sender_pids(tach_run_dir)) == 2)
        os.kill(sender_pids(tach_run_dir)[-1], signal.SIGKILL)
    end.touch()
    calls = int(process.communicate()[0])

    assert process.returncode == 0
    unique = {each["message_id"]: each for each in events.messages()}.values()
    assert set(pairs(list(unique))) == set(range(calls))
    assert all(len(types) == 2 for types in pairs(list(unique)).values())


def test_two_runs_of_a_configuration_at_once_send_every_event_once(spawn_tach, events) -> None:
    """They share a spool, and one of them works on it at a time."""
    text = """
for i in range(500):
    calls.Worker().work(sys.argv[1] + str(i), do=lambda: time.sleep(0.001))
"""
    config, program = events.config(), events.program(text)
    both = [spawn_tach(config, program, name) for name in "ab"]
    for each in both:
        each.communicate()

    found = pairs(events.messages())
    assert len(found) == 1000
    assert all(types == ["work.start", "work.end"] for types in found.values())
    assert events.spooled() == []


# Spools that cannot be written


def fifty(events: EventRun) -> str:
    """A program of fifty calls that says whether all went well."""
    return "print(sum(calls.Worker().work(1) for i in range(50)))"


def test_a_spool_that_cannot_be_made_harms_nothing(run_tach, events) -> None:
    """One line in the report says where and why; everything else is measured."""
    events.spool.write_text("a file in its place")
    done = run(run_tach, events, fifty(events))

    assert done.stdout == "50\n"
    assert events.report.calls()["work"] == 50
    (trouble,) = [each for each in events.report.troubles() if each.startswith("spool ")]
    assert trouble.startswith(f"spool {events.spool}/")
    assert "events are lost: Not a directory" in trouble


def test_a_spool_that_is_removed_is_made_again_or_reported(run_tach, events) -> None:
    """A directory that goes away during the run does not harm the program."""
    text = f"""
import shutil
calls.Worker().work(1)
shutil.rmtree({str(events.spool)!r})
{fifty(events)}
"""
    assert run(run_tach, events, text).stdout == "50\n"
    (trouble,) = [each for each in events.report.troubles() if each.startswith("spool ")]
    assert "events are lost: No such file or directory" in trouble


def test_a_full_disk_harms_nothing(run_tach, events) -> None:
    """What is cut short is lost and reported once; the next file takes what comes then."""
    text = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
{fifty(events)}
"""
    assert run(run_tach, events, text).stdout == "50\n"
    delivered = events.messages()
    assert 94 <= len(delivered) < 100 + len(events.messages("error"))
    (trouble,) = [each for each in events.report.troubles() if each.startswith("spool ")]
    assert "events are lost: " in trouble


def test_fsync_always_writes_each_event_through(run_tach, events) -> None:
    """The configuration for billing works like any other."""
    run(run_tach, events, fifty(events), events.config(spool={"fsync": "always"}))
    assert events.counts() == {"work.start": 50, "work.end": 50}


def test_files_are_rotated_and_the_order_of_a_process_is_kept(run_tach, events) -> None:
    """With a small spool many files come and go; the order within the process stays."""
    text = "for i in range(2000): calls.Worker().work(i)"
    config = events.config(spool={"max_size": "64KiB"})
    config["notifiers"]["bus"]["file"] = str(events.file)
    run(run_tach, events, text, config)

    starts = [each["payload"]["number"] for each in events.messages("start")]
    assert starts == sorted(starts)
    assert events.spooled() == []
