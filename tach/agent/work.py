"""The measurement of one generator or coroutine, from its first step to its end."""

from __future__ import annotations

from tach.agent.clock import monotonic_ns, thread_time_ns
from tach.agent.green import watch
from tach.agent.meter import Steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tach.agent.green import Watch
    from tach.agent.meter import Measurement
    from tach.agent.own import Frame as OwnFrame

    Args = tuple[Any, ...]
    Kwargs = dict[str, Any]


class Work:
    """The measurement of `inner`; its attributes' names begin with `prefix`: gi, cr or ag."""

    __slots__ = (
        "_args",
        "_began",
        "_call",
        "_cpu",
        "_frame",
        "_inner",
        "_kwargs",
        "_measurement",
        "_own",
        "_resumed",
        "_running",
        "_steps",
        "_watch",
        "_with_cpu",
        "started",
    )

    def __init__(
        self, measurement: Measurement, inner: Any, prefix: str, args: Args, kwargs: Kwargs
    ) -> None:
        self._measurement: Measurement | None = measurement
        self._inner = inner
        self._frame = f"{prefix}_frame"
        self._running = f"{prefix}_running"
        self._args: Args | None = args
        self._kwargs: Kwargs | None = kwargs
        self._call: Any = None
        self._began = 0
        self.started = False
        self._resumed = 0  # when it began to run; 0 while it does not
        self._steps = Steps() if measurement.steps else None
        self._with_cpu = measurement.cpu
        self._watch: Watch | None = None
        self._own: OwnFrame | None = None

    def resume(self) -> None:
        """It is about to run, perhaps for the first time."""
        if not self.started:
            self._start()
        if self._steps is not None and not self._resumed:
            self._resumed = monotonic_ns()
            if self._with_cpu:
                self._cpu = thread_time_ns()
            self._watch = watch(self._with_cpu, True)
            if self._own is not None:
                self._own.resume()

    def _start(self) -> None:
        measurement, args, kwargs = self._measurement, self._args, self._kwargs
        if measurement is None or args is None or kwargs is None or self._is_over():
            return
        if self._call is None:  # else a signal handler came in between
            self._call = measurement.enter(args, kwargs)
        self._own = measurement.frame(self._call)
        self._began = monotonic_ns()
        self._args = self._kwargs = None  # the program may want them to be freed
        self.started = True

    def pause(self) -> None:
        """It has paused."""
        self._count_step(1)

    def _count_step(self, pauses: int) -> None:
        steps = self._steps
        if steps is not None and self._resumed:
            if self._own is not None:
                self._own.pause()
            ran = longest = monotonic_ns() - self._resumed
            self._resumed = 0
            if self._with_cpu:
                steps.cpu += thread_time_ns() - self._cpu
            watched, self._watch = self._watch, None
            if watched is not None:
                watched.end()
                ran -= watched.out
                longest = watched.longest
                steps.cpu -= watched.cpu
                pauses += watched.pauses
            steps.running += ran
            steps.longest = max(steps.longest, longest)
            steps.pauses += pauses

    def stopped(self, error: BaseException) -> None:
        """A step of it has raised `error`; that it is over, if it is."""
        ended = monotonic_ns()
        if getattr(self._inner, self._running):
            return  # the step was refused, within another one
        if not self._is_over():
            self.pause()
            return
        self._count_step(0)
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            self._end(ended, getattr(error, "value", None), None)
        else:
            self._end(ended, None, error)

    def closed(self) -> None:
        """It has been closed; that it is over, if it is."""
        if self._is_over():
            self.stopped(GeneratorExit())
        else:
            self._count_step(0)

    def __del__(self) -> None:
        try:
            self._end(monotonic_ns(), None, GeneratorExit())
        except Exception:  # noqa: BLE001 - the interpreter is being taken down
            pass
        except BaseException:  # a signal handler has come up
            self._end(monotonic_ns(), None, GeneratorExit())
            raise

    def _is_over(self) -> bool:
        return getattr(self._inner, self._frame) is None

    def _end(self, at: int, result: Any, error: BaseException | None) -> None:
        measurement, self._measurement = self._measurement, None
        self._args = self._kwargs = None
        call, self._call = self._call, None
        if measurement is not None:
            elapsed = at - self._began if self._began else 0
            try:
                measurement.leave(call, elapsed, result, error, self._steps)
            except BaseException:
                measurement.leave(call, elapsed, result, error, self._steps)  # do the rest
                raise


_NEW, _BEGUN, _OVER = range(3)


class Step:
    """One `asend`, `athrow` or `aclose`: a part of the work of an asynchronous generator.

    It `begins` if it may be the first of them.
    """

    __slots__ = ("_begins", "_generator", "_state", "_work")

    def __init__(self, work: Work, generator: Any, begins: bool) -> None:
        self._work = work
        self._generator = generator
        self._begins = begins
        self._state = _NEW

    @property
    def started(self) -> bool:
        """Whether the generator has been."""
        return self._work.started

    def resume(self) -> None:
        """It is about to go on, if it is not refused."""
        if self._state == _NEW and not self._generator.ag_running:
            self._state = _BEGUN
        if self._state == _BEGUN and (self._begins or self._work.started):
            self._work.resume()

    def pause(self) -> None:
        """It waits for something."""
        self._work.pause()

    def stopped(self, error: BaseException) -> None:
        """It has raised `error`, as it does at its end too."""
        if self._state == _BEGUN:
            self._state = _OVER
        if type(error) is StopIteration and not self._begins:
            error = GeneratorExit()  # `aclose` ends with a StopIteration too
        self._work.stopped(error)

    def closed(self) -> None:
        """It has been closed."""
        self._state = _OVER
        self._work.closed()
