"""Numbers taken from calls: `value`, `increment` and `cpu`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from measuring import Measuring
from processes import wait_for

WORK = '''
import asyncio, time
from decimal import Decimal
from fractions import Fraction

class Sized:
    def __init__(self, size): self.size = size
    def __len__(self): return self.size

class Float:
    """As numpy's numbers are: no subclass of float, but with a value as one."""
    def __init__(self, number): self.number = number
    def __float__(self): return self.number

def give(number):
    if isinstance(number, BaseException): raise number
    return number

def change(items):
    items.append(1)

def busy(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end: pass

def idle(seconds):
    time.sleep(seconds)

async def coroutine(seconds):
    busy(seconds)
    await asyncio.sleep(seconds)
    busy(seconds)

def steps(seconds):
    busy(seconds)
    yield
    busy(seconds)
'''


@pytest.fixture
def measuring(run_tach, tmp_path: Path, tach_run_dir: Path) -> Measuring:
    """Runs programs that may import `work`."""
    found = Measuring(run_tach, tmp_path, tach_run_dir)
    found.write(work=WORK)
    return found


def value_of(
    measuring: Measuring, numbers: str, how: Any = "result", function: str = "give"
) -> Any:
    """What is measured when the function is called with each of the numbers."""
    program = f"""
import contextlib, work
from work import *
for each in {numbers}:
    with contextlib.suppress(KeyError): work.{function}(each)
"""
    return measuring.run(program, {"c": {"function": f"work:{function}", "value": how}})


def distribution(measured: Any) -> dict[str, float]:
    """The distribution of the values."""
    found: dict[str, float] = measured.series["c"]["value"]
    return found


def test_a_value_is_a_distribution(measuring) -> None:
    """By default: exact count, sum, mean and maximum, percentiles within 1 %."""
    found = distribution(value_of(measuring, "range(1, 1001)"))
    assert (found["count"], found["sum"], found["mean"], found["max"]) == (
        1000,
        500500,
        500.5,
        1000,
    )
    assert found["p50"] == pytest.approx(500, rel=0.01)
    assert found["p99"] == pytest.approx(990, rel=0.01)


@pytest.mark.parametrize(
    ("numbers", "count", "total", "greatest"),
    [
        ("[0.1, 0.2]", 2, 0.3, 0.2),
        ("[1.1]", 1, 1.1, 1.1),
        ("[-5, 2]", 2, -3, 2),
        ("[-5, -3]", 2, -8, -3),
        ("[Decimal('1.5'), Fraction(1, 4)]", 2, 1.75, 1.5),
        ("[Float(2.5), Float(1.0)]", 2, 3.5, 2.5),
        ("[True, False]", 2, 1, 1),
        ("[50 * 10**9, 10**15]", 2, 10**15 + 50 * 10**9, 10**15),
        ("[1e99]", 1, 1e99, 1e99),
        ("[0, 0.0]", 2, 0, 0),
    ],
)
def test_numbers_of_every_kind(
    measuring, numbers: str, count: int, total: float, greatest: float
) -> None:
    """Floats, negative ones, decimals, fractions, what has a value as a float, large ones."""
    measured = value_of(measuring, numbers)
    found = distribution(measured)
    assert (found["sum"], found["max"]) == (total, greatest)
    assert found["count"] == count
    assert measured.troubles == []


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("float('nan')", "ValueError: it is not a finite number"),
        ("float('inf')", "ValueError: it is not a finite number"),
        ("-float('inf')", "ValueError: it is not a finite number"),
        ("1e305", "ValueError: it is not a finite number below 1e+100"),
        ("10**400", "OverflowError: int too large to convert to float"),
        ("Decimal('sNaN')", "ValueError: "),
        ("None", "TypeError: "),
        ("'12'", "TypeError: it is str, not a number"),
        ("b'12'", "TypeError: it is bytes, not a number"),
        ("[1]", "TypeError: "),
        ("1j", "TypeError: "),
    ],
)
def test_what_is_no_number_is_refused(measuring, number: str, reason: str) -> None:
    """It is reported once, and counted as a call all the same; other values go on."""
    measured = value_of(measuring, f"[{number}, 3, {number}]")
    [trouble] = measured.troubles
    assert trouble.startswith(f"a value was not found: {reason}")
    assert (distribution(measured)["count"], distribution(measured)["sum"]) == (1, 3)
    assert measured.calls == {"c": 3}


def test_the_length_of_something(measuring) -> None:
    """`len(...)` of the result, of an argument as it was when the call began."""
    assert distribution(value_of(measuring, "['abc', [1], Sized(7)]", "len(result)"))["sum"] == 11
    (measuring.directory / "report.jsonl").unlink()
    found = distribution(value_of(measuring, "[[], [1, 2]]", "len(args.items)", "change"))
    assert found["sum"] == 2


def test_an_attribute_of_an_argument(measuring) -> None:
    """A path leads to the number."""
    assert distribution(value_of(measuring, "[Sized(3), Sized(4)]", "args.number.size"))["sum"] == 7


def test_a_call_that_raised_has_no_result(measuring) -> None:
    """Its value is left out, without a word."""
    measured = value_of(measuring, "[3, KeyError(), 4]")
    assert distribution(measured)["sum"] == 7
    assert measured.series["c"]["errors"] == 1
    assert measured.troubles == []


def test_a_gauge_is_the_latest(measuring) -> None:
    """`as: gauge`: exactly the last number, negative too."""
    measured = value_of(measuring, "[3, 10**15 + 1, -2.25]", {"of": "result", "as": "gauge"})
    assert measured.series["c"]["value"] == -2.25


def test_a_counter_is_the_sum(measuring) -> None:
    """`as: counter`: the sum, of floats too, over all processes."""
    program = """
import os, work
for _ in range(3):
    if os.fork() == 0:
        for _ in range(11): work.give(0.1)
        os._exit(0)
    os.wait()
work.give(-1)
"""
    target = {"function": "work:give", "value": {"of": "result", "as": "counter"}}
    measured = measuring.run(program, {"c": target})
    assert measured.series["c"]["value"] == 2.3


def test_values_have_the_names_of_their_calls(measuring) -> None:
    """With names of arguments each series has its own value."""
    target = {"function": "work:give", "value": {"of": "result", "as": "counter"}}
    program = "import work\nfor each in (1, 2, 2, 5): work.give(each)"
    series = measuring.run(program, {"c.{args.number}": target}).series
    assert {name: line["value"] for name, line in series.items()} == {"c.1": 1, "c.2": 4, "c.5": 5}


@pytest.mark.parametrize(
    ("amount", "total"), [(1, 10), (2.5, 25), (-3, -30), (-0.1, -1), (0.1, 1), ("1e3", 10_000)]
)
def test_increment_adds_a_fixed_amount(measuring, amount: Any, total: float) -> None:
    """Each call that ended adds it, also one that raised: whole numbers, floats, negative ones."""
    program = """
import contextlib, work
for each in range(9): work.give(each)
with contextlib.suppress(KeyError): work.give(KeyError())
"""
    target = {"function": "work:give", "increment": amount}
    assert measuring.run(program, {"c": target}).series["c"]["total"] == total


def test_statsd_is_told_each_kind_as_it_takes_it(measuring, statsd_daemon) -> None:
    """Float and negative counters add up over intervals; gauges are set, also below zero."""
    program = """
import time, work
for each in range(3):
    work.give(-2.5)
    work.give(-1 - each)
    time.sleep(0.3)
"""
    every = {"function": "work:give", "notifiers": ["statsd", "report"]}
    targets = {
        "up": {**every, "increment": 0.5},
        "down": {**every, "increment": -2},
        "gauge": {**every, "value": {"of": "result", "as": "gauge"}},
        "counter": {**every, "value": {"of": "args.number", "as": "counter"}},
        "histogram": {**every, "value": "args.number"},
    }
    measuring.run(program, targets, statsd={"type": "statsd", "port": statsd_daemon.port})
    wait_for(lambda: statsd_daemon.counters().get("up.calls") == 6, message="all batches")
    counters = statsd_daemon.counters()
    assert (counters["up.total"], counters["down.total"]) == (3, -12)
    assert counters["counter.value"] == pytest.approx(-13.5)
    assert statsd_daemon.gauges()["gauge.value"] == -3
    # statsd's timers take nothing below 0
    assert len(statsd_daemon.timers()["histogram.value"]) == 6
    assert counters.get("statsd.bad_lines_seen", 0) == 0


def cpu(measuring: Measuring, statements: str, function: str) -> dict[str, Any]:
    """What `cpu` says of the function."""
    program = f"import asyncio, work\n{statements}"
    target = {"function": f"work:{function}", "metrics": ["timing", "cpu"]}
    found: dict[str, Any] = measuring.run(program, {"c": target}).series["c"]
    return found


def test_a_busy_call_uses_the_processor(measuring) -> None:
    """`cpu` is the processor time of the call, in milliseconds."""
    found = cpu(measuring, "for _ in range(3): work.busy(0.03)", "busy")["cpu"]
    assert found["count"] == 3
    assert found["sum"] == pytest.approx(90, abs=20)


def test_a_sleeping_call_does_not(measuring) -> None:
    """What a call waits is in its duration only."""
    found = cpu(measuring, "for _ in range(3): work.idle(0.05)", "idle")
    assert found["cpu"]["sum"] < 10
    assert found["total_ms"] >= 150


def test_the_processor_time_of_other_tasks_is_not_the_coroutine_s(measuring) -> None:
    """Of a coroutine its steps count, not what others use while it waits."""
    statements = """
async def main():
    async def hog():
        for _ in range(10):
            work.busy(0.02)
            await asyncio.sleep(0)
    await asyncio.gather(work.coroutine(0.02), hog())
asyncio.run(main())
"""
    found = cpu(measuring, statements, "coroutine")
    assert found["cpu"]["sum"] == pytest.approx(40, abs=15)
    assert found["total_ms"] >= 100


def test_the_processor_time_of_a_generator_is_that_of_its_steps(measuring) -> None:
    """What its consumer uses between the steps is not the generator's."""
    found = cpu(measuring, "for _ in work.steps(0.02): work.busy(0.1)", "steps")
    assert found["cpu"]["sum"] == pytest.approx(40, abs=15)
