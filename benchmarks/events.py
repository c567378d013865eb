"""What the notifications of a call cost the program, in microseconds, and what they consist of."""

from __future__ import annotations

import os
import posix
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parent.parent))

from tach import spool
from tach.agent import paths, plain
from tach.agent.notifications import Notifications
from tach.agent.requests import Requests
from tach.agent.spool import SpoolWriter

CALLS = 5000
ROUNDS = 7
LIMIT = 25.0  # microseconds for .start and .end together
PAYLOAD = {
    "instance_id": ("args", (0, "instance"), (0, "uuid")),
    "tenant_id": ("args", (0, "context"), (0, "project_id")),
    "reboot_type": ("args", (0, "reboot_type")),
}
HIDE = ("pass", "secret", "token")


def reboot(self: object, context: object, instance: object, reboot_type: str) -> None:
    """What is measured."""


CONTEXT = SimpleNamespace(request_id="req-1", project_id="p1", user_id="u1", is_admin=False)
ARGUMENTS = (
    object(),
    CONTEXT,
    SimpleNamespace(uuid="3f0c4a68-0f0e-4b9e-9d5f-2f6b3a1c7d55"),
    "SOFT",
)


def cost(step: Callable[[], object]) -> float:
    """The least time of one step, in microseconds."""
    best = 1e9
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            step()
        best = min(best, (time.perf_counter() - began) / CALLS * 1e6)
    return best


def main() -> int:
    """Print the table; 1 if a call costs more than LIMIT."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TACH_BENCH_DIR")) as directory:
        plan = {
            "spools": {"bus": directory},
            "rotate_at": 16 << 20,
            "sync": False,
            "publisher_id": "compute.host1",
            "hide": HIDE,
        }
        event = {"event": "compute.instance.reboot", "payload": PAYLOAD, "notifiers": ["bus"]}
        events = Notifications(plan, 1, print).maker(event)(reboot, 1)

        def call() -> None:
            events.end(events.start(ARGUMENTS, {}), 1000, None, None)

        whole = cost(call)
        print(f"{'.start and .end':32} {whole:6.1f} us")
        for name, step in parts(directory).items():
            print(f"{name:32} {cost(step):6.2f} us")
    return int(whole > LIMIT)


def parts(directory: str) -> dict[str, Callable[[], object]]:
    """The steps of one notification."""
    writer = SpoolWriter(directory, "1-1-0", 16 << 20, False, print)
    signature = paths.Signature(reboot, 1)
    lookups = [paths.Lookup(path, signature) for path in PAYLOAD.values()]
    requests, texts = Requests(), plain.Plain(HIDE)
    body = b"x" * 600
    return {
        "    record: checksum": lambda: spool.pack(spool.START, 1, body),
        "    record: checksum and write": lambda: writer.append(spool.START, 1, body),
        "    context": lambda: requests.leave(requests.enter(signature, ARGUMENTS, {})[1]),
        "    payload": lambda: [texts.json(each.find(ARGUMENTS, {}, None)) for each in lookups],
        "    random bytes": lambda: posix.urandom(16).hex(),
    }


if __name__ == "__main__":
    sys.exit(main())
