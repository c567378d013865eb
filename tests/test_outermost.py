"""`outermost: true`: of calls that call themselves only the outermost is measured."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from measuring import Measuring

WORK = """
import asyncio, time

def recurse(depth, then=None):
    if depth:
        return recurse(depth - 1, then)
    return then() if then else depth

def fail(depth):
    if depth:
        fail(depth - 1)
    raise KeyError(depth)

def tried(depth):
    try:
        if depth:
            return tried(depth - 1)
        raise KeyError(depth)
    except KeyError:
        if depth < 2:
            raise
        return depth

async def walk(depth):
    await asyncio.sleep(0)
    if depth:
        await asyncio.gather(walk(depth - 1), walk(depth - 1))

def tick(left, loop, done):
    if left:
        loop.call_soon(tick, left - 1, loop, done)
    else:
        done.set_result(None)

def nested():
    return recurse(3)

def generator(depth):
    yield depth
"""


@pytest.fixture
def measuring(run_tach, tmp_path: Path, tach_run_dir: Path) -> Measuring:
    """Runs programs that may import `work`."""
    found = Measuring(run_tach, tmp_path, tach_run_dir)
    found.write(work=WORK)
    return found


def calls(measuring: Measuring, statements: str, function: str = "recurse") -> int | None:
    """How many calls of `work`'s function are measured while the statements are executed."""
    target = {"function": f"work:{function}", "outermost": True, "metrics": ["timing", "inflight"]}
    measured = measuring.run(f"import contextlib, work\n{statements}", {"c": target})
    assert measured.troubles == []
    if "c" not in measured.series:
        return None
    assert measured.series["c"]["inflight"] == 0
    return measured.calls["c"]


def test_a_recursion_is_one_call(measuring) -> None:
    """However deep, and as often as it is called."""
    assert calls(measuring, "work.recurse(50); work.recurse(0); work.recurse(1)") == 3


def test_each_function_has_an_outermost_call_of_its_own(measuring) -> None:
    """A call inside that of another target's function is no inner call."""
    targets = {
        "outer": {"function": "work:nested", "outermost": True},
        "inner": {"function": "work:recurse", "outermost": True},
    }
    measured = measuring.run("import work\nwork.nested(); work.nested()", targets)
    assert measured.calls == {"outer": 2, "inner": 2}


def test_an_exception_ends_it(measuring) -> None:
    """A recursion that raises is one call and one error, and the next one is measured again."""
    statements = "for _ in range(3):\n    with contextlib.suppress(KeyError): work.fail(10)"
    target = {"function": "work:fail", "outermost": True}
    measured = measuring.run(f"import contextlib, work\n{statements}", {"c": target})
    assert (measured.series["c"]["calls"], measured.series["c"]["errors"]) == (3, 3)


def test_exceptions_caught_half_way_up(measuring) -> None:
    """What happens inside is nobody's concern: the outermost call did not fail."""
    target = {"function": "work:tried", "outermost": True}
    measured = measuring.run("import work\nwork.tried(5)", {"c": target})
    assert (measured.series["c"]["calls"], measured.series["c"]["errors"]) == (1, 0)


def test_threads_do_not_hide_one_another(measuring) -> None:
    """Calls that run at once in several threads are each the outermost of its own."""
    statements = """
import threading
barrier = threading.Barrier(8)
threads = [threading.Thread(target=work.recurse, args=(5, barrier.wait)) for _ in range(8)]
for each in threads: each.start()
for each in threads: each.join()
"""
    assert calls(measuring, statements) == 8


def test_tasks_do_not_hide_one_another(measuring) -> None:
    """Of coroutines the tasks that a call waits for belong to it; tasks beside it do not."""
    statements = """
import asyncio
async def main():
    await asyncio.gather(*[work.walk(3) for _ in range(5)])
    await work.walk(1)
asyncio.run(main())
"""
    assert calls(measuring, statements, "walk") == 6


def test_a_callback_that_schedules_itself_is_measured_each_time(measuring) -> None:
    """A callback takes the context of a call that is over along, and is not inside of it."""
    statements = """
import asyncio
async def main():
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    work.tick(9, loop, done)
    await done
asyncio.run(main())
"""
    assert calls(measuring, statements, "tick") == 10


def test_greenthreads_do_not_hide_one_another(measuring) -> None:
    """Eventlet's greenthreads switch in the middle of calls: each has an outermost one."""
    if find_spec("eventlet") is None:  # importing it here would change this process
        pytest.skip("eventlet is missing")
    statements = """
import eventlet
pool = eventlet.GreenPool(10)
for _ in range(30): pool.spawn(work.recurse, 4, lambda: eventlet.sleep(0.001))
pool.waitall()
"""
    # eventlet itself warns that it is deprecated
    target = {"function": "work:recurse", "outermost": True}
    program = f"import warnings; warnings.simplefilter('ignore')\nimport work\n{statements}"
    assert measuring.run(program, {"c": target}).calls == {"c": 30}


def test_a_child_that_is_forked_inside_measures_its_own_calls(measuring) -> None:
    """The call around the fork is the parent's; the child's next ones are outermost calls."""
    statements = """
import os
def fork():
    if os.fork() == 0:
        work.recurse(3)
        work.recurse(3)
        os._exit(0)
    os.wait()
work.recurse(2, fork)
"""
    assert calls(measuring, statements) == 3


def test_a_child_goes_on_after_the_call_it_was_forked_in(measuring) -> None:
    """When the child comes out of its parent's call, nothing of it is left to hide calls."""
    statements = """
import os
pid = work.recurse(2, os.fork)
work.recurse(1)
if pid == 0: os._exit(0)
os.wait()
"""
    assert calls(measuring, statements) == 3


def test_generators_are_refused_with_a_reason(measuring) -> None:
    """A generator pauses, and so may have others inside that are not: the report says no."""
    target = {"function": "work:generator", "outermost": True}
    measured = measuring.run("import work\nassert list(work.generator(1)) == [1]", {"c": target})
    assert measured.calls == {}
    assert measured.targets["c"]["state"] == "refused"
    assert "outermost is not for generators" in measured.targets["c"]["reason"]
