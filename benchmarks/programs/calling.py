"""Times calls of `subjects`, in turn: calling.py ROUNDS. Prints nanoseconds a call as JSON.

Run under tach, with the `one` of `subjects` measured by one metric type, `three` by three, and
`inflight` by another one too. Each round times every call once, the bare one among them; then tach
is uninstalled, and what the program has kept of a measured function is timed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import subjects

import tach
from tach.agent import probes, proxy
from tach.agent.files import SegmentFile
from tach.agent.recorder import Recorder
from tach.agent.segment import Segment

TURN = 5e-3  # seconds for which each is timed in a round


class Call:
    """A call to be timed: `statement` with `names` in reach. It makes so many `pieces`."""

    def __init__(self, statement: str, pieces: int = 1, **names: Any) -> None:
        # The time that others take from this process is not the call's.
        self._timer = timeit.Timer(statement, timer=time.process_time, globals=names)
        self._pieces = pieces
        number = 1
        while (seconds := self._timer.timeit(number)) < TURN / 4:
            number *= 2
        self._number = int(number * TURN / seconds) or 1

    def nanoseconds(self) -> float:
        """How long one call takes now."""
        seconds = self._timer.timeit(self._number)
        return seconds / self._number / self._pieces * 1e9


def calls(directory: str) -> dict[str, dict[str, Call]]:
    """By name: the call of a function, of a method and more; a segment is in `directory`."""
    subject = subjects.Subject()
    own = {
        name: {
            "function": Call("call()", call=getattr(subjects, name)),
            "method": Call(f"subject.{name}()", subject=subject),
        }
        for name in ("bare", "one", "three", "inflight")
    }
    for name in ("bare", "one"):
        own[name] |= {
            "coroutine": Call(
                "drive(call)",
                subjects.PIECES,
                drive=drive,
                call=getattr(subjects, f"{name}_coroutine"),
            ),
            "step": Call(
                "for _ in call(): pass",
                subjects.PIECES,
                call=getattr(subjects, f"{name}_generator"),
            ),
        }
    for name in ("given", "named", "helped"):
        own[name] = {"function": Call("call('word')", call=getattr(subjects, name))}
    own["helper"] = {"function": Call("call('word')", call=subjects.helper)}
    return {**own, "pure": pair(pure_probes(directory))}


def pure_probes(directory: str) -> Callable[[Any], Any]:
    """A decorator that makes probes written in Python, with a segment there."""
    made = probes.Probes(proxy.object_proxy(), None)
    segment = Segment(SegmentFile(directory, 0), "calling")
    return lambda function: made.counting(function, Recorder(segment, 0, (), print))


async def await_often(call: Any) -> None:
    """Await the coroutine function PIECES times."""
    for _ in range(subjects.PIECES):
        await call()


def drive(call: Any) -> None:
    """As an event loop does it."""
    with suppress(StopIteration):
        await_often(call).send(None)


def pair(decorate: Callable[[Any], Any]) -> dict[str, Call]:
    """Function and method with this decorator."""
    function, subject = subjects.decorated(decorate)
    return {
        "function": Call("call()", call=function),
        "method": Call("subject.call()", subject=subject),
    }


def main(rounds: int) -> None:
    """Time all of them in each round, so that a slow moment of the machine hits all alike."""
    with tempfile.TemporaryDirectory() as directory:
        times = timed(calls(directory), rounds)
    kept = {"bare": {"function": Call("call()", call=subjects.bare)}}
    kept["off"] = {"function": Call("call()", call=subjects.one)}
    tach.uninstall()
    after = timed(kept, rounds)
    json.dump({**times, "off": after["off"], "bare after": after["bare"]}, sys.stdout)


def timed(found: dict[str, dict[str, Call]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """By name and kind, nanoseconds in each round."""
    times: dict[str, dict[str, list[float]]] = {
        name: {kind: [] for kind in kinds} for name, kinds in found.items()
    }
    for _ in range(rounds):
        for name, kinds in found.items():
            for kind, call in kinds.items():
                times[name][kind].append(call.nanoseconds())
    return times


main(int(sys.argv[1]))
