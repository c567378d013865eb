from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from measuring import Measured, Measuring

from tach.agent.queued import waited
from tach.config import ConfigErrors, load

NOW = 1_700_000_000.0
Run = Callable[..., Any]


class Watch:
    """Shows one time."""

    def __init__(self, elapsed: Any) -> None:
        self._elapsed = elapsed

    def elapsed(self) -> Any:
        """What it shows."""
        return self._elapsed


class Response:
    """Its `elapsed` is no method, as that of a response of `requests`."""

    elapsed = timedelta(seconds=2)


EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("since", "seconds"),
    [
        (Watch(2), 2.0),
        (Watch(0.25), 0.25),
        (Watch(timedelta(minutes=1)), 60.0),
        (Response(), 2.0),
        (NOW - 3, 3.0),
        (int(NOW) - 3, 3.0),
        ((int(NOW) - 3) * 1000, 3.0),
        ((int(NOW) - 3) * 1_000_000, 3.0),
        ((int(NOW) - 3) * 1_000_000_000, 3.0),
        (str(NOW - 3), 3.0),
        (f" t={(int(NOW) - 3) * 1000}", 3.0),
        (NOW, 0.0),
        (NOW + 0.0005, 0.0),
        ("2023-11-14T22:13:10Z", 10.0),
        ("2023-11-14 22:13:10", 10.0),
        ("2023-11-14T22:13:10.500+00:00", 9.5),
        ("2023-11-15T00:13:10+02:00", 10.0),
        (datetime(2023, 11, 14, 22, 13, 10), 10.0),
        (datetime(2023, 11, 15, 0, 13, 10, tzinfo=EAST), 10.0),
    ],
)
def test_what_tells_since_when(since: Any, seconds: float) -> None:
    """A stopwatch, a datetime, ISO 8601, or a number since 1970 whose size tells its unit."""
    assert waited(since, NOW) == pytest.approx(seconds, abs=1e-5)


@pytest.mark.parametrize(
    ("since", "error", "text"),
    [
        (NOW + 5, ValueError, "it begins in the future: do the clocks of the two machines differ?"),
        (Watch(-1), ValueError, "it begins in the future: "),
        (Watch(float("nan")), ValueError, "it began more than three years ago"),
        (NOW - 2e8, ValueError, "it began more than three years ago"),
        (0, ValueError, "it is a number, but no time since 1970"),
        (-NOW, ValueError, "it is a number, but no time since 1970"),
        (1e30, ValueError, "it is a number, but no time since 1970"),
        (float("nan"), ValueError, "it is a number, but no time since 1970"),
        (True, ValueError, "it is a number, but no time since 1970"),
        ("s3cret", ValueError, "it is a text, but neither a number nor ISO 8601"),
        (b"1700000000", TypeError, "bytes is no time stamp"),
        ([], TypeError, ""),
        (object(), TypeError, ""),
    ],
)
def test_what_tells_nothing(since: Any, error: type[Exception], text: str) -> None:
    """Anything else is refused, and a text is not repeated: it may be a secret."""
    with pytest.raises(error) as raised:
        waited(since, NOW)

    assert text in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.fixture
def measuring(run_tach: Run, tmp_path: Path, tach_run_dir: Path) -> Measuring:
    """Runs small programs."""
    return Measuring(run_tach, tmp_path, tach_run_dir)


def measured(measuring: Measuring, calls: str, **target: Any) -> Measured:
    """A program that makes the `calls`, of which `jobs:run` is measured."""
    measuring.write(
        jobs="""
import time

class Watch:
    def __init__(self, began):
        self.began = began
    def elapsed(self):
        return time.monotonic() - self.began

def run(job=None, fail=False, **headers):
    time.sleep(0.05)
    if fail:
        raise KeyError("job")
    return headers

class Job:
    def __init__(self, **attributes):
        vars(self).update(attributes)

    async def work(self):
        time.sleep(0.05)
"""
    )
    program = f"import asyncio, jobs, time\nfrom jobs import Job, Watch\n{calls}\n"
    return measuring.run(program, {"job": {"function": "jobs:run", **target}})


