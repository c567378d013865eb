"""What the notifications of one process share: its spools and the requests its calls belong to."""

from __future__ import annotations

from tach.agent.spool import SpoolWriter, process_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tach.agent.events import Events
    from tach.agent.requests import Requests


class Notifications:
    """`plan` holds: spools (notifier -> directory), rotate_at (bytes), sync, publisher_id, hide."""

    def __init__(
        self, plan: dict[str, Any], start_ticks: int, on_trouble: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._on_trouble = on_trouble
        self._requests: Requests | None = None
        process = process_name(start_ticks)
        self._spools = {
            notifier: SpoolWriter(directory, process, plan["rotate_at"], plan["sync"], on_trouble)
            for notifier, directory in plan["spools"].items()
        }

    def reserve(self) -> None:
        """Create the spool files now, for a process that may give up the right to."""
        for writer in self._spools.values():
            writer.reserve()

    def after_fork(self, start_ticks: int) -> None:
        """Go on in the child, in files of its own."""
        process = process_name(start_ticks)
        for writer in self._spools.values():
            writer.after_fork(process)

    def maker(self, event: dict[str, Any]) -> Callable[[Callable[..., Any], int], Events]:
        """What makes the `Events` of a target: from the function, and how many of its arguments are
        self or cls. `event` holds: event, payload (name -> path), notifiers."""
        # imported with the first target: what they import is not for the start of every program
        from tach.agent.events import Events
        from tach.agent.requests import Requests

        requests = self._requests = self._requests or Requests()
        spools = [self._spools[notifier] for notifier in event["notifiers"]]
        plan = {**self._plan, **event}

        def make(function: Callable[..., Any], skip: int) -> Events:
            return Events(plan, function, skip, spools, requests, self._on_trouble)

        return make
