"""How the calls of one target are measured, where counting and timing them is not all."""

from __future__ import annotations

from _contextvars import ContextVar

from tach.agent.clock import monotonic_ns
from tach.agent.exhausted import EXHAUSTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from tach.agent.helpers import HelperNaming
    from tach.agent.naming import Naming
    from tach.agent.own import Frame
    from tach.agent.recorder import Recorder

    Args = tuple[Any, ...]
    Kwargs = dict[str, Any]

    class Companion(Protocol):
        """Measures something else about the same calls. Both methods raise no Exception."""

        def start(self, args: Args, kwargs: Kwargs, payload: dict[Any, Any] | None) -> Any:
            """A call begins; what `stop` needs to know. `payload` is what a helper said of it."""

        def stop(self, started: Any, ended: Ended) -> None:
            """It has ended. Called again where a signal handler has raised something in it."""

    # (function, how many of its first arguments are self or cls) -> what measures its calls
    MakeCompanion = Callable[[Callable[..., Any], int], Companion]
    MakeNaming = Callable[[Callable[..., Any], int], Naming | HelperNaming]


# What `enter` returns is a list, the first two of these if the call is only counted.
_RECORDER = 0  # None where only the call's end will tell
_EPOCH = 1  # -1 when it has been counted
_RUNNING = 2  # see Recorder.enter
_OUTER = 3
_STARTED = 4  # what the companions' `start` has returned
_STOPPED = 5  # how many of those have had their `stop`
_ARGS = 6
_KWARGS = 7


class Ended:
    """One call that has ended after `elapsed` nanoseconds, `error` being what it raised."""

    __slots__ = ("args", "elapsed", "error", "kwargs", "recorder", "result", "steps", "waiting")

    def __init__(
        self, recorder: Recorder, args: Args, kwargs: Kwargs, elapsed: int, steps: Steps | None
    ) -> None:
        self.recorder = recorder
        self.args = args
        self.kwargs = kwargs
        self.elapsed = elapsed
        self.steps = steps
        self.waiting: int | None = None  # of it, if that was asked for
        self.result: Any = None
        self.error: BaseException | None = None


class Steps:
    """What a generator or coroutine has used while it ran, in nanoseconds, up to its last pause."""

    __slots__ = ("cpu", "longest", "pauses", "running")

    def __init__(self) -> None:
        self.running = self.cpu = self.longest = self.pauses = 0


class Owning:
    """That the own time of calls is asked for; with `callers`, also whose calls they were.

    `frames` is the module of that name, or its equal in C.
    """

    __slots__ = ("account", "callers", "counts_waiting", "frame_type")

    def __init__(
        self, frames: Any, name: str, callers: bool = False, counts_waiting: bool = False
    ) -> None:
        self.counts_waiting = counts_waiting
        self.account = frames.Account(name)
        self.frame_type = frames.Frame
        self.callers = callers

    def companion(self, by_steps: bool) -> Companion:
        """What measures it."""
        from tach.agent.own import Own

        return Own(self._frame, self.callers, by_steps, self.counts_waiting)

    def _frame(self) -> Frame:
        return self.frame_type(self.account)  # type: ignore[no-any-return]


