"""Which probes are used: the compiled ones where there are any, else those written in Python."""

from __future__ import annotations

import posix
from types import CoroutineType, WrapperDescriptorType

from tach import layout
from tach.agent import news
from tach.agent import probe as pure
from tach.agent.likeness import likeness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from tach.agent.distribution import Distribution
    from tach.agent.generators import Stands
    from tach.agent.kinds import Kind
    from tach.agent.meter import Measurement, Meter, Owning
    from tach.agent.recorder import Recorder

_loaded: list[ModuleType | None] = []


def compiled() -> ModuleType | None:
    """The compiled probe; None where there is none, or none is wanted (TACH_PURE=1)."""
    if not _loaded:
        _loaded.append(_load())
    return _loaded[0]


def implementation() -> str:
    """Which probes this process uses: "compiled" or "pure"."""
    return "compiled" if compiled() else "pure"


def _load() -> ModuleType | None:
    if posix.environ.get(b"TACH_PURE", b"0") not in (b"", b"0"):
        return None
    try:
        from tach.agent import _probe
    except ImportError:
        return None
    # what is left of another version of tach, where this one has not been compiled
    known = vars(layout)
    if any(known.get(name) != value for name, value in _probe.LAYOUT.items()):
        return None
    _probe.listen(news.take)
    news.follow(_probe.watch)
    return _probe


def disable(probe: Any) -> None:
    """Measure no more, where the probe itself has to stay."""
    if type(vars(type(probe))["_tach"]) is tuple:
        pure.disable(probe)
    else:
        from tach.agent import _probe

        _probe.disable(probe)


def become(probe: Any, other: Any) -> None:
    """From the next call on let `probe` measure as `other` does, a probe of the same function.

    What it has measured by until now belongs to `other` then, which is to be kept as long as calls
    may run that need it.
    """
    if type(vars(type(probe))["_tach"]) is tuple:
        pure.become(probe, other)
    else:
        from tach.agent import _probe

        _probe.become(probe, other)


