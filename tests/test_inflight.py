"""The metric `inflight`: calls that run now, their peak, the oldest, and those cut short."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from measuring import Measuring
from processes import wait_for
from recording import Recording
from statsd_daemon import StatsdDaemon, require_statsd

from tach import layout
from tach.sender.segments import SegmentReader

WORK = """
import asyncio, os, time
def wait(then):
    return then()
def generator(count):
    for each in range(count):
        yield each
async def coroutine(event):
    await event.wait()
"""
TARGET = {"function": "work:wait", "metrics": ["count", "inflight"]}


@pytest.fixture
def measuring(run_tach, tmp_path: Path, tach_run_dir: Path) -> Measuring:
    """Runs programs that may import `work`."""
    found = Measuring(run_tach, tmp_path, tach_run_dir)
    found.write(work=WORK)
    return found


@pytest.fixture
def watched(measuring, spawn_tach) -> Callable[..., Any]:
    """Start a program whose report is written several times a second."""

    def spawn(program: str, **targets: Any) -> Any:
        measuring.write(program=f"import os, sys, threading, time, work\n{program}")
        config = {**measuring.config(targets), "interval": "100ms"}
        config["notifiers"]["report"]["every"] = "200ms"
        return spawn_tach(config, sys.executable, measuring.directory / "program.py", stdin=-1)

    return spawn


def latest(measuring: Measuring, series: str = "c") -> dict[str, Any]:
    """What was last reported of the series; nothing if it was not yet."""
    file = measuring.directory / "report.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    found = [line for line in map(json.loads, lines) if line.get("series") == series]
    return found[-1] if found else {}


def test_calls_that_run_are_seen_from_outside(measuring, watched) -> None:
    """While calls run, `inflight` is their number and `oldest` grows; then both are 0 again."""
    program = watched(
        """
threads = [threading.Thread(target=work.wait, args=(sys.stdin.readline,)) for _ in range(1)]
done = threading.Event()
threads += [threading.Thread(target=work.wait, args=(done.wait,)) for _ in range(4)]
for each in threads: each.start()
threads[0].join(); done.set()
for each in threads: each.join()
""",
        c=TARGET,
    )
    wait_for(lambda: latest(measuring).get("inflight") == 5, message="five calls in flight")
    began = time.monotonic()
    older = wait_for(lambda: latest(measuring).get("oldest", 0) > 0.5 and latest(measuring))
    assert older["oldest"] < time.monotonic() - began + 5
    program.communicate("\n", 60)
    line = measuring.report.lines()[-1]
    assert (line["inflight"], line["oldest"], line.get("aborted", 0)) == (0, 0, 0)
    assert (line["inflight_max"], line["calls"]) == (5, 5)


def test_the_peak_is_that_of_each_interval(measuring) -> None:
    """A peak between two reports is told once, though nothing runs when either is made."""
    program = """
import threading, time, work
barrier = threading.Barrier(7)
threads = [threading.Thread(target=work.wait, args=(barrier.wait,)) for _ in range(7)]
for each in threads: each.start()
for each in threads: each.join()
time.sleep(1.5)
work.wait(int)
time.sleep(1.5)
"""
    target = {**TARGET, "notifiers": ["report", "statsd"]}
    require_statsd()
    with StatsdDaemon(flush_interval=0.1) as daemon:
        statsd = {"type": "statsd", "port": daemon.port}
        measured = measuring.run(program, {"c": target}, statsd=statsd)
        wait_for(lambda: daemon.gauges().get("c.inflight_max") == 0, message="the last batch")
        daemon.stop()
        gauges = [each["gauges"] for each in daemon.flushes()]
    peaks = [each["c.inflight_max"] for each in gauges if "c.inflight_max" in each]
    assert [peak for peak, _ in itertools.groupby(peaks)] == [7, 1, 0]
    assert {each.get("c.inflight", 0) for each in gauges} == {0}
    assert measured.series["c"]["inflight_max"] == 7  # of the whole run


def test_a_hundred_calls_at_once(measuring) -> None:
    """More calls than there are slots: the number is exact, and the return to 0 too."""
    program = """
import asyncio, work
async def main():
    event = asyncio.Event()
    tasks = [asyncio.create_task(work.coroutine(event)) for _ in range(100)]
    await asyncio.sleep(0.01)
    event.set()
    await asyncio.gather(*tasks)
    tasks = [asyncio.create_task(work.coroutine(asyncio.Event())) for _ in range(50)]
    await asyncio.sleep(0.01)
    for each in tasks: each.cancel()
    await asyncio.wait(tasks)
asyncio.run(main())
"""
    target = {"function": "work:coroutine", "metrics": ["count", "exceptions", "inflight"]}
    line = measuring.run(program, {"c": target}).series["c"]
    assert (line["calls"], line["cancelled"], line["inflight_max"]) == (150, 50, 100)
    assert (line["inflight"], line["oldest"], line.get("aborted", 0)) == (0, 0, 0)


def test_a_process_that_is_killed_aborts_its_calls(measuring, spawn_tach) -> None:
    """Calls that ran when SIGKILL came are counted as aborted, and run no more."""
    measuring.write(
        program="""
import sys, threading, time, work
for _ in range(30):
    threading.Thread(target=work.wait, args=(lambda: time.sleep(100),), daemon=True).start()
