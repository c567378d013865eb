"""How long calls run and how long they wait, in greenthreads, coroutines and threads."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from measuring import Measured, Measuring

# Not imported here: eventlet warns of every fork of a process that has it.
pytestmark = pytest.mark.skipif(
    not all(map(find_spec, ["eventlet", "gevent"])), reason="needs eventlet and gevent"
)

QUANTITIES = ["running", "waiting", "max_run", "yields", "cpu"]
METRICS = ["timing", "count", "exceptions", *QUANTITIES]
GREEN = ["eventlet", "eventlet_asyncio", "eventlet_patched", "gevent", "gevent_patched"]
COROUTINES = ["asyncio", "trio", "anyio"]
THREADS = ["threads", "tpool", "gevent_threadpool", "executor"]
QUIET = "import warnings; warnings.simplefilter('ignore')\n"  # eventlet says it is deprecated
# What a program may use under the one name `green`, whichever of the two it is.
IMPORTS = {
    "eventlet": f"""{QUIET}
import greenlet, eventlet as green, eventlet.hubs
from eventlet import Timeout, sleep, spawn
from eventlet.queue import Queue
""",
    "gevent": f"""{QUIET}
import greenlet, gevent as green
from gevent import Timeout, sleep, spawn
from gevent.queue import Queue
""",
}
WORK = """
import time
from greenwork import burn

def call(function, *args):
    return function(*args)

def other(function, *args):
    return function(*args)

def generator(numbers):
    for each in numbers:
        got = yield each

async def coroutine(function):
    return await function()
"""
both = pytest.mark.parametrize("library", IMPORTS)


@pytest.fixture
def measuring(run_tach, programs: Path, tmp_path: Path, tach_run_dir: Path) -> Measuring:
    """Runs programs that may import `work` and `greenwork`."""
    found = Measuring(run_tach, tmp_path, tach_run_dir)
    found.write(work=WORK, greenwork=(programs / "greenwork.py").read_text())
    return found


def target(function: str, metrics: list[str] | None = None) -> dict[str, Any]:
    """A target with every metric of this sort."""
    return {"function": function, "metrics": metrics or METRICS}


def run(measuring: Measuring, library: str, program: str, **targets: str) -> Measured:
    """Measure a program that uses eventlet or gevent; without targets `work:call` as `call`."""
    wanted = {name: target(each) for name, each in (targets or {"call": "work:call"}).items()}
    text = f"{IMPORTS[library]}\nimport gc, os, sys, time, work\nfrom work import burn\n{program}"
    measured = measuring.run(text, wanted)
    assert measured.troubles == []
    return measured


def bare(measuring: Measuring) -> str:
    """What the last program prints without tach."""
    command = [sys.executable, measuring.directory / "program.py"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def sums(line: dict[str, Any]) -> dict[str, float]:
    """The sum of each quantity of a series, in milliseconds."""
    return {"wall": line["total_ms"]} | {name: line[name]["sum"] for name in QUANTITIES}


def near(milliseconds: float) -> Any:
    """Equal within 5 %, or 20 ms: somebody else may have had the processor between two clocks."""
    return pytest.approx(milliseconds, rel=0.05, abs=20)


# What running and waiting mean


def fourfold(measuring: Measuring, programs: Path, runtime: str) -> tuple[Any, Any]:
    """What tach and the program itself measure of four times `greenwork.work` at once."""
    function = "work_async" if runtime in COROUTINES else "work"
    program = (programs / "fourfold.py").read_text().replace("sys.argv[1]", repr(runtime))
    measured = measuring.run(program, {"work": target(f"greenwork:{function}")})
    assert measured.calls == {"work": 4}
    return measured.series["work"], json.loads(measured.stdout)


@pytest.mark.parametrize("runtime", [*GREEN, "hub_in_a_thread", *COROUTINES])
def test_four_that_burn_sleep_and_burn(measuring, programs: Path, runtime: str) -> None:
    """Running and waiting are what the work itself measures; the processor's time is burnt once."""
    if runtime in COROUTINES and not find_spec(runtime):
        pytest.skip(f"needs {runtime}")

    line, own = fourfold(measuring, programs, runtime)
    found = sums(line)

    assert found["running"] == near(own["running"])
    assert found["waiting"] == near(own["waiting"])
    assert found["wall"] == pytest.approx(found["running"] + found["waiting"], abs=0.01)
    assert found["cpu"] == near(400)
    assert found["running"] >= 400
    assert found["waiting"] >= 4 * 145  # 100 of sleep, and 50 until the others have burnt theirs
    assert line["yields"] == {**line["yields"], "count": 4, "mean": 1, "max": 1}
    assert 50 <= line["max_run"]["mean"] < line["running"]["mean"]


