"""A signal handler of the program may raise something at any moment, also inside the agent.

The interpreter runs handlers when a function begins, when one written in C returns, and at
backward jumps. `sys.monitoring` tells of these, and something is raised at each in turn; but for
the jumps: what is raised there passes by handlers of exceptions, which the program's does not.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest
from recording import Recording

from tach import agent, layout
from tach.agent import green, requests
from tach.agent.meters import Meters
from tach.agent.notifications import Notifications
from tach.agent.patching import Patcher
from tach.agent.recorder import Recorder

if sys.version_info < (3, 12):
    pytest.skip("sys.monitoring is new in Python 3.12", allow_module_level=True)

HERE = os.path.dirname(agent.__file__)
RUNNING = (layout.E_ACTIVE, layout.E_TAKEN, layout.E_CROWD, layout.E_CROWD_STARTS)
monitoring: Any = sys.monitoring
events: Any = monitoring.events
TOOL = 4


class Interrupt(BaseException):
    """What the program's signal handler raises."""


class Interruptions:
    """Raises Interrupt at the moment number `at` of those in which the agent runs."""

    def __init__(self) -> None:
        self.at = 0
        self.where = ""
        self.dropped = False  # by the interpreter, which only says so
        self._moment = 0

    def __enter__(self) -> Interruptions:
        monitoring.use_tool_id(TOOL, "interruptions")
        monitoring.register_callback(TOOL, events.PY_START, self._at)
        monitoring.register_callback(TOOL, events.C_RETURN, self._at)
        return self

    def __exit__(self, *_: object) -> None:
        monitoring.free_tool_id(TOOL)

    def begin(self, at: int) -> None:
        """From now on, until `end`."""
        self.at, self.where, self._moment, self.dropped = at, "", 0, False
        monitoring.set_events(TOOL, events.PY_START | events.CALL)

    def end(self) -> None:
        """Nothing is raised any more."""
        monitoring.set_events(TOOL, 0)

    def _at(self, code: CodeType, offset: int, *_: object) -> Any:
        if not code.co_filename.startswith((HERE, "<tach,")):
            return None
        self._moment += 1
        if self._moment == self.at:
            self.dropped = _is_finalizer(sys._getframe(1))
            self.where = f"{Path(code.co_filename).name}: {code.co_qualname} +{offset}"
            raise Interrupt
        return None


def _is_finalizer(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def function(fails: bool) -> int:
    """Returns or raises."""
    if fails:
        raise LookupError
    return 1


def generator(fails: bool) -> Any:
    """The same in two steps."""
    yield function(False)
    return function(fails)


async def coroutine(fails: bool) -> Any:
    """The same in two steps."""
    await Pause()
    return function(fails)


class Pause:
    """Pauses once."""

    def __await__(self) -> Any:
        yield


def finish(call: Callable[[bool], Any], fails: bool) -> Any:
    """What the call comes to."""
    made = call(fails)
    try:
        while hasattr(made, "send"):
            made.send(None)
    except StopIteration as end:
        return end.value
    return made


NOTIFICATIONS = {"rotate_at": 1 << 20, "sync": False, "publisher_id": "here", "hide": ()}
EVENT = {"event": "thing.do", "payload": {"fails": ("args", (1, 0))}, "notifiers": ["bus"]}
OWN = {"callers": False}
MEASURED: dict[str, dict[str, Any]] = {
    "counted": {},
    "inflight": {"inflight": True},
    "outermost": {"outermost": True, "inflight": True},
    "own": {"own": OWN, "inflight": True},
    "greenthreads": {"yielding": ["running", "waiting", "yields", "max_run", "cpu"]},
    "named": {"template": ["a.", ("args", (1, 0))], "max_series": 10, "inflight": True},
    "named at its end": {"template": ["a.", ("result",)], "max_series": 10, "inflight": True},
    "valued": {"value": (("result",), False), "inflight": True},
    "told": {"event": EVENT, "inflight": True},
    "all": {
        "inflight": True,
        "outermost": True,
        "own": OWN,
        "value": (("result",), False),
        "yielding": ["running", "yields"],
    },
}


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("implementation", ["compiled", "pure"])
@pytest.mark.parametrize("measured", MEASURED)
@pytest.mark.parametrize("target", [function, generator, coroutine])
@pytest.mark.parametrize("fails", [False, True], ids=["returns", "fails"])
def test_nothing_is_left_behind(
    fails: bool,
    target: Callable[[bool], Any],
    measured: str,
    implementation: str,
    tmp_path: Path,
) -> None:
    """The program gets what its handler has raised, and after that all is as before.

    No signal is blocked, nothing is in flight, no call seems to be around the later ones, which
    are counted one by one.
    """
    if target is not function and "outermost" in MEASURED[measured]:
        pytest.skip("is not for what pauses")
    copy_context().run(_interrupt, Recording(tmp_path, implementation), target, measured, fails)


def _interrupt(
    recording: Recording, target: Callable[[bool], Any], measured: str, fails: bool
) -> None:
    """Call the target, interrupted at each moment in turn."""
    module = ModuleType("module")
    vars(module)["target"] = target
    notifications = Notifications(
        {**NOTIFICATIONS, "spools": {"bus": str(recording.directory)}}, 1, recording.troubles.append
    )
    meters = Meters(recording.segment, lambda: notifications, recording.troubles.append, print)
    plan = {"index": 0, "name": "t", "qualname": "target", "ignore": (), **MEASURED[measured]}
    Patcher(recording.proxy, recording.probes).patch(module, "target", meters.meter(plan))
    call = module.target
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    for each in (False, True):  # the series have begun
        with suppress(LookupError):
            finish(call, each)
    before, moment = counted(meters), 0
    with Interruptions() as interruptions:
        while True:
            moment += 1
            interruptions.begin(moment)
            try:
                outcome: Any = finish(call, fails)
            except (Interrupt, LookupError) as error:
                outcome = type(error)
            finally:
                interruptions.end()
            where = interruptions.where
            expected = (
                Interrupt if where and not interruptions.dropped else LookupError if fails else 1
            )
            assert outcome is expected or outcome == expected, where
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask, where
            assert requests.current.get() is None, where
            assert green.watched() == 0, where
            for recorder in recorders(meters):
                words: Any = recorder.words
                assert [words[each] for each in RUNNING] == [0] * 4, where
            after = counted(meters)
            assert after - before in ((0, 1) if where else (1,)), where
            for _ in range(3):
                finish(call, False)
            before = counted(meters)
            assert before - after == 3, where
            if not where:
                break
    assert recording.troubles == []


def recorders(meters: Meters) -> list[Recorder]:
    """Those in which anything has been counted."""
    found = [each.recorder for each in meters._meters.values()]
    for table in meters._tables.values():
        found += table._recorders.values()
    return [each for each in found if each.words is not None]


def counted(meters: Meters) -> int:
    """How many calls are in the histograms."""
    blocks: dict[int, Any] = {
        id(block): block for each in recorders(meters) for block in each.blocks if block is not None
    }
    return sum(sum(each) for each in blocks.values())
