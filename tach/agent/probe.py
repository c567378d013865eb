"""The per-call path: transparent proxies around one function, which record each of its calls.

Exactness without a lock: CPython switches threads, runs signal handlers and (since 3.12) collects
garbage only at calls and backward jumps. The stores below are subscripts of memoryviews with no
call between reading a word and writing it back, so none is ever lost.
"""

from __future__ import annotations

import sys
from types import FunctionType, MethodType

from tach import layout
from tach.agent import news
from tach.agent.clock import monotonic_ns
from tach.agent.exhausted import EXHAUSTED
from tach.agent.likeness import likeness, passed_over

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tach.agent.generators import Stands
    from tach.agent.meter import Measurement
    from tach.agent.recorder import Recorder

_NEVER = 1 << 64
# what a call holds that could not begin its series: equal to no series' words
_NOWHERE = memoryview(bytearray(layout.WORD)).cast("Q")
# by bit length: how far to shift a value so that its lowest 7 bits are its lane
_SHIFT = tuple(max(bits - 8, 0) for bits in range(layout.BLOCKS))


# What a probe answers itself; all else its function does.
_OWN = frozenset(["__call__", "__deepcopy__", "__get__", "__reduce_ex__", "__wrapped__"])


def _get_attribute(self: Any, name: str, /) -> Any:
    if name in _OWN:
        return object.__getattribute__(self, name)
    return getattr(type(self)._tach[0], name)


def _set_attribute(self: Any, name: str, value: Any, /) -> None:
    setattr(type(self)._tach[0], name, value)


def _delete_attribute(self: Any, name: str, /) -> None:
    delattr(type(self)._tach[0], name)


def reduce(self: Any, protocol: Any, /) -> Any:
    """What pickle shall write for a probe: where it is found, as for the function itself."""
    function, _ = behind(self)
    kind = type(function)
    registered = sys.modules["copyreg"].dispatch_table.get(kind)
    if issubclass(kind, FunctionType):
        reduced = function.__qualname__
    elif registered is not None:
        reduced = registered(function)
    else:
        reduced = function.__reduce_ex__(protocol)
    if type(reduced) is not str:  # an object, which is pickled by value
        return reduced
    owner: Any = sys.modules.get(function.__module__)
    for part in reduced.split("."):
        owner = getattr(owner, part, None)
    if owner is function:  # somebody else has got the probe
        from _operator import getitem

        return getitem, ((function,), 0)
    return reduced


def _probe(
    proxy: type[Any], function: Any, recorder: Recorder, binds: bool, call: Callable[..., Any]
) -> Any:
    """A proxy of `function` in all but its calls: a class of its own, for `call` to be its own."""
    kind = type(unprobed(function)[0])
    namespace = {
        "__slots__": (),
        "__module__": kind.__module__,
        "__call__": call,
        "__getattribute__": _get_attribute,
        "__setattr__": _set_attribute,
        "__delattr__": _delete_attribute,
        "__reduce_ex__": reduce,
        "_tach": (function, recorder),
    }
    if binds:
        namespace["__get__"] = _bind
    elif hasattr(kind, "__get__"):
        namespace["__get__"] = bind_as_it_does
    call.__wrapped__ = kind.__call__  # type: ignore[attr-defined] # for inspect.signature
    make_class: Any = type(proxy)
    return make_class(kind.__name__, (likeness(proxy, kind),), namespace)(function)


def _bind(self: Any, instance: object, _owner: type | None = None, /) -> Any:
    return self if instance is None else MethodType(self, instance)


def bind_as_it_does(self: Any, instance: object, owner: type | None = None, /) -> Any:
    """The `__get__` of a probe whose function does not bind as functions do."""
    function, _ = behind(self)
    bound = type(function).__get__(function, instance, owner)
    return self if bound is function else bound


def unprobed(found: Any) -> tuple[Any, tuple[Recorder, ...]]:
    """What is behind all probes around it, and their recorders, the outermost first."""
    recorders = []
    while "_tach" in type.__getattribute__(type(found), "__dict__"):
        found, recorder = behind(found)
        recorders.append(recorder)
    return found, tuple(recorders)


def behind(probe: Any) -> tuple[Any, Recorder]:
    """The function and the recorder of a probe."""
    held: Any = type.__getattribute__(type(probe), "__dict__")["_tach"]
    # a class of compiled probes has many, and only the way to get it
    return held if type(held) is tuple else held.__get__(probe)


def disable(probe: Any) -> None:
    """Measure no more, where the probe itself has to stay."""
    cls: Any = type(probe)
    function = cls._tach[0]
    cls.__call__ = lambda _self, /, *args, **kwargs: function(*args, **kwargs)


