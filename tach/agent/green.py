"""How long a greenthread has run, and how long it has been switched out, during a call.

A greenthread of eventlet or gevent yields by calling its hub's `switch`, which is wrapped: that is
cheaper than greenlet's trace function, of which each thread has but one for everybody. Only
greenlets in which a measured call runs are looked after. Nothing is stored in them, nor do we hold
them: one that is dropped in the middle of a call is to go as it would without us.
"""

from __future__ import annotations

import posix
import sys

from tach.agent import probes
from tach.agent.clock import monotonic_ns, thread_time_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from tach.agent.meter import Ended

# The modules of hubs, and their class.
HUBS = {"eventlet.hubs.hub": "BaseHub", "gevent.hub": "Hub"}
_EVENTLET, _GEVENT = HUBS
_wrapped: set[Any] = set()  # classes of hubs


class Switches:
    """What has happened to one greenlet since a measured call in it began; nanoseconds.

    A hub's wrapper keeps `left`, `out` and `pauses` itself since calls cost, and if it has to be
    `exact`, calls the methods.
    """

    __slots__ = (
        "cpu",
        "exact",
        "key",
        "left",
        "left_cpu",
        "out",
        "pauses",
        "resumed",
        "timed",
        "watches",
        "with_cpu",
    )

    def __init__(self, key: int) -> None:
        self.key = key
        self.watches = 0  # what runs in it: calls, steps of calls
        self.left = 0  # when it was last switched out
        self.out = 0  # how long it has been switched out, in all
        self.pauses = 0  # how often it was switched out
        self.exact = self.with_cpu = False
        self.timed: list[Watch] = []  # those that want to know of stretches
        self.resumed = 0  # when it last came back
        self.cpu = 0  # what its thread has used while it was out
        self.left_cpu = 0

    def leave(self) -> None:
        """It has just been switched out."""
        for each in self.timed:
            each.longest = max(each.longest, self.left - max(each.began, self.resumed))
        if self.with_cpu:
            self.left_cpu = thread_time_ns()

    def come_back(self) -> None:
        """It runs again."""
        self.resumed = monotonic_ns()
        if self.with_cpu:
            self.cpu += thread_time_ns() - self.left_cpu


# Of greenlets in which something is watched, by id. An id is that of another one only when this
# one is gone, and with it what ran in it.
_switches: dict[int, Switches] = {}


def _after_fork() -> None:
    """What runs in the child is the parent's to measure."""
    _switches.clear()
    compiled = probes.compiled()
    if compiled is not None:
        compiled.forget_greenlets()


posix.register_at_fork(after_in_child=_after_fork)


class Watch:
    """Watches the greenlet, in which it is made, from now until `end`: its frame is there then.

    After that: how long it was switched out and how often, what its thread used meanwhile, and its
    longest stretch; nanoseconds.
    """

    __slots__ = ("began", "cpu", "longest", "out", "pauses", "switches")

    def __init__(self, greenlet: Any, cpu: bool, stretches: bool) -> None:
        key = id(greenlet)
        switches = _switches.get(key)
        if switches is None:
            switches = _switches[key] = Switches(key)
        self.switches = switches
        self.out = switches.out
        self.pauses = switches.pauses
        self.cpu = switches.cpu
        self.began = self.longest = 0
        if cpu:
            switches.exact = switches.with_cpu = True
        if stretches:
            switches.exact = True
            self.began = monotonic_ns()
            switches.timed.append(self)
        switches.watches += 1

    def end(self) -> None:
        """It is over."""
        switches = self.switches
        switches.watches -= 1
        if not switches.watches and _switches.get(switches.key) is switches:
            del _switches[switches.key]
        self.out = switches.out - self.out
        self.pauses = switches.pauses - self.pauses
        self.cpu = switches.cpu - self.cpu
        if self.began:
            switches.timed.remove(self)
            self.longest = max(self.longest, monotonic_ns() - max(self.began, switches.resumed))


def watch(cpu: bool, stretches: bool) -> Watch | None:
    """Watch the greenlet that runs, in a program that has greenthreads."""
    modules = sys.modules
    if _EVENTLET not in modules and _GEVENT not in modules:
        return None
    greenlet = modules.get("greenlet")
    if greenlet is None:
        return None
    compiled = probes.compiled()
    make: Any = Watch if compiled is None else compiled.Watch
    found: Watch = make(greenlet.getcurrent(), cpu, stretches)
    return found


