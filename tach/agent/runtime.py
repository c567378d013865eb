"""Heartbeats: how late a hub or an event loop comes to what is due, and what it has to do.

A timer of the hub or loop itself notes when it fires and how late that is. The sender, which sees
the segment from outside, knows by a heartbeat that stands still that the hub is blocked.
"""

from __future__ import annotations

import sys
from _thread import get_ident

from tach import layout
from tach.agent.clock import monotonic_ns
from tach.agent.distribution import Distribution

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from tach.agent.segment import Segment

_FRAMES = 12  # of a stack, the innermost


class Heart:
    """The heartbeat of one runtime, "eventlet", "gevent" or "asyncio", in this process.

    `every` and `block_after` are in nanoseconds; `on_blocked` is told the stack of who kept the hub
    from its work for longer than that, where it can be had.
    """

    def __init__(
        self,
        segment: Segment,
        name: str,
        every: int,
        block_after: int,
        on_trouble: Callable[[str], None],
        on_blocked: Callable[[int, str], None],
    ) -> None:
        self.every = every
        self._entry = Distribution(segment, layout.KIND_RUNTIME, layout.NO_TARGET, on_trouble, name)
        self._lag = Distribution(
            segment, layout.KIND_DURATION, layout.NO_TARGET, on_trouble, "lag", self._entry
        )
        self._block_after = block_after
        self._on_blocked = on_blocked
        self._due = 0
        self._told = 0
        self._hub: object = None
        self._thread = get_ident()

    def after_fork(self) -> None:
        """Start anew, in the child's own segment."""
        self._thread = get_ident()
        self._entry.forget()
        self._lag.forget()
        self._due = 0

    def may_watch(self) -> bool:
        """Whether the hub or loop of this thread is to be looked after: the main thread's is."""
        return self._hub is None and get_ident() == self._thread

    def watches(self, hub: object) -> bool:
        """Whether it is this one that is looked after."""
        return self._hub is hub

    def begin(self, hub: object) -> None:
        """The hub or loop begins to run."""
        self._hub = hub
        self._begin()

    def _begin(self) -> None:
        now = monotonic_ns()
        words = self._entry.begin()
        words[layout.R_EVERY] = self.every
        words[layout.R_BEAT] = now
        self._due = now + self.every

    def beat(self, timers: int, readers: int, writers: int, tasks: int) -> None:
        """The timer has fired; the hub has so much to do."""
        now = monotonic_ns()
        if not self._due or self._entry.words is None:  # a forked child
            self._begin()
        else:
            self._lag.count(max(now - self._due, 0))
        words = self._entry.begin()
        words[layout.R_TIMERS] = timers
        words[layout.R_READERS] = readers
        words[layout.R_WRITERS] = writers
        words[layout.R_TASKS] = tasks
        words[layout.R_BEAT] = now
        self._due = now + self.every

    def rest(self) -> None:
        """The hub or loop has ended."""
        self._hub = None
        self._due = 0
        if self._entry.words is not None:
            self._entry.words[layout.R_BEAT] = 0

    def yielded(self) -> None:
        """A greenthread gives way to the hub: was it what kept the hub from its work?"""
        now = monotonic_ns()
        due = self._due
        if due and now - due > self._block_after and self._told != due:
            self._told = due
            self._on_blocked(now - due, _stack(sys._getframe(2)))


