from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from event_runs import EventRun

Run = Callable[..., Any]

# Each spawns calls of `inner` from within a call of `outer`, and waits for them.
THREADS = """
class Own(threading.Thread):
    def run(self):
        inner("own")

def spawn():
    thread = threading.Thread(target=inner, args=("thread",))
    threads = [thread, Own(), threading.Timer(0, inner, ["timer"])]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

outer(None, spawn)
"""
EXECUTOR = """
from concurrent.futures import ThreadPoolExecutor

with ThreadPoolExecutor(1) as pool:
    def spawn():
        pool.submit(inner, "submit").result()
        list(pool.map(inner, ["map"]))

    outer(None, spawn)
    pool.submit(inner, "outside").result()
"""
EVENTLET = """
import eventlet

def spawn():
    pool = eventlet.GreenPool(2)
    jobs = [eventlet.spawn(inner, "spawn"), eventlet.spawn_after(0.01, inner, "after"),
            pool.spawn(inner, "pool")]
    pool.spawn_n(inner, "pool_n")
    list(pool.imap(inner, ["imap"]))
    eventlet.spawn_n(inner, "n")
    pool.waitall()
    for each in jobs:
        each.wait()
    eventlet.sleep(0.05)

outer(None, spawn)
"""
PATCH = "import eventlet; eventlet.monkey_patch()\n"
START = """
from calls import outer

def inner(name):
    return calls.inner(name)
"""
ASYNCIO = """
import asyncio

async def job(name):
    inner(name)

async def spawn():
    loop = asyncio.get_running_loop()
    await asyncio.gather(asyncio.create_task(job("task")), asyncio.to_thread(inner, "to_thread"))
    EXECUTOR

class Main:
    async def run(self):
        outer(None, lambda: None)
        await calls.outer_async(spawn)

asyncio.run(Main().run())
"""
CALLS = """
def inner(name):
    return name

async def outer_async(do):
    return await do()
"""


@pytest.fixture
def events(tmp_path: Path, tach_run_dir: Path) -> EventRun:
    """Runs whose events of `outer` and `inner` go to a file."""
    events = EventRun(tmp_path, tach_run_dir)
    with (tmp_path / "calls.py").open("a") as file:
        file.write(CALLS)
    return events


def request_ids(
    events: EventRun, run_tach: Run, program: str, **top: Any
) -> tuple[str, dict[str, str]]:
    """The request of the outermost call, and those of the calls of `inner`, by their argument."""
    config = events.config(**top)
    told = {"metrics": ["events"]}
    config["targets"]["inner"] = {
        "function": "calls:inner",
        "payload": {"name": "args.name"},
        **told,
    }
    config["targets"]["outer_async"] = {"function": "calls:outer_async", **told}
    file = events.program(START + program)
    if PATCH in program:
        file.write_text(PATCH + file.read_text())
    done = run_tach(config, sys.executable, "-W", "ignore", file)
    assert (done.returncode, done.stderr) == (0, "")
    messages = events.messages(".end")
    assert events.report.troubles() == []
    [outer] = [each for each in messages if each["event_type"].startswith("outer")][-1:]
    inner = {
        each["payload"]["name"]: each["_context_request_id"]
        for each in messages
        if each["event_type"] == "inner.end"
    }
    return outer["_context_request_id"], inner


CASES = {
    "threads": (THREADS, {"thread", "own", "timer"}),
    "executor": (EXECUTOR, {"submit", "map"}),
    "eventlet": (EVENTLET, {"spawn", "after", "pool", "pool_n", "imap", "n"}),
    "eventlet, patched, with threads": (PATCH + THREADS, {"thread", "own", "timer"}),
    "eventlet, patched, with an executor": (PATCH + EXECUTOR, {"submit", "map"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_request_follows_what_it_spawns(case: str, events: EventRun, run_tach: Run) -> None:
    """With `propagate` the calls in threads, jobs and greenthreads belong to the spawner's request.

    What is done outside of any request does not, though the same thread has done both.
    """
    program, expected = CASES[case]

    outer, inner = request_ids(events, run_tach, program, propagate=True)

    assert {name for name, request in inner.items() if request == outer} == expected
    assert inner.keys() - expected <= {"outside"}


@pytest.mark.parametrize("case", CASES)
def test_without_the_option_it_does_not(case: str, events: EventRun, run_tach: Run) -> None:
    """Nothing is changed where nobody has asked for it: each call is a request of its own."""
    program, expected = CASES[case]

    outer, inner = request_ids(events, run_tach, program)

    assert inner.keys() >= expected
    assert outer not in inner.values()
    assert len(set(inner.values())) == len(inner)


@pytest.mark.parametrize("propagate", [False, True])
def test_tasks_carry_it_by_themselves(propagate: bool, events: EventRun, run_tach: Run) -> None:
    """asyncio copies the context for tasks and `to_thread`, but `run_in_executor` does not."""
    program = ASYNCIO.replace("EXECUTOR", 'await loop.run_in_executor(None, inner, "executor")')

    outer, inner = request_ids(events, run_tach, program, propagate=propagate)

    carried = {name for name, request in inner.items() if request == outer}
    assert inner.keys() == {"task", "to_thread", "executor"}
    assert carried == {"task", "to_thread", *(["executor"] if propagate else [])}


def test_nothing_else_of_the_context_is_carried(events: EventRun, run_tach: Run) -> None:
    """The program's own context variables are where they are without tach."""
    program = """
import contextvars, inspect
from concurrent.futures import ThreadPoolExecutor
import eventlet
var = contextvars.ContextVar("var", default="nothing")

def read(into):
    into.append(var.get())

def spawn():
    seen = []
    var.set("something")
    thread = threading.Thread(target=read, args=(seen,))
    thread.start()
    thread.join()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(read, seen).result()
    eventlet.spawn(read, seen).wait()
    with open("seen", "w") as file:
        print(seen, inspect.signature(threading.Thread.start), file=file)

outer(None, spawn)
"""
    request_ids(events, run_tach, program, propagate=True)

    assert (events.directory / "seen").read_text() == "['nothing', 'nothing', 'nothing'] (self)\n"


def test_uninstall_puts_everything_back(tmp_path: Path, processes: Any, environment: Any) -> None:
    """After `tach.uninstall()` threads, jobs and greenthreads are as they were."""
    (tmp_path / "tach.yaml").write_text(
        "propagate: true\nnotifiers: {n: {type: log}}\n"
        "targets: {a: {function: 'json:dumps', metrics: [events]}}\n"
    )
    (tmp_path / "program.py").write_text(
        """
import threading, concurrent.futures.thread as executors, eventlet.greenthread as greenthreads
import tach

def places():
    return [threading.Thread.start, threading.Thread._bootstrap_inner, executors._WorkItem.run,
            executors._WorkItem.__init__, greenthreads.GreenThread.__init__, greenthreads._spawn_n]

before = places()
tach.install("tach.yaml")
during = places()
tach.uninstall()
print([a is b for a, b in zip(before, during)].count(False), places() == before)
"""
    )
    command = [sys.executable, "-W", "ignore", "program.py"]
    process = processes.start(command, cwd=tmp_path, env={**environment, "HOME": str(tmp_path)})
    stdout, stderr = process.communicate(timeout=60)

    changed = 5 if sys.version_info >= (3, 14) else 6  # there it is the start of threads alone
    assert (stdout, stderr) == (f"{changed} True\n", "")
