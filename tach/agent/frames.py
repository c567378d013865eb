"""Whose time it is while one measured function calls another. `_accounts.h` has the same in C.

A frame is a call, a generator or a coroutine. While it runs it lies on the stack of its thread, or
of its greenthread: what runs on top of it is not its own time. Tasks take the context in which they
were made along, greenthreads of gevent too; so a stack is never found by the context alone.
"""

from __future__ import annotations

import sys
from _contextvars import ContextVar
from _thread import _local

from tach.agent.clock import monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Account:
    """Whose time is told apart from that of others."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Stack:
    """The frames of one thread, or of the greenlet whose id is `home`: the last one is on top."""

    __slots__ = ("frames", "home")

    def __init__(self, home: int = 0) -> None:
        self.frames: list[Frame] = []
        self.home = home


class Frame:
    """A call, generator or coroutine of an account; times in nanoseconds.

    `caller` is the name of what was on top when it began, None if nothing was; `nested` is whether
    it began inside another one of its account; `within` is for how long others were on top of it.
    """

    __slots__ = ("_account", "_began", "_resumed", "_stack", "caller", "nested", "within")

    def __init__(self, account: Account) -> None:
        self._account = account
        self._began = False
        self._stack: list[Frame] | None = None
        self._resumed = self.within = 0
        self.caller: str | None = None
        self.nested = False

    def resume(self) -> None:
        """It goes on."""
        if self._stack is not None:
            return
        frames = self._stack = _current().frames
        if not self._began:
            self._began = True
            account = self._account
            if frames:
                self.caller = frames[-1]._account.name
            self.nested = any(each._account is account for each in frames)
        frames.append(self)
        self._resumed = monotonic_ns()

    def pause(self) -> None:
        """It pauses, or has ended."""
        frames = self._stack
        if frames is None:
            return
        self._stack = None
        elapsed = monotonic_ns() - self._resumed
        if frames and frames[-1] is self:
            del frames[-1]
            if frames:
                frames[-1].within += elapsed
        else:
            frames.clear()  # somebody else's who never came back: whose time it is nobody knows


_of_thread = _local()
_of_greenlet: ContextVar[Stack | None] = ContextVar("tach.stack", default=None)


def _current() -> Stack:
    """The stack of what runs."""
    greenlet: Any = sys.modules.get("greenlet")
    running = greenlet.getcurrent() if greenlet is not None else None
    if running is None or running.parent is None:
        try:
            return _of_thread.stack  # type: ignore[no-any-return]
        except AttributeError:
            _of_thread.stack = Stack()
            return _of_thread.stack  # type: ignore[no-any-return]
    home = id(running)
    found = _of_greenlet.get()
    if found is None or found.home != home:
        found = Stack(home)
        _of_greenlet.set(found)
    return found