@pytest.mark.parametrize("runtime", THREADS)
def test_threads_run_all_the_time(measuring, programs: Path, runtime: str) -> None:
    """What a thread waits for nobody can tell from running; the processor's time is its own."""
    line, own = fourfold(measuring, programs, runtime)
    found = sums(line)

    assert found["running"] == found["max_run"] == found["wall"]
    assert found["waiting"] == found["yields"] == 0
    assert found["wall"] == near(own["running"] + own["waiting"])
    assert found["cpu"] == near(400)


@both
def test_nested_calls_have_each_their_own(measuring, library: str) -> None:
    """A call's times are those of all in it, whether measured or not, and of a recursion too."""
    program = """
import greenwork
threads = [spawn(greenwork.outer, sleep) for _ in range(3)]
for each in threads: each.wait() if hasattr(each, "wait") else each.get()
import json; print(json.dumps(greenwork.measured))
"""
    measured = run(measuring, library, program, outer="greenwork:outer", work="greenwork:work")
    outer, inner = (sums(measured.series[name]) for name in ("outer", "work"))
    own = json.loads(measured.stdout)

    assert measured.calls == {"outer": 9, "work": 3}
    assert inner["running"] == near(own["running"])
    assert inner["waiting"] == near(own["waiting"])
    # Three levels around each `work`, which burn 10 + 20 + 30 more, and yield 1 + 2 + 3 times.
    assert outer["cpu"] == near(3 * (inner["cpu"] + 3 * 60 / 3))
    assert outer["waiting"] >= 3 * inner["waiting"] + 3 * (20 + 40 + 60) - 5
    assert (inner["yields"], outer["yields"]) == (3, 3 * (2 + 3 + 4))
    assert outer["max_run"] >= inner["max_run"]


@both
def test_the_longest_stretch(measuring, library: str) -> None:
    """`max_run` is the longest time between two yields, from the call's start and to its end."""
    program = """
mark = time.monotonic
def stretches():
    marks.append(mark())
    for each in (20, 60, 30):
        burn(each)
        left = mark(); sleep(0); runs.append((left, mark()))
    burn(10)
    marks.append(mark())
def around():
    marks.append(mark())
    burn(30)
    work.other(stretches)
    burn(70)
    marks.append(mark())
runs, marks = [], []
thread = spawn(work.call, around)
thread.wait() if hasattr(thread, "wait") else thread.join()
outer, inner, inner_end, outer_end = marks
for began, ended in ((outer, outer_end), (inner, inner_end)):
    starts, ends = [began, *(back for _, back in runs)], [*(left for left, _ in runs), ended]
    print(max(end - start for start, end in zip(starts, ends)) * 1000)
"""
    measured = run(measuring, library, program, call="work:call", other="work:other")
    longest = [float(line) for line in measured.stdout.splitlines()]

    assert longest[0] > 79
    assert measured.series["call"]["max_run"]["max"] == near(longest[0])
    assert measured.series["other"]["max_run"]["max"] == near(longest[1])
    assert [measured.series[name]["yields"]["max"] for name in ("call", "other")] == [3, 3]


@both
def test_waiting_for_each_other(measuring, library: str) -> None:
    """Queues, semaphores, events and other greenthreads: whatever one waits for is waiting."""
    program = """
from KIND import *
event, semaphore, queue = Event(), Semaphore(0), Queue()
def wait():
    event.wait()
    semaphore.acquire()
    queue.get()
    return 5
def signal():
    sleep(0.05)
    event.send(1) if hasattr(event, "send") else event.set()
    sleep(0.05)
    semaphore.release()
    sleep(0.05)
    queue.put(1)
def join(thread):
    return thread.wait() if hasattr(thread, "wait") else thread.get()
waiter = spawn(work.call, wait)
spawn(signal)
print(work.other(join, waiter))
"""
    event = "from eventlet.event import Event; from eventlet.semaphore import Semaphore"
    if library == "gevent":
        event = "from gevent.event import Event; from gevent.lock import Semaphore"
    program = program.replace("from KIND import *", event)
    measured = run(measuring, library, program, call="work:call", other="work:other")

    assert measured.stdout == "5\n"
    for name, yields in (("call", 3), ("other", 1)):
        line = measured.series[name]
        assert line["waiting"]["max"] >= 100  # gevent's timers are early by what ran before
        assert line["running"]["max"] < line["total_ms"] / 2
        assert line["yields"]["max"] == yields


