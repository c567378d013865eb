"""Times calls of `subjects`, in turn: contenders.py ROUNDS. Prints nanoseconds a call as JSON.

Run under tach, with `subjects:one` and `Subject.one` measured by one metric type and `three` by
three. Each round times every contender once, the bare call among them.
"""

from __future__ import annotations

import cProfile
import json
import socket
import sys
import time
import timeit
from collections.abc import Callable
from typing import Any

import prometheus_client
import statsd
import subjects
import wrapt

TURN_NS = 5e6  # how long a contender is timed in each round


def silent_daemon() -> statsd.StatsClient:
    """A client of a UDP socket that nobody reads; the socket lives as long as the client."""
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind(("127.0.0.1", 0))
    client = statsd.StatsClient("127.0.0.1", sink.getsockname()[1])
    client.sink = sink
    return client


def pass_on(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """The wrapper that does nothing."""
    return wrapped(*args, **kwargs)


class Contender:
    """A call to be timed: `statement` with `names` in reach, within `around` if given."""

    def __init__(self, statement: str, around: Any = None, **names: Any) -> None:
        # The time that others take from this process is not the call's.
        self._timer = timeit.Timer(statement, timer=time.process_time, globals=names)
        self._around = around
        number, seconds = self._timer.autorange()
        self._number = int(number * TURN_NS / 1e9 / seconds)

    def nanoseconds(self) -> float:
        """How long one call takes now."""
        if self._around is not None:
            self._around.enable()
        seconds = self._timer.timeit(self._number)
        if self._around is not None:
            self._around.disable()
        return seconds / self._number * 1e9


def contenders() -> dict[str, dict[str, Contender]]:
    """By name: the call of a function, and of a method."""
    subject = subjects.Subject()
    decorators: dict[str, Callable[[Any], Any]] = {
        "wrapt": lambda function: wrapt.FunctionWrapper(function, pass_on),
        "prometheus": prometheus_client.Histogram("calls", "Calls").time(),
        "statsd": silent_daemon().timer("calls"),
    }
    own = {
        name: {
            "function": Contender("call()", call=getattr(subjects, name)),
            "method": Contender(f"subject.{name}()", subject=subject),
        }
        for name in ("bare", "one", "three")
    }
    profile = cProfile.Profile()
    profiled = {
        "function": Contender("call()", around=profile, call=subjects.bare),
        "method": Contender("subject.bare()", around=profile, subject=subject),
    }
    return {**own, "cprofile": profiled, **{name: pair(d) for name, d in decorators.items()}}


def pair(decorate: Callable[[Any], Any]) -> dict[str, Contender]:
    """Function and method with this decorator."""
    function, subject = subjects.decorated(decorate)
    return {
        "function": Contender("call()", call=function),
        "method": Contender("subject.call()", subject=subject),
    }


def main(rounds: int) -> None:
    """Time all of them in each round, so that a slow moment of the machine hits all alike."""
    found = contenders()
    times: dict[str, dict[str, list[float]]] = {
        name: {kind: [] for kind in kinds} for name, kinds in found.items()
    }
    for _ in range(rounds):
        for name, kinds in found.items():
            for kind, contender in kinds.items():
                times[name][kind].append(contender.nanoseconds())
    json.dump(times, sys.stdout)


main(int(sys.argv[1]))
