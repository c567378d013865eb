"""How long a call had to wait before it began: from a stopwatch or a time stamp of its message.

`Queued` measures that; `Stamp` puts a time stamp where the other end, or the next stage, finds it.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from tach.agent.clock import time
from tach.agent.loading import in_words
from tach.agent.paths import Lookup, Missing, Signature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tach.agent.meter import Ended
    from tach.agent.paths import Args, Kwargs, Path

QUEUED = "queued"
TOTAL = "total"
# Up to here a number is in seconds since 1970, then milliseconds, microseconds, nanoseconds: each
# limit is in the year 5138.
_UNITS = ((1e11, 1.0), (1e14, 1e-3), (1e17, 1e-6), (1e20, 1e-9))
_EARLIEST = 1e8  # seconds: nothing has been sent before 1973
_ROUNDING = 1e-3  # seconds that a stamp may lie ahead, because it was rounded
_LONGEST = 1e8  # seconds


class Queued:
    """Measures the time before a call, and that time with the call's own.

    `paths` lead to a stopwatch or a time stamp; the first that leads anywhere counts.
    """

    def __init__(
        self,
        paths: tuple[Path, ...],
        function: Callable[..., Any],
        skip: int,
        on_trouble: Callable[[str], None],
    ) -> None:
        signature = Signature(function, skip)
        self._lookups = [Lookup(path, signature) for path in paths]
        self._on_trouble = on_trouble

    def start(self, args: Args, kwargs: Kwargs, _payload: object) -> int | None:
        """The nanoseconds that the call has waited; None if that is not known."""
        try:
            found = self._find(args, kwargs)
            return None if found is None else int(waited(found, time()) * 1e9)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - the stopwatch is the program's
            self._on_trouble(f"a time in the queue was not found: {in_words(error)}")
            return None

    def stop(self, started: int | None, ended: Ended) -> None:
        """Count it."""
        if started is None:
            return
        try:
            ended.recorder.duration(QUEUED).count(started)
            ended.recorder.duration(TOTAL).count(started + ended.elapsed)
        except ValueError:  # centuries, added up
            self._on_trouble("the times in the queue are too long to be added up")

    def _find(self, args: Args, kwargs: Kwargs) -> Any:
        """The first thing there is; None where there is none: not every message has a stamp."""
        for lookup in self._lookups:
            try:
                found = lookup.find(args, kwargs, None)
            except Missing:
                continue
            if found is not None:
                return found
        return None


class Stamp:
    """Puts the time into a mapping of the call, as whole microseconds since 1970.

    `path` leads to the mapping, and ends with the key.
    """

    def __init__(
        self,
        path: Path,
        function: Callable[..., Any],
        skip: int,
        on_trouble: Callable[[str], None],
    ) -> None:
        *place, (_, self._key) = path
        self._lookup = Lookup(tuple(place), Signature(function, skip))
        self._on_trouble = on_trouble

    def start(self, args: Args, kwargs: Kwargs, _payload: object) -> None:
        """Stamp it."""
        try:
            self._lookup.find(args, kwargs, None)[self._key] = int(time() * 1e6)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - the mapping is the program's
            reason = f"no {error}" if type(error) is Missing else in_words(error)
            self._on_trouble(f"{self._key} could not be stamped: {reason}")

    def stop(self, started: None, ended: Ended) -> None:
        """Nothing is left to do."""


def waited(since: Any, now: float) -> float:
    """The seconds from `since` to `now` (seconds since 1970), or what a stopwatch shows.

    A stopwatch has `elapsed`, a method or not, in seconds or as a timedelta. A time stamp is a
    datetime, a text in ISO 8601 (both in UTC where they do not say otherwise), or a number, or
    the text of one, in seconds, milliseconds, microseconds or nanoseconds since 1970, which its
    size tells. Raises ValueError or TypeError where it is nothing of these, or not of the last
    years, and what the stopwatch raises.
    """
    elapsed = getattr(since, "elapsed", None)
    if elapsed is not None:
        shown = elapsed() if callable(elapsed) else elapsed
        seconds = shown.total_seconds() if isinstance(shown, timedelta) else float(shown)
    else:
        seconds = now - _seconds(since)
    if seconds < -_ROUNDING:
        raise ValueError("it begins in the future: do the clocks of the two machines differ?")
    if not seconds < _LONGEST:
        raise ValueError("it began more than three years ago")
    return max(seconds, 0.0)


def _seconds(stamp: Any) -> float:
    """A time stamp as seconds since 1970."""
    if isinstance(stamp, str):
        stamp = _read(stamp.strip())
    if isinstance(stamp, datetime):
        return (stamp if stamp.tzinfo else stamp.replace(tzinfo=timezone.utc)).timestamp()
    if isinstance(stamp, (bytes, bytearray)):
        raise TypeError(f"{type(stamp).__name__} is no time stamp")
    number = float(stamp)
    for limit, unit in _UNITS:
        if number < limit and number * unit >= _EARLIEST:
            return number * unit
    raise ValueError("it is a number, but no time since 1970")


def _read(text: str) -> float | datetime:
    """A number or a datetime in words. What the text is stays in the program."""
    try:
        return float(text.removeprefix("t="))  # as proxies write it in X-Request-Start
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in "Zz" else text)
    except ValueError:
        raise ValueError("it is a text, but neither a number nor ISO 8601") from None
