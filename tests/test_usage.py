from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from datetime import datetime, timezone
from typing import Any

import pytest
from event_runs import EventRun

from tach.plan import SpoolPlan
from tach.sender import messages
from tach.sender.spool_queue import SpoolQueue
from tach.sender.usage import GRACE, Usage, begin_of, end_of


def seconds(text: str) -> float:
    """The seconds of the epoch of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


def message(when: str, suffix: str = "end", tenant: Any = "t", duration: float = 1.0) -> bytes:
    """A notification of the event `a.b`."""
    payload: dict[str, Any] = {"tenant_id": tenant, "duration": duration}
    if suffix == "error":
        payload["exception"] = {"class": "Boom"}
    made = json.loads(messages.make(f"a.b.{suffix}", "INFO", "p.h", payload))
    return json.dumps({**made, "timestamp": when}).encode()


def closed(usage: Usage, now: str, oldest: str | None = None) -> list[dict[str, Any]]:
    """The messages of the periods that are over at `now`."""
    out: list[bytes] = []
    usage.close_periods(seconds(now), oldest, out)
    return [json.loads(each) for each in out]


@pytest.mark.parametrize(
    ("period", "when", "begin", "end"),
    [
        ("hour", "2026-11-23 08:43:06", "2026-11-23 08:00:00", "2026-11-23 09:00:00"),
        ("hour", "2026-12-31 23:59:59", "2026-12-31 23:00:00", "2027-01-01 00:00:00"),
        ("day", "2026-11-23 00:00:00", "2026-11-23 00:00:00", "2026-11-24 00:00:00"),
        ("day", "2028-02-28 23:59:59", "2028-02-28 00:00:00", "2028-02-29 00:00:00"),
        ("month", "2026-02-28 23:59:59", "2026-02-01 00:00:00", "2026-03-01 00:00:00"),
        ("month", "2026-12-01 00:00:00", "2026-12-01 00:00:00", "2027-01-01 00:00:00"),
        ("month", "2028-01-31 12:00:00", "2028-01-01 00:00:00", "2028-02-01 00:00:00"),
    ],
)
def test_periods_begin_and_end_exactly(period: str, when: str, begin: str, end: str) -> None:
    """Hours, days and months are those of the calendar, in UTC."""
    found = begin_of(period, datetime.fromisoformat(when))
    assert (str(found), str(end_of(period, found))) == (begin, end)


def test_a_period_is_told_when_it_is_over() -> None:
    """Not before its end and the grace, then once, with the exact boundaries."""
    usage = Usage({"a.b": "hour"})
    usage.add(message("2026-11-23 08:59:59.999999", duration=0.25))
    usage.add(message("2026-11-23 08:00:00.000000", "error", duration=0.5))
    usage.add(message("2026-11-23 09:00:00.000000", duration=4.0))

    assert closed(usage, "2026-11-23 09:00:04.900") == []
    (told,) = closed(usage, "2026-11-23 09:00:05")
    assert closed(usage, "2026-11-23 09:00:06") == []
    assert (told["event_type"], told["priority"], told["publisher_id"]) == (
        "a.b.usage",
        "INFO",
        "p.h",
    )
    assert told["payload"] == {
        "tenant_id": "t",
        "audit_period_beginning": "2026-11-23 08:00:00",
        "audit_period_ending": "2026-11-23 09:00:00",
        "count": 2,
        "errors": 1,
        "duration": 0.75,
        "errors_by_type": {"Boom": 1},
        "tach_version": 1,
    }
    assert GRACE == 5.0
    (later,) = closed(usage, "2026-11-23 10:00:05")
    assert later["payload"]["count"] == 1


def test_a_period_waits_for_events_that_have_not_arrived() -> None:
    """While an event of the period still waits in the spool, its sum is not told."""
    usage = Usage({"a.b": "hour"})
    usage.add(message("2026-11-23 08:10:00"))

    assert closed(usage, "2026-11-23 12:00:00", oldest="2026-11-23 08:59:59.5") == []
    assert len(closed(usage, "2026-11-23 12:00:00", oldest="2026-11-23 09:00:00.0")) == 1


def test_starts_and_other_events_do_not_count() -> None:
    """Only the ends of the events that are summed up."""
    usage = Usage({"a.b": "day"})
    usage.add(message("2026-11-23 08:00:00", "start"))
    usage.add(messages.make("c.d.end", "INFO", "p.h", {}))
    usage.add(messages.make("a.b.usage", "INFO", "p.h", {}))
    assert not usage.has_sums


def test_the_sums_are_those_of_the_events_across_restarts() -> None:
    """Per tenant and day, with a restart after every tenth event."""
    chance = random.Random(3)
    usage = Usage({"a.b": "day"})
    sums: dict[Any, list[float]] = defaultdict(lambda: [0, 0, 0.0])
    for number in range(500):
        tenant = chance.choice(["one", "two", None, 3])
        day, suffix = chance.randrange(20, 24), chance.choice(["start", "end", "end", "error"])
        duration = chance.randrange(1000) / 8
        usage.add(message(f"2026-11-{day} 08:00:00", suffix, tenant, duration))
        if suffix != "start":
            mine = sums[None if tenant is None else str(tenant), f"2026-11-{day} 00:00:00"]
            mine[0] += 1
            mine[1] += suffix == "error"
            mine[2] += duration
        if number % 10 == 0:
            plain, usage = usage.to_plain(), Usage({"a.b": "day"})
            usage.from_plain(plain)

    told = [each["payload"] for each in closed(usage, "2026-12-01 00:00:00")]
    assert {
        (each["tenant_id"], each["audit_period_beginning"]): [
            each["count"],
            each["errors"],
            each["duration"],
        ]
        for each in told
    } == sums


def test_usage_of_runs_and_processes_adds_up(run_tach, tmp_path, tach_run_dir) -> None:
    """Two runs with forked workers; when the hour is over, one message a tenant tells the sums."""
    run = EventRun(tmp_path, tach_run_dir)
    target = {
        "metrics": ["events", "usage"],
        "tenant": "args.context.project_id",
        "period": "hour",
        "event": "shop.order",
    }
    config = run.config(target=target)
    program = run.program(
        """