# Greenthreads that end otherwise


@both
def test_killed_greenthreads(measuring, library: str) -> None:
    """Killed before its start it makes no call; in mid-sleep the call is cancelled at that time."""
    program = """
never, soon = spawn(work.call, sleep, 60), None
never.kill()
soon = spawn(work.call, sleep, 60)
sleep(0.1)
soon.kill()
sleep(0)
print(never.dead, soon.dead)
"""
    measured = run(measuring, library, program)
    line = measured.series["call"]

    assert measured.stdout == "True True\n"
    assert (line["calls"], line["cancelled"], line["errors"]) == (1, 1, 0)
    assert line["waiting"]["sum"] == pytest.approx(line["total_ms"], abs=20)
    assert 40 < line["waiting"]["sum"] < 5000


@both
def test_a_timeout_fires_as_it_does_bare(measuring, library: str) -> None:
    """Timeout(0.2) around a call ends it with that very timeout; its waiting is as long."""
    program = """
import traceback
def catch():
    began = time.monotonic()
    try:
        with Timeout(0.2) as timeout:
            work.call(sleep, 60)
    except Timeout as caught:
        frames = traceback.extract_tb(caught.__traceback__)
        print(sum(frame.filename.endswith("tach/agent/green.py") for frame in frames) <= 1)
        took = time.monotonic() - began
        print(caught is timeout, str(caught), 0.1 <= took < 2)
    with Timeout(0.2, False):
        work.call(sleep, 60)
    print("silently")
t = spawn(catch)
t.wait() if hasattr(t, "wait") else t.get()
"""
    measured = run(measuring, library, program)
    line = measured.series["call"]

    assert measured.stdout == bare(measuring)
    assert (line["calls"], line["errors_by_type"]) == (2, {"Timeout": 2})
    assert line["waiting"]["sum"] == pytest.approx(line["total_ms"], abs=20)
    assert line["waiting"]["sum"] >= 300  # gevent's timers count from when the loop last looked


@both
def test_calls_that_never_end(measuring, library: str) -> None:
    """Who still sleeps when the program ends has made no call that ended, and hinders nobody."""
    program = """
spawn(work.call, sleep, 60)
spawn(work.other, work.call, sleep, 60)
work.other(sleep, 0.05)
"""
    measured = run(measuring, library, program, call="work:call", other="work:other")

    assert measured.calls == {"call": 0, "other": 1} or measured.calls == {"other": 1}


@both
def test_a_greenlet_that_is_dropped_goes_at_once(measuring, library: str) -> None:
    """Nobody holds a greenlet for being measured: dropped in mid-call it unwinds there and then."""
    program = """
import weakref
def body():
    try:
        greenlet.getcurrent().parent.switch()
    finally:
        print("unwound")
gc.disable()
for _ in range(3):
    thread = greenlet.greenlet(lambda: work.call(body))
    thread.switch()
    known = weakref.ref(thread)
    del thread
    print(known())
"""
    measured = run(measuring, library, program)

    assert measured.stdout == "unwound\nNone\n" * 3 == bare(measuring)
    assert (measured.series["call"]["calls"], measured.series["call"]["cancelled"]) == (3, 3)


@both
def test_many_short_greenthreads(measuring, library: str) -> None:
    """100,000 of them, which reuse each other's ids: memory stays, no times of one in another."""
    program = """
import resource
from tach.agent import green as ours
def memory():
    gc.collect()
    with open("/proc/self/statm") as file: return int(file.read().split()[1]) * 4096
ids = set()
def nap(): ids.add(id(greenlet.getcurrent())); sleep(0)
def batch():
    for _ in range(100):
        threads = [spawn(work.call, nap) for _ in range(100)]
        for each in threads: each.wait() if hasattr(each, "wait") else each.join()
batch()
before = memory()
for _ in range(9): batch()
print(memory() - before < 1 << 20, len(ids) < 50_000)
left = [each for each in gc.get_objects() if isinstance(each, greenlet.greenlet)]
print(any("tach" in name for each in left for name in vars(each)), ours.watched())
"""
    measured = run(measuring, library, program)
    line = measured.series["call"]

    assert measured.stdout == "True True\nFalse 0\n"
    assert (line["calls"], line["yields"]["max"], line["yields"]["sum"]) == (100_000, 1, 100_000)
    assert line["waiting"]["sum"] < line["total_ms"]


