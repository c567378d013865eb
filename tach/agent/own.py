"""The time that calls spend in themselves: without that of the measured calls within them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from tach.agent.distribution import Distribution
    from tach.agent.meter import Ended
    from tach.agent.recorder import Recorder

    class Frame(Protocol):
        """One of `tach.agent.frames`, or its equal in C."""

        caller: str | None
        nested: bool
        within: int

        def resume(self) -> None:
            """It goes on."""

        def pause(self) -> None:
            """It pauses, or has ended."""


OWN = "own"
NESTED = "nested"
WAITING = "waiting"
CALLERS = "by "  # and the name of one
OTHER = "other"
MOST_CALLERS = 100


class Callers:
    """The quantities that count the calls of a recorder by their callers."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def quantity(self, recorder: Recorder, caller: str) -> Distribution:
        """What counts the calls from `caller`: after MOST_CALLERS of them, from all others."""
        if caller not in self._known:
            if len(self._known) >= MOST_CALLERS:
                caller = OTHER
            self._known.add(caller)
        return recorder.duration(f"{CALLERS}{caller}")


class Own:
    """Measures the own time of calls.

    With `callers` also whose they were, which were nested, and how long generators and coroutines
    paused, unless somebody else `counts_waiting`. A call that goes `by_steps` is one of those: its
    `Work` has the frame resumed.
    """

    def __init__(
        self,
        make_frame: Callable[[], Frame],
        callers: bool,
        by_steps: bool,
        counts_waiting: bool = False,
    ) -> None:
        self._counts_waiting = counts_waiting
        self._make_frame = make_frame
        self._callers = Callers() if callers else None
        self._by_steps = by_steps

    def start(self, _args: object, _kwargs: object, _payload: object) -> Any:
        """It begins, and runs until it ends or pauses."""
        frame = self._make_frame()
        if not self._by_steps:
            frame.resume()
        return frame

    def stop(self, started: Any, ended: Ended) -> None:
        """Count what of its time was its own."""
        frame: Frame = started
        frame.pause()
        recorder = ended.recorder
        ran = ended.elapsed if ended.steps is None or not self._by_steps else ended.steps.running
        recorder.duration(OWN).count(max(ran - frame.within, 0))
        if self._callers is not None:
            if frame.nested:
                recorder.duration(NESTED).count(ended.elapsed)
            if ended.steps is not None and not self._counts_waiting:
                paused = ended.elapsed - ended.steps.running
                if paused > 0:
                    recorder.duration(WAITING).count(paused)
            if frame.caller is not None:
                self._callers.quantity(recorder, frame.caller).count(ended.elapsed)