def test_the_time_before_a_call_and_its_own_and_both(measuring: Measuring) -> None:
    """`queued:` adds three metrics: before the call, the call, and the sum, call by call."""
    calls = "jobs.run({'sent': time.time() - 3})\njobs.run({'sent': time.time() - 1})"

    series = measured(measuring, calls, queued="args.job.sent").series["job"]

    assert series["calls"] == 2
    assert series["queued"]["count"] == series["service"]["count"] == series["total"]["count"] == 2
    assert series["queued"]["mean"] == pytest.approx(2000, abs=500)
    assert series["queued"]["max"] == pytest.approx(3000, abs=500)
    assert series["service"] == pytest.approx(
        {**series["service"], "mean": series["mean_ms"], "max": series["max_ms"]}
    )
    mean = series["queued"]["mean"] + series["service"]["mean"]
    assert series["total"]["mean"] == pytest.approx(mean, abs=0.001)


def test_a_call_that_raises_has_waited_too(measuring: Measuring) -> None:
    """How a call ends does not matter."""
    calls = """
try:
    jobs.run(Job(watch=Watch(time.monotonic() - 2)), fail=True)
except KeyError:
    pass"""

    series = measured(measuring, calls, queued="args.job.watch").series["job"]

    assert series["errors"] == 1
    assert series["queued"]["mean"] == pytest.approx(2000, abs=500)


def test_a_coroutine_has_waited_until_its_first_step(measuring: Measuring) -> None:
    """Not until it was made."""
    calls = """
async def main():
    work = Job(sent=time.time()).work()
    time.sleep(0.3)
    await work
asyncio.run(main())"""

    target = {"function": "jobs:Job.work", "queued": "self.sent"}
    series = measured(measuring, calls, **target).series["job"]

    assert 300 <= series["queued"]["mean"] < 400
    assert 50 <= series["service"]["mean"] < 150


def test_the_first_that_is_there_counts(measuring: Measuring) -> None:
    """Of several paths those that lead nowhere, or to None, are passed over."""
    calls = """
now = time.time()
jobs.run({"eta": None, "sent": now - 1})
jobs.run({"eta": now - 5, "sent": now - 9})
jobs.run({})"""

    result = measured(measuring, calls, queued=["args.job.eta", "args.job.sent"])

    series = result.series["job"]
    assert (series["calls"], series["queued"]["count"], series["total"]["count"]) == (3, 2, 2)
    assert series["queued"]["mean"] == pytest.approx(3000, abs=500)
    assert series["queued"]["max"] == pytest.approx(5000, abs=500)
    assert result.troubles == []


def test_what_is_wrong_with_a_stamp_is_told_once(measuring: Measuring) -> None:
    """The program runs as ever, the call counts, and the report says why it has no time."""
    calls = """
class Broken:
    def elapsed(self):
        raise RuntimeError("not started")
for sent in time.time() + 60, time.time() + 90, "soon", Broken():
    assert jobs.run({"sent": sent}, a=1) == {"a": 1}"""

    result = measured(measuring, calls, queued="args.job.sent")

    assert result.series["job"]["calls"] == 4
    assert {"queued", "total"}.isdisjoint(result.series["job"])
    assert sorted(each.partition("found: ")[2] for each in result.troubles) == [
        "RuntimeError: not started",
        "ValueError: it begins in the future: do the clocks of the two machines differ?",
        "ValueError: it is a text, but neither a number nor ISO 8601",
    ]