@both
def test_a_fork_in_a_greenthread(measuring, library: str) -> None:
    """The call around it is the parent's to count; the child's calls are measured from anew."""
    program = """
def fork():
    sleep(0.01)
    pid = os.fork()
    if pid == 0:
        print(ours.watched())
        work.other(sleep, 0.05)
    else:
        os.waitpid(pid, 0)
    sleep(0.01)
    return pid
def main():
    if work.call(fork) == 0:
        sys.stdout.flush()
        os._exit(0)
from tach.agent import green as ours
t = spawn(main)
t.wait() if hasattr(t, "wait") else t.join()
"""
    if library == "gevent":
        program = program.replace("os.waitpid", "green.os.waitpid").replace(
            "os.fork()", "green.os.fork_and_watch()"
        )
        program = f"import gevent.os\n{program}"
    measured = run(measuring, library, program, call="work:call", other="work:other")

    assert measured.calls == {"call": 1, "other": 1}
    assert measured.stdout == "0\n"
    assert measured.series["other"]["waiting"]["sum"] >= 49
    assert measured.series["call"]["waiting"]["sum"] >= 19


def test_events_tell_it_too(measuring) -> None:
    """The `.end` of a call says how long it ran and waited, in seconds, when that is measured."""
    config = measuring.config({"call": target("work:call", ["running", "events"])})
    config["notifiers"]["bus"] = {"type": "log", "file": str(measuring.directory / "events.log")}
    config["spool"] = {"directory": str(measuring.directory / "spool")}
    measuring.write(program=f"{IMPORTS['eventlet']}\nimport work\nwork.call(sleep, 0.1)")
    done = measuring._run_tach(config, sys.executable, measuring.directory / "program.py")
    assert done.returncode == 0, done.stderr
    measuring.report.lines()
    lines = (measuring.directory / "events.log").read_text().splitlines()
    messages = [json.loads(line[line.index("{") :]) for line in lines if ".end" in line]
    payload = messages[0]["payload"]

    assert payload["waiting"] >= 0.099
    assert payload["duration"] == pytest.approx(payload["running"] + payload["waiting"])


# Generators and coroutines


@both
def test_generators_in_greenthreads(measuring, library: str) -> None:
    """A generator waits while its consumer has its turn, and when a step of it is switched out."""
    program = """
def numbers():
    for each in range(3):
        sleep(0.02)
        yield each
def consume():
    for each in work.generator(numbers()):
        burn(20)
t = spawn(consume)
t.wait() if hasattr(t, "wait") else t.join()
from tach.agent import green as ours
print(ours.watched())
"""
    measured = run(measuring, library, program, generator="work:generator")
    line = measured.series["generator"]

    assert measured.stdout == "0\n"
    assert line["yields"]["max"] == 6
    assert line["waiting"]["max"] >= 3 * 20 + 3 * 19
    assert line["running"]["max"] < 30
    assert line["cpu"]["max"] < 10


def test_a_generator_that_is_closed(measuring) -> None:
    """It has paused as often as it has yielded; what it does in the end is running."""
    measuring.write(
        cleaning="""
from greenwork import burn
def generator():
    try:
        yield 1
        yield 2
    finally:
        burn(50)
"""
    )
    program = """
import cleaning, time
for close in (True, False):
    found = cleaning.generator()
    next(found), next(found)
    time.sleep(0.05)
    began = time.monotonic()
    if close: found.close(); print((time.monotonic() - began) * 1000)
    found = None
"""
    measured = measuring.run(program, {"g": target("cleaning:generator")})
    line = measured.series["g"]

    assert (line["calls"], line["cancelled"]) == (2, 2)
    assert line["yields"] == {**line["yields"], "mean": 2, "max": 2}
    assert line["running"]["max"] == near(float(measured.stdout))
    assert line["cpu"]["max"] == near(50)
    assert line["waiting"]["sum"] >= 99


