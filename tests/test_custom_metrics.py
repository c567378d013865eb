"""Metric types of somebody else's: `module:Class`, which runs in the program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from measuring import Measuring

WORK = """
import asyncio
def work(number):
    if isinstance(number, Exception): raise number
    return number * 2
async def coroutine(number):
    await asyncio.sleep(0)
    return number
def generator(number):
    yield number
"""
THEIRS = """
made = []
class Plain:
    def __init__(self): made.append(self)
    def start(self, call): return call.args[0]
    def stop(self, call, token): return token
class Counter(Plain):
    kind, suffix = "counter", "their.own sum|c"
class Gauge(Plain):
    kind, suffix = "gauge", "level"
class Result:
    suffix = "result"
    def start(self, call): assert (call.result, call.error, call.elapsed) == (None, None, 0)
    def stop(self, call, token):
        assert call.elapsed > 0 and call.kwargs == {}
        return -1 if call.error else call.result
class Now_and_then(Plain):
    def stop(self, call, token): return token if token > 1 else None
class StartRaises(Plain):
    def start(self, call): raise KeyError("start")
class StopRaises(Plain):
    def stop(self, call, token): raise KeyError("stop")
class ConstructorRaises(Plain):
    def __init__(self):
        print("tried")
        raise KeyError("constructor")
class NeedsOptions(Plain):
    def __init__(self, option): pass
class WrongKind(Plain):
    kind = "sum"
class Taken(Plain):
    suffix = "calls"
class NoStop:
    def start(self, call): pass
class Text(Plain):
    def stop(self, call, token): return "7"
class Nan(Plain):
    def stop(self, call, token): return float("nan")
class Deep(Plain):
    def stop(self, call, token): return self.stop(call, token)
class Mute(Plain):
    class Error(Exception):
        def __str__(self): raise self
    def stop(self, call, token): raise self.Error