class Probes:
    """Makes probes upon `proxy`, wrapt's ObjectProxy; without `compiled` all in Python."""

    def __init__(self, proxy: type[Any], compiled: ModuleType | None) -> None:
        self._proxy = proxy
        self._compiled = compiled
        self._stands: Stands | None = None
        self._classes: dict[tuple[type, bool], type[Any]] = {}
        if compiled is not None:
            try:
                self._bases = compiled.probe_types(proxy)
            except TypeError:  # this wrapt is without its extension
                self._compiled = None
                _loaded[:] = [None]

    @property
    def implementation(self) -> str:
        """Which probes it makes: "compiled" or "pure"."""
        return "pure" if self._compiled is None else "compiled"

    def probe(self, kind: Kind, meter: Meter) -> Any:
        """What goes in the function's place."""
        more = meter.inflight or meter.yielding or meter.owning is not None
        counts = meter.only_counts and (not more or self._compiled is not None)
        if counts and not kind.flow:
            return self.counting(
                kind.function,
                meter.recorder,
                kind.binds,
                meter.inflight,
                meter.owning,
                meter.yielding,
            )
        measurement = meter.measurement(kind.function, kind.skip, bool(kind.flow))
        if kind.flow:
            series = None
            if counts and self._compiled is not None:
                series = self._series(meter.recorder, meter.inflight, meter.owning, meter.yielding)
            return self._stepping(kind.function, meter.recorder, measurement, kind.binds, series)
        return self.measuring(kind.function, meter.recorder, measurement, kind.binds)

    def counting(
        self,
        function: Callable[..., Any],
        recorder: Recorder,
        binds: bool = True,
        inflight: bool = False,
        owning: Owning | None = None,
        yielding: frozenset[str] = frozenset(),
    ) -> Any:
        """A proxy of `function`: its calls, how long they take and what they raise are counted.

        It `binds` as functions in a class do. Only compiled ones know what is `inflight`, own
        times and `yielding`.
        """
        if self._compiled is None:
            return pure.make_probe(self._proxy, function, recorder, binds)
        cls = self._class(function, binds)
        series = self._series(recorder, inflight, owning, yielding)
        return self._compiled.counting_probe(cls, function, recorder, series)

    def _series(
        self,
        recorder: Recorder,
        inflight: bool,
        owning: Owning | None,
        yielding: frozenset[str],
    ) -> Any:
        assert self._compiled is not None
        series = self._compiled.Series(recorder, inflight)
        recorder.on_reset(series.reset)
        if owning is not None:
            series.attribute(owning.account, *self._own(recorder, owning))
        if yielding:
            series.divide(*self._divided(recorder, yielding))
        return series

    def _quantity(self, recorder: Recorder, distribution: Distribution) -> Any:
        assert self._compiled is not None
        series = self._compiled.Series(distribution)
        recorder.on_reset(series.reset)
        return series

    def _own(self, recorder: Recorder, owning: Owning) -> tuple[Any, ...]:
        """What counts the own time of the calls; with callers all that `Own` counts then."""
        from tach.agent import own

        def duration(name: str) -> Any:
            return self._quantity(recorder, recorder.duration(name))

        if not owning.callers:
            return (duration(own.OWN),)
        known = own.Callers()
        return (
            duration(own.OWN),
            duration(own.NESTED),
            None if owning.counts_waiting else duration(own.WAITING),
            lambda caller: self._quantity(recorder, known.quantity(recorder, caller)),
        )

    def _divided(self, recorder: Recorder, wanted: frozenset[str]) -> tuple[Any, ...]:
        """What counts the parts of each call: running, waiting, max_run, cpu and yields."""
        durations = [
            self._quantity(recorder, recorder.duration(name)) if name in wanted else None
            for name in ("running", "waiting", "max_run", "cpu")
        ]
        yields = "yields" in wanted and self._quantity(recorder, recorder.numbers("yields"))
        return (*durations, yields or None)

    def measuring(
        self,
        function: Callable[..., Any],
        recorder: Recorder,
        measurement: Measurement,
        binds: bool,
    ) -> Any:
        """A proxy of `function` whose calls `measurement` measures."""
        if self._compiled is None:
            return pure.make_measuring_probe(self._proxy, function, recorder, measurement, binds)
        enter, leave = measurement.enter, measurement.leave
        cls = self._class(function, binds)
        return self._compiled.measuring_probe(cls, function, recorder, enter, leave)

    def _stepping(
        self,
        function: Callable[..., Any],
        recorder: Recorder,
        measurement: Measurement,
        binds: bool,
        series: Any,
    ) -> Any:
        """A proxy of `function`, which returns generators or coroutines; those are measured.

        By compiled code if there is a `series`, which counts them, and by the measurement else.
        """
        from tach.agent.generators import Stands
        from tach.agent.work import Work

        if self._stands is None:
            self._stands = Stands(self._proxy)
        if self._compiled is None:
            return pure.make_stepping_probe(
                self._proxy, function, recorder, measurement, self._stands, binds
            )

        def make_work(made: Any, args: Any, kwargs: Any) -> Work:
            prefix = "cr" if type(made) is CoroutineType else "gi"
            return Work(measurement, made, prefix, args, kwargs)

        cls = self._class(function, binds)
        make_stand = self._stands.maker(measurement)
        return self._compiled.stepping_probe(
            cls, function, recorder, series, make_stand, make_work, measurement.steps
        )

    def _class(self, function: Any, binds: bool) -> type[Any]:
        """The class of compiled probes of such functions."""
        kind = type(pure.unprobed(function)[0])
        found = self._classes.get((kind, binds))
        return found or self._classes.setdefault((kind, binds), self._make_class(kind, binds))

    def _make_class(self, kind: type[Any], binds: bool) -> type[Any]:
        base = self._bases[binds]
        namespace = {
            "__slots__": (),
            "__module__": type.__getattribute__(kind, "__module__"),
            "__reduce_ex__": pure.reduce,
            "_tach": vars(base)["_tach"],
        }
        if not binds and hasattr(kind, "__get__"):
            namespace["__get__"] = pure.bind_as_it_does
        made = type(kind.__name__, (likeness(base, kind),), namespace)
        assert self._compiled is not None
        self._compiled.finish(made, _call_as(kind))
        return made


def _call_as(kind: type[Any]) -> Callable[..., Any] | None:
    """A `__call__` with the signature of that of the class; None where it needs no other."""
    if type(kind.__call__) is WrapperDescriptorType:
        return None

    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self(*args, **kwargs)

    call.__wrapped__ = kind.__call__  # type: ignore[attr-defined]
    return call