def test_a_generator_that_goes_on_in_another_thread(measuring) -> None:
    """Its steps are added up, whichever thread they run in; `cpu` is that of each step's thread."""
    program = """
import threading, work
from greenwork import burn
def numbers():
    for each in range(4):
        burn(20)
        yield each
found = work.generator(numbers())
for _ in range(5):
    thread = threading.Thread(target=next, args=(found, None))
    thread.start(); thread.join()
"""
    measured = measuring.run(program, {"g": target("work:generator")})
    line = measured.series["g"]

    assert line["cpu"]["sum"] == near(80)
    assert (line["calls"], line["yields"]["sum"]) == (1, 4)


def test_coroutines_within_coroutines(measuring) -> None:
    """Each has its own times: of the steps, those of the inner ones are part of the outer's."""
    program = """
import asyncio, work
from greenwork import burn
async def inner():
    burn(20)
    await asyncio.sleep(0.05)
async def outer():
    burn(30)
    await asyncio.sleep(0)
    await work.coroutine(inner)
async def main():
    await asyncio.gather(*[work.coroutine(outer) for _ in range(2)])
asyncio.run(main())
"""
    measured = measuring.run(program, {"c": target("work:coroutine")})
    line = measured.series["c"]

    assert line["calls"] == 4
    assert line["cpu"]["sum"] == near(2 * (50 + 20))
    assert line["yields"]["sum"] == 2 * (2 + 1)
    assert line["waiting"]["sum"] >= 4 * 49


def test_greenlets_without_a_hub_run_all_the_time(measuring) -> None:
    """As SQLAlchemy has them under asyncio: what switches to a loop is not told from running."""
    program = """
import asyncio, greenlet, work
from greenwork import burn
async def spawn(function):
    def body(): return work.call(function)
    thread = greenlet.greenlet(body)
    found = thread.switch()
    while not thread.dead:
        found = thread.switch(await found)
    return found
def await_only(awaitable):
    return greenlet.getcurrent().parent.switch(awaitable)
def sync():
    burn(20)
    await_only(asyncio.sleep(0.1))
    return 7
async def main():
    print(await asyncio.gather(spawn(sync), spawn(sync)), greenlet.gettrace())
asyncio.run(main())
"""
    measured = measuring.run(program, {"call": target("work:call")})
    line = measured.series["call"]

    assert measured.stdout == "[7, 7] None\n"
    assert line["running"]["sum"] == pytest.approx(line["total_ms"])
    assert line["waiting"]["sum"] == 0
    assert line["total_ms"] >= 200


# Tracers: nobody's is displaced

TRACE = """
import greenlet
seen = []
def tracer(event, args):
    seen.append((event, [sys_name(each) for each in args]))
def sys_name(each):
    return names.get(id(each), "other")
names = {id(greenlet.getcurrent()): "main"}
def switch():
    def body():
        greenlet.getcurrent().parent.switch()
    thread = greenlet.greenlet(body)
    names[id(thread)] = "thread"
    thread.switch(); thread.switch()
"""


@both
@pytest.mark.parametrize("when", ["before", "after", "both", "toggled"])
def test_a_tracer_of_the_program_is_called_as_bare(measuring, library: str, when: str) -> None:
    """Installed before a call or after it, taken away and put back: it sees each switch once."""
    steps = {
        "before": "greenlet.settrace(tracer); work.call(switch)",
        "after": "work.call(switch); greenlet.settrace(tracer); work.call(switch); switch()",
        "both": "greenlet.settrace(tracer); work.call(switch); old = greenlet.settrace(None);"
        "work.call(switch); greenlet.settrace(tracer); switch(); work.call(switch)",
        "toggled": "for _ in range(3):\n    old = greenlet.settrace(tracer); work.call(switch);"
        "greenlet.settrace(old); work.call(switch)",
    }
    program = f"{TRACE}\n{steps[when]}\nprint(seen, greenlet.gettrace() is tracer)"
    measured = run(measuring, library, program)

    assert measured.stdout == bare(measuring)
    assert "main" in measured.stdout