def test_times_that_are_too_long_to_add_up_do_not_reach_the_program(measuring: Measuring) -> None:
    """A sum that overflows is a trouble, and no exception."""
    calls = "for _ in range(400): jobs.run(Job(watch=Watch(time.monotonic() - 9.9e7)))"
    calls = (
        "jobs.time = type('', (), {'sleep': lambda _: 0, 'monotonic': time.monotonic})\n" + calls
    )

    result = measured(measuring, calls, queued="args.job.watch")

    assert result.series["job"]["calls"] == 400
    [trouble] = result.troubles
    assert "the times in the queue are too long to be added up" in trouble


def test_the_metrics_of_the_target_say_which(measuring: Measuring) -> None:
    """A target that names one of the three gets no more."""
    calls = "jobs.run({'sent': time.time() - 3})"

    series = measured(measuring, calls, queued="args.job.sent", metrics=["queued"]).series["job"]

    assert series["queued"]["count"] == 1
    assert {"service", "total"}.isdisjoint(series)


def test_a_stamp_is_the_time_in_a_mapping_of_the_call(measuring: Measuring) -> None:
    """In microseconds, anew with each call, and before it begins."""
    calls = """
headers, before = {"a": 1, "sent_at": 0}, time.time()
print(jobs.run(headers=headers), type(headers["sent_at"]) is int)
first = headers["sent_at"]
jobs.run(Job(), headers=headers)
print(0 <= first / 1e6 - before < 30, first < headers["sent_at"])"""

    result = measured(measuring, calls, stamp="kwargs.headers[sent_at]")

    given, *checks = result.stdout.replace("\n", " ").rpartition("}")
    assert checks == ["}", " True True True "]
    assert given.startswith("{'headers': {'a': 1, 'sent_at': 1")
    assert result.series["job"]["calls"] == 2
    assert result.troubles == []


def test_what_cannot_be_stamped_is_told(measuring: Measuring) -> None:
    """The call goes on as ever, and the report says what was missing."""
    calls = """
job = Job(headers={})
jobs.run(job)
print(list(job.headers), jobs.run(Job()), jobs.run(Job(headers=())))"""

    result = measured(measuring, calls, stamp="args.job.headers.sent_at")

    assert result.stdout == "['sent_at'] {} {}\n"
    assert sorted(each.partition("stamped: ")[2] for each in result.troubles) == [
        "TypeError: 'tuple' object does not support item assignment",
        "no headers",
    ]


def errors_of(keys: str, directory: Path) -> list[str]:
    """What is wrong with a target that has these keys."""
    file = directory / "tach.yaml"
    file.write_text(f"targets: {{a: {{function: 'p:f', {keys}}}}}")
    with pytest.raises(ConfigErrors) as raised:
        load(str(file))
    return [each.partition("tach.yaml:")[2] for each in raised.value.errors]


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        (
            "queued: message.sent",
            "1: targets.a.queued: malformed path 'message.sent'; known: args, kwargs, self, result",
        ),
        ("queued: []", "1: targets.a.queued: an empty list of paths; leave the key out"),
        (
            "queued: [args.a, result.b]",
            "1: targets.a.queued: there is no result yet when the call begins; "
            "take it from args, kwargs or self",
        ),
        (
            "metrics: [queued]",
            "1: targets.a: the metric queued needs to know since when; "
            "add queued: args.message.timestamp",
        ),
        (
            "metrics: [total, service]",
            "1: targets.a: the metric total needs to know since when; "
            "add queued: args.message.timestamp",
        ),
        (
            "queued: args.a, increment: 1",
            "1: targets.a: the metrics total and increment both report .total; "
            "make two targets of it",
        ),
        (
            "stamp: kwargs.headers",
            "1: targets.a.stamp: a stamp needs a mapping of the call, and the key in it; "
            "write it as args.headers[sent_at]",
        ),
        (
            "stamp: result.headers.sent_at",
            "1: targets.a.stamp: there is no result yet when the call begins; "
            "take it from args, kwargs or self",
        ),
    ],
)
def test_an_error_says_where_and_what_and_what_to_do(keys: str, error: str, tmp_path: Path) -> None:
    """One mistake makes one error."""
    assert errors_of(keys, tmp_path) == [error]