def become(probe: Any, other: Any) -> None:
    """From the next call on let `probe` measure as `other` does, a probe of the same function."""
    cls: Any = type(probe)
    mine, cls.__call__ = vars(cls)["__call__"], vars(type(other))["__call__"]
    type(other).__call__ = mine
    cls._tach = type(other)._tach


@passed_over
def make_probe(  # noqa: C901 - one closure, so that a call finds all it needs in cells
    proxy: type[Any], function: Callable[..., Any], recorder: Recorder, binds: bool = True
) -> Any:
    """A proxy of `function` (built on wrapt's ObjectProxy) whose calls go to `recorder`.

    Calls are timed and counted, and what they raise. It `binds` as functions in a class do.
    """
    words: memoryview | None = None
    blocks = recorder.blocks
    least = _NEVER
    greatest = -1

    def begin() -> memoryview:
        nonlocal words, blocks, least, greatest
        least, greatest = _NEVER, -1
        first = recorder.begin()
        blocks = recorder.blocks
        words = first
        return first

    def reset() -> None:
        nonlocal words
        words = None

    def extreme(mine: memoryview, elapsed: int) -> None:
        nonlocal least, greatest
        # another probe of the same target may know better
        if elapsed < mine[layout.E_MIN]:
            mine[layout.E_MIN] = elapsed
        if elapsed > mine[layout.E_MAX]:
            mine[layout.E_MAX] = elapsed
        least = min(least, elapsed)
        greatest = max(greatest, elapsed)

    total = layout.E_SUM
    shift = _SHIFT
    clock = monotonic_ns
    count_first = recorder.count_first
    count_failure = recorder.count_failure
    recorder.on_reset(reset)

    def call(_self: Any, /, *args: Any, **kwargs: Any) -> Any:  # noqa: C901 - calls cost
        if news.word[0] and news.take():
            return _self(*args, **kwargs)  # as is measured from now on
        mine = words
        if mine is None:
            try:
                mine = begin()
            except EXHAUSTED:
                mine = _NOWHERE  # this call is not counted
        start = clock()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            elapsed = clock() - start
            if mine is words:
                try:
                    if elapsed > greatest or elapsed < least:
                        extreme(mine, elapsed)
                    count_first(elapsed)
                    mine[total] += elapsed
                    count_failure(error)
                except EXHAUSTED:
                    pass
            del args, kwargs  # the traceback holds this frame
            raise
        elapsed = clock() - start
        # After a fork inside the call, words is the child's: the call is the parent's to count.
        if mine is words:
            bits = elapsed.bit_length()
            # The sum last: it tells the reader that the rest has changed.
            try:
                if elapsed > greatest or elapsed < least:
                    extreme(mine, elapsed)
                blocks[bits][elapsed >> shift[bits] & 127] += 1  # type: ignore[index]
            except (TypeError, IndexError, *EXHAUSTED):
                try:
                    count_first(elapsed)
                except EXHAUSTED:
                    return result
            mine[total] += elapsed
        return result

    return _probe(proxy, function, recorder, binds, call)


@passed_over
def make_measuring_probe(
    proxy: type[Any],
    function: Callable[..., Any],
    recorder: Recorder,
    measurement: Measurement,
    binds: bool = True,
) -> Any:
    """A proxy of `function` whose calls `measurement` measures."""
    enter, leave = measurement.enter, measurement.leave
    clock = monotonic_ns

    def call(_self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if news.word[0] and news.take():
            return _self(*args, **kwargs)
        start = clock()
        call = enter(args, kwargs)
        try:
            start = clock()
            result = function(*args, **kwargs)
        except BaseException as error:
            try:
                leave(call, clock() - start, None, error)
            except BaseException:
                leave(call, clock() - start, None, error)
                raise
            finally:
                del args, kwargs, call  # the traceback holds this frame
            raise
        try:
            leave(call, clock() - start, result, None)
        except BaseException:
            leave(call, clock() - start, result, None)  # the rest: a signal handler has come up
            raise
        return result

    return _probe(proxy, function, recorder, binds, call)


@passed_over
def make_stepping_probe(
    proxy: type[Any],
    function: Callable[..., Any],
    recorder: Recorder,
    measurement: Measurement,
    stands: Stands,
    binds: bool = True,
) -> Any:
    """A proxy of `function`, which returns generators or coroutines; those are measured."""
    stand_in = stands.maker(measurement)

    def call(_self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if news.word[0] and news.take():
            return _self(*args, **kwargs)
        return stand_in(function(*args, **kwargs), args, kwargs)

    return _probe(proxy, function, recorder, binds, call)