def _stack(frame: Any) -> str:
    """The functions that are running, the innermost last."""
    found: list[str] = []
    while frame is not None and len(found) < _FRAMES:
        code = frame.f_code
        found.append(f"{code.co_filename}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return " > ".join(reversed(found))


def watch_eventlet(module: ModuleType, heart: Heart) -> None:
    """Have each hub of `eventlet.hubs.hub` beat, and its greenthreads' yields looked at."""
    hub: Any = module.BaseHub
    switch = vars(hub)["switch"]

    def beat(self: Any) -> None:
        listeners = self.listeners
        timers = len(self.timers) + len(self.next_timers)
        heart.beat(timers, len(listeners[hub.READ]), len(listeners[hub.WRITE]), 0)
        self.schedule_call_global(heart.every / 1e9, beat, self)

    def tach_switch(self: Any) -> Any:
        if heart.watches(self):
            heart.yielded()
        elif heart.may_watch():
            heart.begin(self)
            self.schedule_call_global(heart.every / 1e9, beat, self)
        return switch(self)

    tach_switch.__name__, tach_switch.__qualname__ = switch.__name__, switch.__qualname__
    hub.switch = tach_switch


def watch_gevent(module: ModuleType, heart: Heart) -> None:
    """Have each hub of `gevent.hub` beat."""
    hub: Any = module.Hub
    run = vars(hub)["run"]

    def tach_run(self: Any) -> Any:
        if not heart.may_watch():
            return run(self)
        seconds = heart.every / 1e9
        timer = self.loop.timer(seconds, seconds, ref=False)  # which keeps no loop from ending
        heart.begin(self)
        timer.start(lambda: heart.beat(self.loop.activecnt, 0, 0, 0))
        try:
            return run(self)
        finally:
            timer.stop()
            heart.rest()

    tach_run.__name__, tach_run.__qualname__ = run.__name__, run.__qualname__
    hub.run = tach_run


def watch_asyncio(module: ModuleType, heart: Heart) -> None:
    """Have each event loop of `asyncio.base_events` beat while it runs."""
    loop: Any = module.BaseEventLoop
    run_forever = vars(loop)["run_forever"]

    def beat(self: Any, running: list[Any]) -> None:
        selector = getattr(self, "_selector", None)
        readers = len(selector.get_map() or ()) if selector is not None else 0
        heart.beat(len(self._scheduled), readers, 0, _tasks(self))
        running[0] = self.call_later(heart.every / 1e9, beat, self, running)

    def tach_run_forever(self: Any) -> Any:
        if not heart.may_watch():
            return run_forever(self)
        heart.begin(self)
        running: list[Any] = [None]
        running[0] = self.call_later(heart.every / 1e9, beat, self, running)
        try:
            return run_forever(self)
        finally:
            running[0].cancel()
            heart.rest()

    tach_run_forever.__name__ = run_forever.__name__
    tach_run_forever.__qualname__ = run_forever.__qualname__
    loop.run_forever = tach_run_forever


def _tasks(loop: Any) -> int:
    """How many tasks the loop has; up to Python 3.13 those of all loops together."""
    tasks: Any = sys.modules["asyncio.tasks"]
    if sys.version_info >= (3, 14):  # they are counted one by one: no set has them all
        return len(tasks.all_tasks(loop))
    known: Any = getattr(tasks, "_scheduled_tasks", None) or getattr(tasks, "_all_tasks", ())
    return len(known)


# By the module whose import it follows: the name of the runtime, and how to watch it.
RUNTIMES: dict[str, tuple[str, Callable[[ModuleType, Heart], None]]] = {
    "eventlet.hubs.hub": ("eventlet", watch_eventlet),
    "gevent.hub": ("gevent", watch_gevent),
    "asyncio.base_events": ("asyncio", watch_asyncio),
}


class Runtime:
    """What is told of this process as a whole; `plan` holds every and block_after, in seconds."""

    def __init__(
        self,
        segment: Segment,
        plan: dict[str, Any],
        on_trouble: Callable[[str], None],
        on_blocked: Callable[[int, str], None],
    ) -> None:
        self._segment = segment
        self._every = int(plan["every"] * 1e9)
        self._block_after = int(plan["block_after"] * 1e9)
        self._on_trouble = on_trouble
        self._on_blocked = on_blocked
        self._hearts: dict[str, Heart] = {}
        self._undo: list[Callable[[], None]] = []
        self._pauses = Distribution(
            segment, layout.KIND_RUNTIME, layout.NO_TARGET, on_trouble, "gc"
        )
        self._pause = Distribution(
            segment, layout.KIND_DURATION, layout.NO_TARGET, on_trouble, "pause", self._pauses
        )
        self._collecting = 0

    def start(self) -> None:
        """Note the garbage collector's pauses from now on."""
        import gc

        gc.callbacks.append(self._collected)
        self._undo.append(lambda: gc.callbacks.remove(self._collected))

    def _collected(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = monotonic_ns()
        elif self._collecting:
            self._pause.count(monotonic_ns() - self._collecting)
            self._collecting = 0

    def imported(self, name: str, module: ModuleType) -> None:
        """The module of a runtime has been imported."""
        if name in self._hearts:
            return
        runtime, watch = RUNTIMES[name]
        heart = Heart(
            self._segment,
            runtime,
            self._every,
            self._block_after,
            self._on_trouble,
            self._on_blocked,
        )
        self._hearts[name] = heart
        before = [(owner, dict(vars(owner))) for owner in _owners(module)]
        watch(module, heart)
        for owner, attributes in before:
            for key, each in vars(owner).copy().items():
                if attributes.get(key) is not each and key in attributes:
                    self._undo.append(_restoring(owner, key, each, attributes[key]))

    def after_fork(self) -> None:
        """Start anew, in the child's own segment."""
        self._pauses.forget()
        self._pause.forget()
        for heart in self._hearts.values():
            heart.after_fork()

    def stop(self) -> None:
        """Take all of it back."""
        while self._undo:
            self._undo.pop()()


def _owners(module: ModuleType) -> list[Any]:
    names = ("BaseHub", "Hub", "BaseEventLoop")
    return [vars(module)[name] for name in names if name in vars(module)]


def _restoring(owner: Any, key: str, replacement: Any, original: Any) -> Callable[[], None]:
    def restore() -> None:
        if vars(owner).get(key) is replacement:
            setattr(owner, key, original)

    return restore
