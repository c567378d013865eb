"""Times yields, steps and calls, one turn for each line of input: yielding.py [eventlet|gevent].

Prints nanoseconds as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import warnings
from collections.abc import Callable

import yielders

NUMBER = 5000


def step_all(number: int) -> None:
    """Run the coroutine as an event loop would."""
    coroutine = yielders.awaits(number)
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        pass


def consume(number: int) -> None:
    """Run the generator."""
    for _ in yielders.generates(number):
        pass


def call(number: int) -> None:
    """Call the function that does nothing."""
    for _ in range(number):
        yielders.nothing()


def contenders() -> dict[str, Callable[[int], None]]:
    """What this program can do `number` times."""
    if not sys.argv[1:]:
        return {"await": step_all, "generator": consume, "call": call}
    warnings.simplefilter("ignore")  # eventlet warns that it is deprecated
    sleep = importlib.import_module(sys.argv[1]).sleep
    return {"yield": lambda number: yielders.yields(sleep, number), "call": call}


def nanoseconds(function: Callable[[int], None]) -> float:
    """How long one takes now. The time that others take from this process is not its own."""
    began = time.process_time()
    function(NUMBER)
    return (time.process_time() - began) / NUMBER * 1e9


found = contenders()
for _line in sys.stdin:
    print(json.dumps({name: nanoseconds(each) for name, each in found.items()}), flush=True)