def test_a_tracer_that_chains_ours(measuring) -> None:
    """One that calls its predecessor, unless that is itself, never meets one of ours."""
    program = f"""{TRACE}
class Chaining:
    def __init__(self): self.calls, self.previous = 0, None
    def install(self):
        if greenlet.gettrace() is not self: self.previous = greenlet.settrace(self)
    def __call__(self, event, args):
        self.calls += 1
        if self.previous is not None and self.previous is not self: self.previous(event, args)
chaining = Chaining()
for _ in range(3):
    chaining.install()
    work.call(switch)
print(chaining.calls)
thread = spawn(work.call, sleep, 0.05)
thread.join()
"""
    measured = run(measuring, "gevent", program)

    assert measured.stdout == bare(measuring) == "12\n"
    assert measured.series["call"]["waiting"]["sum"] >= 49
    assert measured.series["call"]["yields"]["sum"] == 1


def test_a_tracer_that_raises(measuring) -> None:
    """Its exception goes where it goes bare, and greenlet takes it away as it does bare."""
    program = """
def tracer(event, args):
    seen.append(event)
    raise KeyError(event)
seen = []
greenlet.settrace(tracer)
def body():
    return 5
try:
    print(work.call(lambda: greenlet.greenlet(body).switch()))
except KeyError as error:
    print(error)
print(seen, work.call(lambda: greenlet.greenlet(body).switch()))
"""
    measured = run(measuring, "gevent", program)

    assert measured.stdout == bare(measuring)


def test_gevents_monitor_thread(measuring) -> None:
    """It goes on seeing who blocks the hub, and tach what yields."""
    program = """
import gevent.events, io
green.config.monitor_thread = True
green.config.max_blocking_time = 0.05
blocked = []
gevent.events.subscribers.append(
    lambda event: blocked.append(type(event).__name__) if "Blocked" in type(event).__name__ else 0)
stream = io.StringIO()
green.get_hub().exception_stream = stream
hub, monitor = green.get_hub(), None
for _ in range(20):  # now and then its thread ends at once, without tach as well
    if monitor is not None: break
    monitor = hub.start_periodic_monitoring_thread()
    time.sleep(0.1)
    if monitor.monitor_thread_ident not in sys._current_frames():
        monitor.kill()
        monitor = hub.periodic_monitoring_thread = None
if monitor is None:
    print("no monitor")
    raise SystemExit
def hog():
    sleep(0.05)
    end = time.monotonic() + 10
    while time.monotonic() < end and not blocked: pass
    sleep(0.05)
thread = spawn(work.call, hog)
thread.join()
print(bool(blocked))
"""
    measured = run(measuring, "gevent", program)

    if measured.stdout == "no monitor\n":
        pytest.skip("gevent's monitor thread does not stay")
    assert measured.stdout == "True\n"
    assert measured.series["call"]["yields"]["sum"] == 2
    assert measured.series["call"]["waiting"]["sum"] >= 99


def test_the_tracers_of_other_threads(measuring) -> None:
    """A hub of another thread is seen as well, and that thread's own tracer stays."""
    program = """
import threading
seen = []
def tracer(event, args): seen.append(event)
def body():
    greenlet.settrace(tracer)
    spawn(work.call, sleep, 0.05).join()
    print(bool(seen))
thread = threading.Thread(target=body)
thread.start(); thread.join()
spawn(work.call, sleep, 0.05).join()
"""
    measured = run(measuring, "gevent", program)
    line = measured.series["call"]

    assert measured.stdout == "True\n"
    assert (line["calls"], line["yields"]["sum"]) == (2, 2)
    assert line["waiting"]["sum"] >= 99


@both
def test_uninstall_takes_it_all_back(measuring, library: str) -> None:
    """The hub's switch is the original again, also while calls of other threads are inside."""
    program = """
import threading, tach
import gevent.hub, eventlet.hubs.hub
hubs = [eventlet.hubs.hub.BaseHub, gevent.hub.Hub]
ours = [each.switch for each in hubs]
work.call(sleep, 0.01)
gate = threading.Event()
def body():
    work.call(lambda: (sleep(0.01), gate.wait(), sleep(0.01)))
other = threading.Thread(target=body)
other.start()
time.sleep(0.1)
tach.uninstall()
print([each.switch is mine.__wrapped__ for each, mine in zip(hubs, ours)])
print("switch" in vars(hubs[1]), greenlet.gettrace())
gate.set()
other.join()
work.call(sleep, 0.01)
from tach.agent import green as module
print(module.watched(), len(module._wrapped))
"""
    measured = run(measuring, library, program)

    assert measured.stdout == "[True, True]\nFalse None\n0 0\n"
    assert measured.calls == {"call": 2}


