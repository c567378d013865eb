"""The per-call path: a transparent proxy around one function that records each of its calls.

Exactness without a lock: CPython switches threads, runs signal handlers and (since 3.12) collects
garbage only at calls and backward jumps. The stores below are subscripts of memoryviews with no
call between reading a word and writing it back, so none is ever lost.
"""

from __future__ import annotations

import sys
from types import MethodType

from tach import layout
from tach.agent.clock import monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tach.agent.events import Events
    from tach.agent.recorder import Recorder

_NEVER = 1 << 64
# what a call holds that could not begin its series: equal to no series' words
_NOWHERE = memoryview(bytearray(layout.WORD)).cast("Q")
# by bit length: how far to shift a value so that its lowest 7 bits are its lane
_SHIFT = tuple(max(bits - 8, 0) for bits in range(layout.BLOCKS))


def _by_name(function: Callable[..., Any]) -> Any:
    """What pickle shall write for a probe: where it is found, as for the function itself."""
    *path, name = function.__qualname__.split(".")
    owner: Any = sys.modules.get(function.__module__)
    for part in path:
        owner = getattr(owner, part, None)
    if getattr(owner, name, None) is function:  # inherited: only the subclass has the probe
        return getattr, (owner, name)
    return function.__qualname__


def make_probe(  # noqa: C901 - one closure, so that a call finds all it needs in cells
    proxy: type[Any], function: Callable[..., Any], recorder: Recorder
) -> Any:
    """A proxy of `function` (built on wrapt's ObjectProxy) whose calls go to `recorder`.

    One class a probe: its `__call__` then finds everything in its own cells.
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

    class Probe(proxy):  # type: ignore[misc]
        __slots__ = ()
        _tach_recorder = recorder

        def __call__(self, /, *args: Any, **kwargs: Any) -> Any:  # noqa: C901 - calls cost
            mine = words
            if mine is None:
                try:
                    mine = begin()
                except RecursionError:
                    mine = _NOWHERE  # as deep as the program may go: this call is not counted
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
                    except RecursionError:
                        pass
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
                except (TypeError, IndexError, RecursionError):
                    try:
                        count_first(elapsed)
                    except RecursionError:
                        return result
                mine[total] += elapsed
            return result

        def __reduce_ex__(self, _protocol: object, /) -> Any:
            return _by_name(function)

        def __copy__(self) -> Any:
            return self

        def __deepcopy__(self, _memo: object, /) -> Any:
            return self

        def __get__(self, instance: object, owner: type | None = None, /) -> Any:
            return self if instance is None else MethodType(self, instance)

    return Probe(function)


def make_event_probe(  # noqa: C901 - as above
    proxy: type[Any], function: Callable[..., Any], recorder: Recorder, events: Events
) -> Any:
    """A proxy of `function` whose calls go to `recorder`, and into the spool as notifications.

    Writing those takes longer than all else, so nothing here is inlined.
    """
    clock = monotonic_ns
    plain: Any = type(make_probe(proxy, function, recorder))

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[memoryview, Any]:
        try:
            return recorder.begin(), events.start(args, kwargs)
        except RecursionError:
            return _NOWHERE, None

    def finish(
        words: memoryview, started: Any, elapsed: int, result: Any, error: BaseException | None
    ) -> None:
        # After a fork inside the call, words is the child's: the call is the parent's to count.
        if words is not recorder.words:
            return
        try:
            try:
                events.end(started, elapsed, result, error)
            finally:
                recorder.count(elapsed)
                if error is not None:
                    recorder.count_failure(error)
        except RecursionError:
            pass

    class EventProbe(plain):  # type: ignore[misc]
        __slots__ = ()

        def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
            words, started = begin(args, kwargs)
            start = clock()
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                finish(words, started, clock() - start, None, error)
                raise
            finish(words, started, clock() - start, result, None)
            return result

    return EventProbe(function)
