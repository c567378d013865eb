"""docs/billing.md: what it promises, shown with its example and a real RabbitMQ."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pages
import pytest
from processes import wait_for
from rabbitmq_broker import RabbitmqBroker, require_rabbitmq

from tach.sender import messages
from tach.sender.usage import Usage

EXAMPLE = pages.ROOT / "examples" / "billing"
KILLED = """
import os, signal, shop
class Deadly(int):
    def __gt__(self, other): os.kill(os.getpid(), signal.SIGKILL)
till = shop.Till()
for number in range(5): till.charge(shop.Request(number, "north"), 10, "4000 0000 0000 0002")
till.charge(shop.Request(5, "north"), Deadly(7), "4000 0000 0000 0002")
"""
NOBODY = "amqp://127.0.0.1:1//"


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitmqBroker]:
    """One broker for all tests, as it takes long to start."""
    require_rabbitmq()
    with RabbitmqBroker() as running:
        yield running


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The consumer of the example."""
    import importlib

    monkeypatch.syspath_prepend(str(EXAMPLE))
    return importlib.import_module("verify")


def ledger_of(verify: ModuleType, bodies: list[dict[str, Any]]) -> Any:
    """What the consumer makes of these notifications."""
    ledger = verify.Ledger()
    for each in bodies:
        ledger.add(each)
    return ledger


def test_a_killed_program_and_a_bus_that_was_away(
    run_tach: Any, verify: ModuleType, broker: RabbitmqBroker, tmp_path: Path, tach_run_dir: Path
) -> None:
    """The next run tells it all, the call that was cut short too; no card is on the bus."""
    config = EXAMPLE / "tach.yaml"
    spool = {"SHOP_SPOOL": str(tmp_path / "spool")}
    killed = run_tach(config, "-c", KILLED, cwd=EXAMPLE, env={**spool, "BUS_URL": NOBODY})
    assert killed.returncode == -signal.SIGKILL
    wait_for(lambda: not list(tach_run_dir.iterdir()), 30, "the end of the run")
    assert list((tmp_path / "spool").rglob("*.spool"))

    done = run_tach(config, "shop.py", cwd=EXAMPLE, env={**spool, "BUS_URL": broker.url})
    assert (done.returncode, done.stdout) == (0, "12 orders, 2 refused\n")
    wait_for(lambda: not list(tach_run_dir.iterdir()), 30, "the end of the run")
    received = list(verify.received(broker.url))
    ledger = ledger_of(verify, received)

    calls = [each for each in received if each["event_type"].startswith("shop.order.charge.")]
    ends = [each for each in calls if each["event_type"].endswith((".end", ".error"))]
    assert (len(ends), ledger.unpaired(), ledger.twice) == (18, set(), 0)
    unfinished = [each["payload"] for each in ends if each["payload"].get("unfinished")]
    assert [each["exception"]["class"] for each in unfinished] == ["ProcessDied"]
    assert "4000 0000 0000 0002" not in json.dumps(calls)
    assert_as_on_the_page(next(each for each in ends if each["event_type"].endswith(".end")))


def assert_as_on_the_page(message: dict[str, Any]) -> None:
    """The page shows a message with just these members."""
    (block,) = pages.blocks("json", page=pages.ROOT / "docs" / "billing.md")
    shown = json.loads(block.text)
    assert shown.keys() == message.keys()
    assert sorted(shown["payload"]) == sorted(message["payload"])


def event(kind: str, number: int, **payload: Any) -> dict[str, Any]:
    """A notification of call `number`, which began in that second."""
    began = f"2026-11-23 08:00:{number:02}.000000"
    if kind != "start":
        payload |= {"started_at": began, "tenant_id": "north", "duration": 0.5}
    context = {"_context_request_id": f"req-{number}"}
    priority = "ERROR" if kind == "error" else "INFO"
    made = messages.make(f"a.b.{kind}", priority, "p.h", payload, context)
    return {**json.loads(made), "timestamp": began}


def test_the_consumer_finds_what_is_missing(verify: ModuleType) -> None:
    """Starts without an end, ends without a start, repetitions, and what was dropped."""
    pair = [event("start", 1), event("end", 1)]
    failed = [event("start", 2), event("error", 2)]
    whole = ledger_of(verify, [*pair, *failed, pair[1]])
    assert (whole.unpaired(), whole.twice) == (set(), 1)

    dropped = json.loads(messages.make("tach.events.dropped", "ERROR", "p.h", {"count": 3}))
    holes = ledger_of(verify, [pair[0], failed[1], dropped])
    assert {request for _, request, _ in holes.unpaired()} == {"req-1", "req-2"}
    assert holes.dropped == 3


def test_the_consumer_compares_usage_with_the_events(verify: ModuleType) -> None:
    """What tach's own sums say is right; without one of the events they are not."""
    ends = [event("end", number) for number in range(5)] + [event("error", 5)]
    usage = Usage({"a.b": "hour"})
    for each in ends:
        usage.add(json.dumps(each).encode())
    told: list[bytes] = []
    usage.close_periods(2e9, None, told)
    (sums,) = map(json.loads, told)

    assert (sums["payload"]["count"], sums["payload"]["errors"]) == (6, 1)
    assert ledger_of(verify, [*ends, sums]).wrong_usage() == []
    assert ledger_of(verify, [*ends[1:], sums]).wrong_usage() == [sums]