work.wait(int)
print("ready", flush=True)
time.sleep(100)
"""
    )
    config = measuring.config({"c": TARGET})
    program = spawn_tach(config, sys.executable, measuring.directory / "program.py")
    assert program.stdout.readline() == "ready\n"
    os.kill(program.pid, signal.SIGKILL)
    program.communicate(timeout=60)
    [line] = [each for each in measuring.report.lines() if "series" in each]
    assert (line["calls"], line.get("aborted", 0), line["inflight"], line["oldest"]) == (
        1,
        30,
        0,
        0,
    )


def test_a_fork_in_the_middle_of_a_call_is_one_call(measuring) -> None:
    """The parent's call goes on in the parent alone; calls of the child are the child's."""
    program = """
import os, work
def fork():
    pid = os.fork()
    if pid == 0:
        work.wait(int)
        work.wait(lambda: work.wait(int))
    return pid
pid = work.wait(fork)
if pid == 0:
    work.wait(int)
    os._exit(0)
os.wait()
work.wait(int)
"""
    line = measuring.run(program, {"c": TARGET}).series["c"]
    assert (line["calls"], line["inflight"], line.get("aborted", 0)) == (6, 0, 0)


def test_a_child_that_ends_inside_a_call_aborts_its_own(measuring) -> None:
    """`os._exit` cuts short what the child began, not what it was forked in."""
    program = """
import os, work
def fork():
    if os.fork() == 0:
        work.wait(lambda: os._exit(0))
    os.wait()
work.wait(fork)
"""
    line = measuring.run(program, {"c": TARGET}).series["c"]
    assert (line["calls"], line["inflight"], line.get("aborted", 0)) == (1, 0, 1)


def test_generators_that_nobody_finishes_are_over_when_they_go(measuring) -> None:
    """An abandoned generator runs until nobody holds it; one never started is no call."""
    program = """
import gc, work
def leave(): next(work.generator(3))
for _ in range(30): leave()
held = [work.generator(3) for _ in range(25)]
for each in held[:22]: next(each)
held[0].close()
cycle = [work.generator(2)]
next(cycle[0]); cycle.append(cycle)
del held, each, cycle
gc.collect()
list(work.generator(3))
"""
    target = {"function": "work:generator", "metrics": ["count", "exceptions", "inflight"]}
    line = measuring.run(program, {"c": target}).series["c"]
    assert (line["calls"], line["cancelled"]) == (30 + 22 + 1 + 1, 30 + 22 + 1)
    assert (line["inflight"], line.get("aborted", 0), line["errors"]) == (0, 0, 0)
    assert line["inflight_max"] >= 22


def test_exceptions_and_recursion_return_to_zero(measuring) -> None:
    """However calls end, and however deep they are: none is left."""
    program = """
import contextlib, sys, work
def fail(): raise KeyError
def leave(): sys.exit(3)
def deep(): return work.wait(deep)
for then in (fail, leave, deep):
    with contextlib.suppress(KeyError, SystemExit, RecursionError): work.wait(then)
"""
    line = measuring.run(program, {"c": TARGET}).series["c"]
    assert (line["inflight"], line.get("aborted", 0)) == (0, 0)
    assert line["calls"] > 100


def test_each_name_has_calls_in_flight_of_its_own(measuring) -> None:
    """With names of arguments, calls in flight belong to the name they began with."""
    program = """
import work
class Then:
    name = "a"
    def __call__(self):
        self.name = "b"
then = Then()
work.wait(then); work.wait(then)
"""
    series = measuring.run(program, {"c.{args.then.name}": TARGET}).series
    assert {name: (line["calls"], line["inflight"]) for name, line in series.items()} == {
        "c.a": (1, 0),
        "c.b": (1, 0),
    }


def test_processes_add_up(measuring) -> None:
    """`inflight_max` is the sum of what each process had at once."""
    program = """
import os, work
def together():
    reader, writer = os.pipe()
    for _ in range(3):
        if os.fork() == 0:
            os.close(writer)
            work.wait(lambda: os.read(reader, 1))
            os._exit(0)
    import time; time.sleep(1.5)
    os.close(writer)
    for _ in range(3): os.wait()
together()
"""
    line = measuring.run(program, {"c": TARGET}).series["c"]
    assert (line["calls"], line["inflight"], line["inflight_max"]) == (3, 0, 3)


def test_hosts_that_are_up_for_long(tmp_path: Path) -> None:
    """After ten years without a boot 10,000 calls at once are recorded, with their mean age."""
    recording = Recording(tmp_path)
    recorder = recording.recorder()
    recorder.begin()
    now = 10 * 365 * 86400 * 10**9
    calls: list[list[int]] = [[] for _ in range(10_000)]
    for each in calls:
        recorder.enter(now, each)
    reader = SegmentReader(str(next(tmp_path.glob("*.segment"))))
    [series] = reader.find_new()
    running = reader.running(series, now + 2 * 10**9)
    assert running.active == 10_000
    assert running.oldest == pytest.approx(2.0, abs=0.002)
    for each in calls:
        recorder.leave(each)
    assert reader.running(series, now).active == 0
    assert recorder.words is not None
    assert recorder.words[layout.E_CROWD] == recorder.words[layout.E_CROWD_STARTS] == 0
    reader.close()