def watched() -> int:
    """In how many greenlets something is watched."""
    compiled = probes.compiled()
    return len(_switches) + (0 if compiled is None else compiled.watched_greenlets())


class Yielding:
    """Measures of a call how long it ran and waited, how often it paused, its longest stretch.

    `wanted` are the quantities asked for: running, waiting, yields, max_run, and cpu: the processor
    time of its thread, without that of others who ran while it waited. A call that goes `by_steps`
    may go on in other greenlets: its steps are watched.
    """

    def __init__(self, wanted: frozenset[str], by_steps: bool) -> None:
        self._by_steps = by_steps
        self._running = "running" in wanted
        self._waiting = "waiting" in wanted
        self._yields = "yields" in wanted
        self._max_run = "max_run" in wanted
        self._cpu = "cpu" in wanted

    def start(self, _args: object, _kwargs: object, _payload: object) -> tuple[Watch | None, int]:
        """Watch its greenlet, if it is in one."""
        if self._by_steps:
            return None, 0
        cpu = thread_time_ns() if self._cpu else 0
        return watch(self._cpu, self._max_run), cpu

    def stop(self, started: tuple[Watch | None, int], ended: Ended) -> None:
        """Count what it has come to."""
        watched, cpu = started
        elapsed = ended.elapsed
        if ended.steps is not None:
            steps = ended.steps
            waiting, pauses = elapsed - steps.running, steps.pauses
            longest, cpu = steps.longest, steps.cpu
        else:
            waiting, pauses, longest = 0, 0, elapsed
            if self._cpu:
                cpu = thread_time_ns() - cpu
            if watched is not None:
                watched.end()
                waiting, pauses = watched.out, watched.pauses
                longest = watched.longest
                cpu -= watched.cpu
        ended.waiting = min(max(waiting, 0), elapsed)
        self._count(ended, ended.waiting, pauses, min(longest, elapsed), cpu)

    def _count(self, ended: Ended, waiting: int, pauses: int, longest: int, cpu: int) -> None:
        recorder = ended.recorder
        if self._running:
            recorder.duration("running").count(ended.elapsed - waiting)
        if self._waiting:
            recorder.duration("waiting").count(waiting)
        if self._max_run:
            recorder.duration("max_run").count(longest)
        if self._cpu:
            recorder.duration("cpu").count(max(cpu, 0))
        if self._yields:
            recorder.numbers("yields").add(pauses)


def wrap_hub(name: str, module: ModuleType) -> Callable[[], None] | None:
    """Have the hubs of that one of `HUBS` tell when a greenthread yields.

    Returns what undoes it, None if it was done already.
    """
    hub: Any = vars(module)[HUBS[name]]
    if hub in _wrapped:
        return None
    own = vars(hub).get("switch")  # gevent's inherits it
    getcurrent = sys.modules["greenlet"].getcurrent
    compiled = probes.compiled()
    own_switch = hub.switch
    switch: Any = compiled.Switch(own_switch) if compiled else _switch(own_switch, getcurrent)
    _wrapped.add(hub)
    hub.switch = switch

    def undo() -> None:
        if vars(hub).get("switch") is not switch:
            return  # somebody has wrapped it in turn
        _wrapped.discard(hub)
        if own is None:
            del hub.switch
        else:
            hub.switch = own

    return undo


def _switch(original: Callable[[Any], Any], getcurrent: Callable[[], Any]) -> Callable[[Any], Any]:
    """What goes in the place of a hub's `switch`."""
    clock, identity, find = monotonic_ns, id, _switches.get
    switches_of = _switches

    def switch(self: Any) -> Any:
        switches = find(identity(getcurrent())) if switches_of else None
        if switches is None:
            return original(self)
        switches.pauses += 1
        switches.left = left = clock()
        if switches.exact:
            switches.leave()
        try:
            return original(self)
        finally:
            switches.out += clock() - left
            if switches.exact:
                switches.come_back()

    for each in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
        setattr(switch, each, getattr(original, each, getattr(switch, each)))
    vars(switch)["__wrapped__"] = original  # for whoever asks for its source
    return switch