"""
PROGRAM = "import work\nfor each in (1, 2, 3): assert work.work(each) == each * 2\n"


@pytest.fixture
def measuring(run_tach, tmp_path: Path, tach_run_dir: Path) -> Measuring:
    """Runs programs that may import `work` and `theirs`."""
    found = Measuring(run_tach, tmp_path, tach_run_dir)
    found.write(work=WORK, theirs=THEIRS)
    return found


def measured_by(
    measuring: Measuring, cls: str, program: str = PROGRAM, function: str = "work"
) -> Any:
    """What is measured of the program with that class."""
    target = {"function": f"work:{function}", "metrics": ["count", f"theirs:{cls}"]}
    return measuring.run(program, {"c": target})


def test_its_numbers_are_a_distribution(measuring) -> None:
    """Without more words: `.value`, a histogram of what `stop` returns for what `start` kept."""
    measured = measured_by(measuring, "Plain")
    found = measured.series["c"]["value"]
    assert (found["count"], found["sum"], found["max"]) == (3, 6, 3)
    assert (measured.calls, measured.troubles) == ({"c": 3}, [])


def test_it_says_suffix_and_kind(measuring) -> None:
    """A counter adds up, a gauge is the latest; the suffix is one component of a name."""
    assert measured_by(measuring, "Counter").series["c"]["their_own_sum_c"] == 6
    (measuring.directory / "report.jsonl").unlink()
    assert measured_by(measuring, "Gauge").series["c"]["level"] == 3


def test_it_is_told_what_came_of_the_call(measuring) -> None:
    """At its start a call has arguments, at its end result, error and elapsed nanoseconds too."""
    program = (
        f"{PROGRAM}\nimport contextlib\nwith contextlib.suppress(KeyError): work.work(KeyError())"
    )
    measured = measured_by(measuring, "Result", program)
    assert measured.series["c"]["result"]["sum"] == 2 + 4 + 6 - 1
    assert measured.troubles == []


def test_none_is_no_measurement(measuring) -> None:
    """`stop` may return None for calls that it does not want to tell of."""
    found = measured_by(measuring, "Now_and_then").series["c"]["value"]
    assert (found["count"], found["sum"]) == (2, 5)


def test_several_of_them_and_one_of_each(measuring) -> None:
    """A target may have several; each is made once, also for all functions of a wildcard."""
    metrics = ["theirs:Plain", "theirs:Gauge", "theirs:Result"]
    program = f"{PROGRAM}\nimport theirs\nprint(len(theirs.made))"
    measured = measuring.run(program, {"c": {"function": "work:work", "metrics": metrics}})
    line = measured.series["c"]
    assert (line["value"]["sum"], line["level"], line["result"]["sum"]) == (6, 3, 12)
    assert measured.stdout == "2\n"


def test_coroutines_and_generators(measuring) -> None:
    """`start` runs when the work begins, `stop` when it has ended."""
    program = "import asyncio, work\nfor each in (1, 2): asyncio.run(work.coroutine(each))"
    line = measured_by(measuring, "Result", program, "coroutine").series["c"]
    assert line["result"]["sum"] == 3
    (measuring.directory / "report.jsonl").unlink()
    program = "import work\nlist(work.generator(4))"
    assert measured_by(measuring, "Plain", program, "generator").series["c"]["value"]["sum"] == 4


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        ("StartRaises", "KeyError: 'start'"),
        ("StopRaises", "KeyError: 'stop'"),
        ("NeedsOptions", "TypeError: NeedsOptions.__init__() missing 1 required positional"),
        ("WrongKind", "ValueError: its kind 'sum' is none of histogram, gauge, counter"),
        ("Taken", "ValueError: its suffix 'calls' is that of a built-in metric"),
        ("NoStop", "AttributeError: 'NoStop' object has no attribute 'stop'"),
        ("Text", "TypeError: it is str, not a number"),
        ("Nan", "ValueError: it is not a finite number"),
        ("Mute", "Error: it cannot say why"),
        ("Missing", "AttributeError: module 'theirs' has no attribute 'Missing'"),
    ],
)
def test_one_that_fails_is_reported_and_harmless(measuring, cls: str, reason: str) -> None:
    """Whatever it raises: the report says so once, and calls go on and are counted."""
    measured = measured_by(measuring, cls)
    [trouble] = measured.troubles
    assert trouble.startswith(f"metric theirs:{cls}: {reason}")
    assert measured.calls == {"c": 3}
    assert "value" not in measured.series["c"]


def test_a_missing_module_is_reported(measuring) -> None:
    """A module that cannot be imported stops nothing."""
    target = {"function": "work:work", "metrics": ["count", "no_such_module:Class"]}
    measured = measuring.run(PROGRAM, {"c": target})
    assert measured.troubles == [
        "metric no_such_module:Class: ModuleNotFoundError: No module named 'no_such_module'"
    ]
    assert measured.calls == {"c": 3}


def test_a_constructor_that_fails_is_given_up(measuring) -> None:
    """It is tried some times: modules may not be ready at first. Not at every call for ever."""
    program = "import work\nfor each in range(500): work.work(each)"
    measured = measured_by(measuring, "ConstructorRaises", program)
    assert measured.stdout == "tried\n" * 10
    assert measured.calls == {"c": 500}


def test_a_recursion_of_its_own_ends_in_the_agent(measuring) -> None:
    """A metric that runs out of frames does not take the program along."""
    measured = measured_by(measuring, "Deep")
    assert measured.calls == {"c": 3}


def test_it_goes_to_every_notifier(measuring, statsd_daemon) -> None:
    """Its series are sent like those of built-in types."""
    metrics = ["theirs:Plain", "theirs:Gauge", "theirs:Counter"]
    target = {"function": "work:work", "metrics": metrics, "notifiers": ["statsd"]}
    statsd = {"type": "statsd", "port": statsd_daemon.port}
    measuring.run(PROGRAM, {"c": target}, statsd=statsd)
    assert statsd_daemon.counters()["c.their_own_sum_c"] == 6
    assert statsd_daemon.gauges()["c.level"] == 3
    assert sorted(statsd_daemon.timers()["c.value"]) == pytest.approx([1, 2, 3], rel=0.01)