class Epoch:
    """Tells the calls that began in this process from those of the one it was forked from."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


class Outer:
    """A call that others may be inside of.

    Callbacks and tasks take the context in which they were made along, and so may find it there
    when it has ended: that they are told by `runs`.
    """

    __slots__ = ("epoch", "runs")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.runs = True


class Meter:
    """Measures the calls of one target.

    `recorder` is for calls that go by the target's own name. With `make_naming` they get names of
    their own; `companions` measure more of them.
    """

    def __init__(
        self,
        recorder: Recorder,
        epoch: Epoch | None = None,
        *,
        inflight: bool = False,
        outermost: bool = False,
        yielding: frozenset[str] = frozenset(),
        owning: Owning | None = None,
        make_naming: MakeNaming | None = None,
        companions: tuple[MakeCompanion, ...] = (),
    ) -> None:
        self.recorder = recorder
        self.epoch = epoch or Epoch()
        self.inflight = inflight
        self.outermost = outermost
        self.yielding = yielding
        self.owning = owning
        self.make_naming = make_naming
        self.companions = companions

    @property
    def only_counts(self) -> bool:
        """Whether time and its parts, failures and what is in flight are all that is measured."""
        return not (self.outermost or self.make_naming or self.companions)

    def measurement(
        self, function: Callable[..., Any], skip: int, by_steps: bool = False
    ) -> Measurement:
        """What measures the calls of `function`, `skip` being 1 if its first argument is self.

        `by_steps`: what it returns is a generator or coroutine, which is what is measured.
        """
        return Measurement(self, function, skip, by_steps)


class Measurement:
    """Measures the calls of one function: `enter` before each, `leave` after it.

    What the one returns, which is None for a call that is not to be measured, the other takes. A
    signal handler of the program may raise anything between two steps of either, frames may run
    out: `leave` goes on where it was when it is called again.
    """

    def __init__(
        self, meter: Meter, function: Callable[..., Any], skip: int, by_steps: bool
    ) -> None:
        self.steps = bool(meter.yielding) or (by_steps and meter.owning is not None)
        self.cpu = "cpu" in meter.yielding
        self._epoch = meter.epoch
        self._recorder = meter.recorder
        self._inflight = meter.inflight
        self._naming = meter.make_naming(function, skip) if meter.make_naming else None
        companions = [make(function, skip) for make in meter.companions]
        self._keeps_arguments = bool(companions)  # only these may ask for them at the end
        if meter.yielding:
            from tach.agent.green import Yielding

            companions.insert(0, Yielding(meter.yielding, by_steps))
        if meter.owning is not None:  # the last to begin: what the others do is not its time
            companions.append(meter.owning.companion(by_steps))
        self._companions = tuple(companions)
        self._owns = meter.owning is not None
        self._outer: ContextVar[Outer] | None = ContextVar("tach") if meter.outermost else None
        self._plain = not (meter.inflight or meter.outermost or companions)

    def enter(self, args: Args, kwargs: Kwargs) -> Any:
        """A call begins."""
        call: Any = None
        try:
            naming = self._naming
            if self._outer is not None and self._is_inside(self._outer):
                return None
            recorder: Recorder | None
            recorder, payload = self._recorder, None
            if naming is not None:
                recorder, payload = naming.begin(args, kwargs)
            if self._plain and recorder is not None:
                if recorder.words is None:
                    recorder.begin()
                return [recorder, self._epoch.number]
            call = [recorder, self._epoch.number, [], None, [], 0, args, kwargs]
            self._enter(call, recorder, payload)
        except EXHAUSTED:
            pass  # no more of this call is measured
        except BaseException as error:
            if call is not None:
                self.leave(call, 0, None, error)
            raise
        return call

    def _enter(self, call: Any, recorder: Recorder | None, payload: dict[str, Any] | None) -> None:
        if self._outer is not None:
            call[_OUTER] = outer = Outer(self._epoch.number)
            self._outer.set(outer)
        if recorder is not None:
            recorder.begin()
            if self._inflight:
                recorder.enter(monotonic_ns(), call[_RUNNING])
        started, args, kwargs = call[_STARTED], call[_ARGS], call[_KWARGS]
        for each in self._companions:
            started += (each.start(args, kwargs, payload),)
        # The program may want them to be freed.
        if recorder is not None and not self._keeps_arguments:
            call[_ARGS], call[_KWARGS] = (), {}

    def frame(self, call: Any) -> Frame | None:
        """What is to be resumed and paused with each step of a call that `enter` let begin."""
        if not self._owns or call is None or len(call[_STARTED]) < len(self._companions):
            return None
        found: Frame = call[_STARTED][-1]
        return found

    def leave(
        self,
        call: Any,
        elapsed: int,
        result: Any,
        error: BaseException | None,
        steps: Steps | None = None,
    ) -> None:
        """The call has ended after `elapsed` nanoseconds.

        After a fork inside the call it is not the child's to count.
        """
        if call is None or call[_EPOCH] != self._epoch.number:
            return
        while len(call) > _RUNNING:
            try:
                self._leave(call, elapsed, result, error, steps)
                break
            except EXHAUSTED:
                if call[_RECORDER] is None or call[_STOPPED] == len(call[_STARTED]):
                    break
                call[_STOPPED] += 1  # the next of them may need less
        recorder, call[_EPOCH] = call[_RECORDER], -1
        if recorder is None:  # there was no room left to find it
            return
        try:
            recorder.count(elapsed)
            if error is not None:
                recorder.count_failure(error)
        except EXHAUSTED:
            pass

    def _leave(
        self,
        call: Any,
        elapsed: int,
        result: Any,
        error: BaseException | None,
        steps: Steps | None,
    ) -> None:
        recorder, _, running, outer, started, stopped, args, kwargs = call
        if outer is not None:
            outer.runs = False
        if running:
            recorder.leave(running)
        if recorder is None:
            assert self._naming is not None
            call[_RECORDER] = recorder = self._naming.end(args, kwargs, result, error)
        if stopped == len(started):
            return
        ended = Ended(recorder, args, kwargs, elapsed, steps)
        ended.result, ended.error = result, error
        for place in range(stopped, len(started)):
            self._companions[place].stop(started[place], ended)
            call[_STOPPED] = place + 1

    def _is_inside(self, outer: ContextVar[Outer]) -> bool:
        """Whether a call of this function runs around this one, in this process."""
        found = outer.get(None)
        return found is not None and found.runs and found.epoch == self._epoch.number
