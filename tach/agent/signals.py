"""Lets signals wait while something is done that no handler of the program may come into."""

from __future__ import annotations

from _signal import (  # type: ignore[import-not-found]
    SIG_BLOCK,
    SIG_SETMASK,
    pthread_sigmask,
    valid_signals,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SIGNALS = valid_signals()


def waiting(room: int, function: Callable[..., Any], *args: Any) -> Any:
    """What `function` returns, called while the signals of this thread wait.

    Raises what it raises, and RecursionError unless `room` more calls may be nested. That comes
    before signals have to wait: they would not come any more if the call that lets them in again
    were one too deep. A handler runs all the same where another thread took the signal.
    """
    _need_room(room)
    mask = pthread_sigmask(SIG_BLOCK, ())
    try:
        pthread_sigmask(SIG_BLOCK, _SIGNALS)
        return function(*args)
    finally:
        pthread_sigmask(SIG_SETMASK, mask)


def _need_room(depth: int) -> None:
    """Raises RecursionError unless so many more calls may be nested, in Python as well as in C.

    Python 3.12 and 3.13 count those in C apart, and not where the call has been specialised.
    """
    if depth:
        for _ in map(_need_room, (depth - 1,)):
            pass
