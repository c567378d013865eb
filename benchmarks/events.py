"""What the notifications of a call cost the program, and what they consist of."""

from __future__ import annotations

import posix
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from report import Figure, Goal, Section, figure
from scratch import Scratch

from tach import spool
from tach.agent import paths, plain
from tach.agent.meter import Ended
from tach.agent.notifications import Notifications
from tach.agent.recorder import Recorder
from tach.agent.requests import Requests
from tach.agent.spool import SpoolWriter

CALLS = 2000
ROUNDS = 15
ROTATE_AT = 16 << 20
PAYLOAD = {
    "instance_id": ("args", (0, "instance"), (0, "uuid")),
    "tenant_id": ("args", (0, "context"), (0, "project_id")),
    "reboot_type": ("args", (0, "reboot_type")),
}
HIDE = ("pass", "secret", "token")
MEANING = f"""\
Microseconds that the notifications of a call take, with three values in their payload, until they
are in the spool: the median over {ROUNDS} rounds of {CALLS:,} calls and their middle half. Then
some of the steps."""


def reboot(self: object, context: object, instance: object, reboot_type: str) -> None:
    """What is measured."""


CONTEXT = SimpleNamespace(request_id="req-1", project_id="p1", user_id="u1", is_admin=False)
ARGUMENTS = (
    object(),
    CONTEXT,
    SimpleNamespace(uuid="3f0c4a68-0f0e-4b9e-9d5f-2f6b3a1c7d55"),
    "SOFT",
)


def measure(scratch: Scratch, _port: int) -> Section:
    """Write the notifications of calls into a spool of their own."""
    place = scratch.directory / "events"
    place.mkdir()
    whole = cost(call(place))
    rows = [(".start and .end", whole.text(1))]
    rows += [(name, cost(step).text(1)) for name, step in parts(place).items()]
    goals = [Goal(".start and .end", whole.median, 25, " us")]
    return Section("An evented call", MEANING, ("", "microseconds"), rows, goals)


def cost(step: Callable[[], object]) -> Figure:
    """Microseconds of one step."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            step()
        rounds.append((time.perf_counter() - began) / CALLS * 1e6)
    return figure(rounds)


def call(place: Path) -> Callable[[], None]:
    """What the probe does for the notifications of a call."""
    plan = {
        "spools": {"bus": str(place)},
        "rotate_at": ROTATE_AT,
        "sync": False,
        "publisher_id": "compute.host1",
        "hide": HIDE,
    }
    event = {"event": "compute.instance.reboot", "payload": PAYLOAD, "notifiers": ["bus"]}
    events = Notifications(plan, 1, print).maker(event)(reboot, 1)
    ended = Ended(Recorder(None, 0, (), print), ARGUMENTS, {}, 1000, None)
    return lambda: events.stop(events.start(ARGUMENTS, {}), ended)


def parts(place: Path) -> dict[str, Callable[[], object]]:
    """The steps of one notification."""
    writer = SpoolWriter(str(place), "1-1-0", ROTATE_AT, False, print)
    signature = paths.Signature(reboot, 1)
    lookups = [paths.Lookup(path, signature) for path in PAYLOAD.values()]
    requests, texts = Requests(), plain.Plain(HIDE)
    body = b"x" * 600
    return {
        "a record: checksum": lambda: spool.pack(spool.START, 1, body),
        "a record: checksum and write": lambda: writer.append(spool.START, 1, body),
        "context": lambda: requests.leave(requests.enter(signature, ARGUMENTS, {})[1]),
        "payload": lambda: [texts.json(each.find(ARGUMENTS, {}, None)) for each in lookups],
        "random bytes": lambda: posix.urandom(16).hex(),
    }
