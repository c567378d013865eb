"""What is measured of a call beside its time: a value, a plug-in's number."""

from __future__ import annotations

from tach.agent.loading import Loaded, in_words
from tach.agent.paths import Lookup, Missing, Signature
from tach.names import component

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tach.agent.meter import Ended

    Args = tuple[Any, ...]
    Kwargs = dict[str, Any]

VALUE = "value"
KINDS = ("histogram", "gauge", "counter")
_LARGEST = 1e100  # far enough from where sums of them would overflow
_LONGEST_SUFFIX = 50
_TAKEN = frozenset(  # what built-in types count for every target
    ["aborted", "calls", "cancelled", "duration", "errors", "ignored", "inflight", "oldest"]
)


class Value:
    """A number found by a path, or its length, in the call's arguments or its result."""

    def __init__(
        self,
        path: tuple[Any, ...],
        of_length: bool,
        function: Callable[..., Any],
        skip: int,
        on_trouble: Callable[[str], None],
    ) -> None:
        self._of_result = path[0] == "result"
        self._lookup = Lookup(path, Signature(function, skip))
        self._of_length = of_length
        self._on_trouble = on_trouble

    def start(self, args: Args, kwargs: Kwargs, _payload: object) -> float | None:
        """The number, if it is one of the arguments': the call may change them."""
        return None if self._of_result else self._find(args, kwargs, None)

    def stop(self, started: float | None, ended: Ended) -> None:
        """Count it."""
        number = started
        if self._of_result and ended.error is None:
            number = self._find(ended.args, ended.kwargs, ended.result)
        if number is not None:
            ended.recorder.numbers(VALUE).add(number)

    def _find(self, args: Args, kwargs: Kwargs, result: Any) -> float | None:
        try:
            found = self._lookup.find(args, kwargs, result)
            return finite(len(found) if self._of_length else found)
        except Exception as error:  # noqa: BLE001 - attributes of the program may raise it all
            reason = f"no {error}" if type(error) is Missing else in_words(error)
            self._on_trouble(f"a value was not found: {reason}")
            return None


class Custom:
    """A metric type of somebody else's: a class with `start(call)` and `stop(call, token)`.

    `call` has `args`, `kwargs`, and at its end `result`, `error` and `elapsed` (nanoseconds). The
    number that `stop` returns is counted; None is not. The class may say `suffix` ("value") and
    `kind` ("histogram", "gauge" or "counter").
    """

    def __init__(self, where: str, on_trouble: Callable[[str], None]) -> None:
        self._where = where
        self._on_trouble = on_trouble
        self._loaded = Loaded(where, self._prepare)
        self._name = ""

    def start(self, args: Args, kwargs: Kwargs, _payload: object) -> tuple[Any, Any] | None:
        """Ask the metric what it wants to keep."""
        call = Call(args, kwargs)
        try:
            return call, self._loaded.get().start(call)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - it is not the program's
            self._failed(error)
            return None

    def stop(self, started: tuple[Any, Any] | None, ended: Ended) -> None:
        """Ask it for its number."""
        if started is None:
            return
        call, token = started
        call.result, call.error, call.elapsed = ended.result, ended.error, ended.elapsed
        try:
            number = self._loaded.get().stop(call, token)
            if number is not None:
                number = finite(number)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)
            return
        if number is not None:
            ended.recorder.numbers(self._name).add(number)

    def _prepare(self, cls: Any) -> Any:
        metric = cls()
        suffix = component(str(getattr(metric, "suffix", VALUE)))[:_LONGEST_SUFFIX]
        if suffix in _TAKEN:
            raise ValueError(f"its suffix {suffix!r} is that of a built-in metric")
        kind = getattr(metric, "kind", KINDS[0])
        if kind not in KINDS:
            raise ValueError(f"its kind {kind!r} is none of {', '.join(KINDS)}")
        self._name = f"{self._where}|{suffix}|{kind}"
        return metric

    def _failed(self, error: Exception) -> None:
        self._on_trouble(f"metric {self._where}: {in_words(error)}")


class Call:
    """What a metric type of somebody else's is told of a call."""

    def __init__(self, args: Args, kwargs: Kwargs) -> None:
        self.args = args
        self.kwargs = kwargs
        self.result: Any = None
        self.error: BaseException | None = None
        self.elapsed = 0


def finite(number: Any) -> float:
    """The number as a float.

    Raises ValueError, TypeError or OverflowError where it is none, and whatever its class raises.
    """
    if isinstance(number, (str, bytes, bytearray)):
        raise TypeError(f"it is {type(number).__name__}, not a number")
    found = float(number)
    if not -_LARGEST < found < _LARGEST:  # nor NaN
        raise ValueError(f"it is not a finite number below {_LARGEST:g}")
    return found
