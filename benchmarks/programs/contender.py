"""Times calls that are measured in one way, and bare ones: contender.py WAY PORT.

First it prints as JSON which kinds of functions that way measures, by whether it has noticed how
long one of them lasted. Then, for each line of its input, nanoseconds: {kind: [measured, bare]}.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
import time
import timeit
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

import kinds
from ways import WAYS, Way

TURN = 3e-3  # seconds for which each is timed in a round
REPEATS = 200
STATEMENTS = {
    "function": "function()",
    "method": "subject.method()",
    "coroutine": "repeat(coroutine)",
    "pause": "drive(await_it(pausing))",
    "step": "for _ in generator(): pass",
}
PIECES = {"coroutine": REPEATS, "pause": len(kinds.STEPS), "step": len(kinds.STEPS)}
LASTING = {
    "function": "lasting_function()",
    "method": "subject.lasting_method()",
    "coroutine": "drive(await_it(lasting_coroutine))",
    "pause": "drive(await_it(lasting_coroutine))",
    "step": "for _ in lasting_generator(): pass",
}


def drive(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run it as an event loop would."""
    with contextlib.suppress(StopIteration):
        while True:
            coroutine.send(None)


async def await_it(function: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Stand between the function and the event loop, as those of a program mostly do."""
    await function()


def repeat(function: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Run a coroutine that awaits one of the function REPEATS times."""

    async def await_them() -> None:
        for _ in range(REPEATS):
            await function()

    drive(await_them())


DRIVERS = {"drive": drive, "await_it": await_it, "repeat": repeat}


class Timed:
    """The functions of one kind in the module, measured in that way, and how long each takes."""

    def __init__(self, kind: str, module: ModuleType, way: Way, clock: Callable[[], float]) -> None:
        names = {**vars(module), **DRIVERS}
        self._way = way
        self._timer = timeit.Timer(STATEMENTS[kind], timer=clock, globals=names)
        self._pieces = PIECES.get(kind, 1)
        calls = REPEATS if kind == "coroutine" else 1
        self._most = way.most // calls or sys.maxsize
        self._number = self._enough()

    def _enough(self) -> int:
        """How often the statement fits into a turn."""
        number = 1
        while (seconds := self._time(number)) < TURN / 4:
            number *= 2
        return int(number * TURN / seconds) or 1

    def _time(self, number: int) -> float:
        """Seconds of so many statements."""
        seconds = 0.0
        while number:
            part = min(number, self._most)
            with self._way.within():
                seconds += self._timer.timeit(part)
            number -= part
        return seconds

    def nanoseconds(self) -> float:
        """What one call, pause or step takes now."""
        return self._time(self._number) / self._number / self._pieces * 1e9


def copy_of(module: ModuleType) -> ModuleType:
    """The module once more, by a name that nobody measures."""
    spec = importlib.util.spec_from_file_location("bare", module.__file__)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy


def decorate(way: Way) -> None:
    """Have all functions of `kinds` measured."""
    places = [(kinds, name) for name in kinds.FUNCTIONS]
    for place, name in [*places, *((kinds.Subject, name) for name in kinds.METHODS)]:
        setattr(place, name, way.decorate(getattr(place, name)))


def is_measured(kind: str, way: Way) -> bool:
    """Whether the way notices how long a function of that kind lasts."""
    if not way.measures:
        return True
    before = way.recorded()
    with way.within():
        exec(LASTING[kind], {**vars(kinds), **DRIVERS})
    enough = 0.9 * kinds.LASTS  # some round
    deadline = time.monotonic() + way.patience
    while not (noticed := way.recorded() - before > enough) and time.monotonic() < deadline:
        time.sleep(0.05)
    return noticed


def main(name: str, port: int) -> None:
    """Time one turn of each kind for each line."""
    bare = copy_of(kinds)
    way, nothing = WAYS[name](port), Way(port)
    way.listen()
    decorate(way)
    found = {kind: is_measured(kind, way) for kind in STATEMENTS}
    print(json.dumps(found), flush=True)
    # What a way does in threads of its own counts as well; the bare call has none.
    timed = {
        kind: (
            Timed(kind, kinds, way, time.process_time),
            Timed(kind, bare, nothing, time.thread_time),
        )
        for kind, measured in found.items()
        if measured
    }
    for _line in sys.stdin:
        times = {kind: [each.nanoseconds() for each in pair] for kind, pair in timed.items()}
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
