"""Hands the request that a piece of work belongs to on to what it spawns, where Python does not.

Tasks of asyncio get a copy of the context that they are made in. A thread, a job of an executor and
a greenthread begin with an empty one; here they are given the request, and nothing else.
"""

from __future__ import annotations

import sys
from _contextvars import Context, ContextVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    Undo = Callable[[], None]

current: ContextVar[str | None] = ContextVar("tach_request_id", default=None)
_ATTRIBUTE = "_tach_request"


class Propagation:
    """Changes the `modules` that spawn, each when it has been executed."""

    modules = ("threading", "concurrent.futures.thread", "eventlet.greenthread")

    def __init__(self, on_trouble: Callable[[str], None]) -> None:
        self._on_trouble = on_trouble
        self._undos: list[Undo] = []

    def executed(self, name: str, module: ModuleType) -> None:
        """A module has been executed; one of the others is left alone."""
        install = _INSTALL.get(name)
        if install is None:
            return
        try:
            self._undos += install(module)
        except Exception as error:  # noqa: BLE001 - must not fail the import
            self._on_trouble(f"requests do not follow {name}: {type(error).__name__}: {error}")

    def stop(self) -> None:
        """Put everything back."""
        while self._undos:
            self._undos.pop()()


def _threads(module: Any) -> list[Undo]:
    """Whoever starts a thread hands his request on to it."""

    def starting(original: Any) -> Any:
        def start(self: Any) -> Any:
            vars(self)[_ATTRIBUTE] = current.get()
            return original(self)

        return start

    def running(original: Any) -> Any:
        def run(self: Any) -> Any:
            current.set(vars(self).pop(_ATTRIBUTE, None))  # the thread's own context, now empty
            return original(self)

        return run

    thread = module.Thread
    return [
        _replace(thread, "_bootstrap_inner", running),
        _replace(thread, "start", starting),
    ]


def _threads_with_contexts(module: Any) -> list[Undo]:
    """The same from Python 3.14 on, where a thread runs in a context that it is given."""

    def starting(original: Any) -> Any:
        def start(self: Any) -> Any:
            flags: Any = sys.flags
            if vars(self).get("_context", self) is None and not flags.thread_inherit_context:
                self._context = _context_of(current.get())
            return original(self)

        return start

    return [_replace(module.Thread, "start", starting)]


def _executors(module: Any) -> list[Undo]:
    """Whoever submits a job hands his request on to it; the thread that does it has other ones."""

    def making(original: Any) -> Any:
        def make(self: Any, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            vars(self)[_ATTRIBUTE] = current.get()

        return make

    def running(original: Any) -> Any:
        def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            token = current.set(vars(self).get(_ATTRIBUTE))
            try:
                return original(self, *args, **kwargs)
            finally:
                current.reset(token)

        return run

    job = module._WorkItem
    return [_replace(job, "run", running), _replace(job, "__init__", making)]


def _greenthreads(module: Any) -> list[Undo]:
    """Whoever spawns a greenthread hands his request on to it."""

    def making(original: Any) -> Any:
        def make(self: Any, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            _give(self)

        return make

    def spawning(original: Any) -> Any:
        def spawn(*args: Any, **kwargs: Any) -> Any:
            timer, greenlet = original(*args, **kwargs)
            _give(greenlet)
            return timer, greenlet

        return spawn

    return [
        _replace(module.GreenThread, "__init__", making),
        _replace(module, "_spawn_n", spawning),
    ]


def _give(greenlet: Any) -> None:
    """Let a greenlet that has not started yet begin with the request of this one."""
    request = current.get()
    if request is not None and greenlet.gr_context is None:
        greenlet.gr_context = _context_of(request)


def _context_of(request: str | None) -> Context:
    """A context that holds the request, and nothing else."""
    context = Context()
    context.run(current.set, request)
    return context


def _replace(owner: Any, name: str, make: Callable[[Any], Any]) -> Undo:
    """Put what `make` makes of the function in its place, once; what undoes that."""
    original = vars(owner)[name]
    if hasattr(original, _ATTRIBUTE):
        return lambda: None
    replacement = make(original)
    setattr(replacement, _ATTRIBUTE, "")
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(replacement, attribute, getattr(original, attribute))
    replacement.__wrapped__ = original
    setattr(owner, name, replacement)

    def undo() -> None:
        if vars(owner).get(name) is replacement:
            setattr(owner, name, original)

    return undo


_INSTALL: dict[str, Callable[[Any], list[Undo]]] = {
    "threading": _threads_with_contexts if sys.version_info >= (3, 14) else _threads,
    "concurrent.futures.thread": _executors,
    "eventlet.greenthread": _greenthreads,
}