# Costs nothing, shows nothing


def test_nothing_of_it_in_other_programs(measuring) -> None:
    """Where no greenthreads are: no greenlet, no gevent, no eventlet gets imported."""
    program = """
import sys, work
work.call(int)
for each in work.generator([1]): pass
print([name for name in ("greenlet", "eventlet", "gevent", "asyncio") if name in sys.modules])
"""
    targets = {"call": target("work:call"), "generator": target("work:generator")}
    measured = measuring.run(program, targets)

    assert measured.stdout == "[]\n"
    assert measured.calls == {"call": 1, "generator": 1}


@both
def test_nothing_of_it_for_other_targets(measuring, library: str) -> None:
    """Where no target asks for it the hub is the original one, and nothing is traced."""
    program = f"""{IMPORTS[library]}
import sys, types, work
import eventlet.hubs.hub
work.call(sleep, 0.01)
thread = spawn(work.call, sleep, 0.01)
thread.wait() if hasattr(thread, "wait") else thread.get()
print(greenlet.gettrace(), "tach.agent.green" in sys.modules)
print(eventlet.hubs.hub.BaseHub.switch.__code__.co_filename.endswith("eventlet/hubs/hub.py"))
import gevent.hub
print("switch" in vars(gevent.hub.Hub))
"""
    wanted = {"call": target("work:call", ["timing", "count", "inflight"])}
    measured = measuring.run(QUIET + program, wanted)

    assert measured.stdout == "None False\nTrue\nFalse\n"
    assert measured.calls == {"call": 2}


def test_eventlets_switch_looks_as_it_did(measuring) -> None:
    """Signature, names, documentation and source of it are the original's."""
    program = f"""{IMPORTS["eventlet"]}
import inspect, pydoc, work
from eventlet.hubs.hub import BaseHub
for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
    print(name, getattr(BaseHub.switch, name))
print(inspect.signature(BaseHub.switch), inspect.signature(eventlet.hubs.get_hub().switch))
print(inspect.getsource(BaseHub.switch))
print(inspect.isfunction(BaseHub.switch), pydoc.plain(pydoc.render_doc(BaseHub.switch)))
""".replace("import greenlet, ", "import greenlet, eventlet, ")
    measured = measuring.run(program, {"call": target("work:call")})

    assert measured.stdout == bare(measuring)


def test_gevents_switch_looks_as_it_did(measuring) -> None:
    """Signature, names and documentation of it are the original's, though not its type."""
    program = f"""{IMPORTS["gevent"]}
import gevent.hub, inspect, work
hub = gevent.hub.Hub
for name in ("__name__", "__qualname__", "__module__", "__doc__"):
    print(name, getattr(hub.switch, name))
print(inspect.signature(hub.switch), inspect.signature(gevent.get_hub().switch))
print(inspect.getdoc(hub.switch))
"""
    measured = measuring.run(program, {"call": target("work:call")})

    assert measured.stdout == bare(measuring)


@pytest.mark.parametrize("order", ["early", "late"])
def test_installed_before_or_after_eventlet(measuring, order: str) -> None:
    """tach.install() measures a program whose hub is there already, and one whose comes later."""
    config = json.dumps(measuring.config({"call": target("work:call")}))
    measuring.write(program="")
    (measuring.directory / "own.yaml").write_text(config)
    steps = [IMPORTS["eventlet"], "import tach; tach.install('own.yaml')"]
    program = "\n".join(steps if order == "early" else reversed(steps))
    program += "\nimport work\nspawn(work.call, sleep, 0.05).wait()\n"
    (measuring.directory / "program.py").write_text(QUIET + program)
    subprocess.run(
        [sys.executable, "program.py"], cwd=measuring.directory, check=True, env=measuring_env()
    )
    lines = [line for line in measuring.report.lines() if line.get("series") == "call"]

    assert lines[-1]["waiting"]["sum"] >= 49
    assert lines[-1]["yields"]["sum"] == 1


def measuring_env() -> dict[str, str]:
    """The environment of the programs."""
    import os

    return dict(os.environ)
