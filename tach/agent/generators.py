"""Stands in for generators and coroutines: passes all on, and sees when they begin, pause and end.

What is measured runs from the first step to the end: exhaustion, an exception, `close`, or nobody
holding it any more. One that is never started is no call.
"""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, GeneratorType

from tach.agent.likeness import likeness, passed_over
from tach.agent.work import Step, Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tach.agent.meter import Measurement

    Args = tuple[Any, ...]
    Kwargs = dict[str, Any]

_ITERABLE_COROUTINE = 0x100  # the flag of a generator that `types.coroutine` has been given


class Steppable:
    """What generators, coroutines and their iterators have in common."""

    __slots__ = ()
    _self_work: Work | Step
    _self_inner: Any

    @passed_over
    def send(self, value: Any, /) -> Any:
        """Run it up to its next pause."""
        work = self._self_work
        if value is None or work.started:  # else it is refused
            work.resume()
        try:
            found = self._self_inner.send(value)
        except BaseException as error:
            work.stopped(error)
            del value  # the traceback holds this frame
            raise
        work.pause()
        return found

    @passed_over
    def throw(self, /, *error: Any) -> Any:
        """Raise an exception where it has paused."""
        work = self._self_work
        if work.started:  # else it ends without having begun
            work.resume()
        try:
            found = self._self_inner.throw(*error)
        except BaseException as raised:
            work.stopped(raised)
            del error  # the traceback holds this frame
            raise
        work.pause()
        return found

    @passed_over
    def close(self) -> Any:
        """End it where it has paused."""
        work = self._self_work
        if work.started:
            work.resume()
        try:
            found = self._self_inner.close()
        except BaseException as error:
            work.stopped(error)
            raise
        work.closed()
        return found


class Generator(Steppable):
    """Stands in for a generator."""

    __slots__ = ()

    def __iter__(self) -> Any:
        return self

    @passed_over
    def __next__(self) -> Any:
        work = self._self_work
        work.resume()
        try:
            found = self._self_inner.__next__()
        except BaseException as error:
            work.stopped(error)
            raise
        work.pause()
        return found


class Awaitable(Generator):
    """Stands in for a generator that can be awaited, and for a step of an asynchronous one."""

    __slots__ = ()

    def __await__(self) -> Any:
        return self


class Coroutine(Steppable):
    """Stands in for a coroutine."""

    __slots__ = ()
    _self_stands: Stands

    @passed_over
    def __await__(self) -> Any:
        inner = self._self_inner
        if inner.cr_await is not None:
            raise RuntimeError("coroutine is being awaited already")
        return self._self_stands.make(CoroutineIterator, inner, self._self_work)


class CoroutineIterator(Steppable):
    """Stands in for the coroutine where it is awaited, and so is stepped through."""

    __slots__ = ()

    def __iter__(self) -> Any:
        return self

    @passed_over
    def __next__(self) -> Any:
        work = self._self_work
        work.resume()
        try:
            found = self._self_inner.send(None)
        except BaseException as error:
            work.stopped(error)
            raise
        work.pause()
        return found


class AsyncGenerator:
    """Stands in for an asynchronous generator."""

    __slots__ = ()
    _self_work: Work
    _self_inner: Any
    _self_stands: Stands

    def __aiter__(self) -> Any:
        return self

    def __anext__(self) -> Any:
        return self._self_step(self._self_inner.__anext__(), True)

    def asend(self, value: Any, /) -> Any:
        """Run it up to its next value."""
        return self._self_step(self._self_inner.asend(value), value is None)

    def athrow(self, /, *error: Any) -> Any:
        """Raise an exception where it has paused."""
        return self._self_step(self._self_inner.athrow(*error), False)

    def aclose(self) -> Any:
        """End it where it has paused."""
        return self._self_step(self._self_inner.aclose(), False)

    def _self_step(self, inner: Any, begins: bool) -> Any:
        step = Step(self._self_work, self._self_inner, begins)
        return self._self_stands.make(Awaitable, inner, step)


_SLOTS: dict[type, tuple[str, ...]] = {
    Coroutine: ("_self_work", "_self_inner", "_self_stands"),
    AsyncGenerator: ("_self_work", "_self_inner", "_self_stands"),
}


class Stands:
    """Makes what stands in, of classes built on wrapt's ObjectProxy."""

    def __init__(self, proxy: type[Any]) -> None:
        self._proxy = proxy
        self._classes: dict[tuple[type, type], type[Any]] = {}

    def make(self, behaviour: type, inner: Any, work: Work | Step) -> Any:
        """What stands in for `inner` and does what the class `behaviour` says."""
        key = behaviour, type(inner)
        made: Any = (self._classes.get(key) or self._make_class(*key))(inner)
        made._self_inner = inner
        made._self_work = work
        return made

    def _make_class(self, behaviour: type, kind: type) -> type[Any]:
        base = likeness(self._proxy, kind)
        slots = _SLOTS.get(behaviour, ("_self_work", "_self_inner"))
        make_class: Any = type(base)
        namespace = {"__slots__": slots, "__module__": base.__module__}
        made: type[Any] = make_class(kind.__name__, (behaviour, base), namespace)
        return self._classes.setdefault((behaviour, kind), made)

    def maker(self, measurement: Measurement) -> Callable[[Any, Args, Kwargs], Any]:
        """What makes the stand-in of what a measured function has returned."""
        make = self.make

        def stand_in(made: Any, args: Args, kwargs: Kwargs) -> Any:
            kind = type(made).__name__
            if kind not in _BY_KIND:
                return made  # a decorator has made something else of it
            behaviour, prefix = _BY_KIND[kind]
            if behaviour is Generator and made.gi_code.co_flags & _ITERABLE_COROUTINE:
                behaviour = Awaitable
            found = make(behaviour, made, Work(measurement, made, prefix, args, kwargs))
            if behaviour is Coroutine or behaviour is AsyncGenerator:
                found._self_stands = self
            return found

        return stand_in


# By name: Cython has its own
_BY_KIND: dict[str, tuple[type, str]] = {
    GeneratorType.__name__: (Generator, "gi"),
    CoroutineType.__name__: (Coroutine, "cr"),
    AsyncGeneratorType.__name__: (AsyncGenerator, "ag"),
}