def work(name):
    for i in range(100):
        try:
            calls.Worker().work(i, calls.Context("r", project_id=f"t{i % 3}"), fail=i % 10 == 0)
        except calls.Boom:
            pass
pids = []
for n in range(3):
    pid = os.fork()
    if pid == 0:
        work(n)
        os._exit(0)
    pids.append(pid)
for pid in pids:
    os.waitpid(pid, 0)
"""
    )
    for _ in range(2):
        done = run_tach(config, program)
        assert (done.returncode, done.stderr) == (0, "")
    ended = [
        each for each in run.messages() if not each["event_type"].endswith((".start", ".usage"))
    ]

    (state,) = run.spool.rglob("state")
    told = [each["payload"] for each in run.messages(".usage")]  # where the hour has just ended
    queue = SpoolQueue(
        str(state.parent), SpoolPlan(), Usage({}), Counter(), lambda: time.time() + 7200
    )
    assert queue.acquire()
    queue.tend()
    offered = [json.loads(item.event.message) for item in queue.offer()]
    queue.release()
    assert {each["event_type"] for each in offered} == {"shop.order.usage"}
    told += [each["payload"] for each in offered]

    assert len(ended) == 600
    for tenant in ("t0", "t1", "t2"):
        mine = [each["payload"] for each in ended if each["payload"]["tenant_id"] == tenant]
        sums = [each for each in told if each["tenant_id"] == tenant]
        assert sum(each["count"] for each in sums) == len(mine)
        assert sum(each["errors"] for each in sums) == sum("exception" in each for each in mine)
        durations = [each["duration"] for each in mine]
        assert sum(each["duration"] for each in sums) == pytest.approx(sum(durations))
