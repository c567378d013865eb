"""Makes the meters of a process, as the plan's targets say, and keeps their recorders."""

from __future__ import annotations

from tach import layout
from tach.agent.meter import Epoch, Meter, Owning
from tach.agent.recorder import Recorder
from tach.names import component, other_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tach.agent.meter import MakeCompanion, MakeNaming
    from tach.agent.naming import SeriesTable
    from tach.agent.notifications import Notifications
    from tach.agent.segment import Segment

    # index, name, ignore (exceptions), and where wanted: event, template, helper, after,
    # max_series, value, queued, stamp, inflight, outermost, yielding, own, custom, debug
    Target = dict[str, Any]


class Meters:
    """`tell_debug` takes what the metric `debug` has to say of a call."""

    def __init__(
        self,
        segment: Segment,
        notifications: Callable[[], Notifications],
        on_trouble: Callable[[str], None],
        tell_debug: Callable[[str], None],
    ) -> None:
        self._segment = segment
        self._notifications = notifications
        self._on_trouble = on_trouble
        self._tell_debug = tell_debug
        self._epoch = Epoch()
        self._meters: dict[tuple[int, str], Meter] = {}
        self._tables: dict[int, SeriesTable] = {}  # by index of the target

    def after_fork(self) -> None:
        """Start anew, in the child's own segment."""
        self._epoch.number += 1
        for meter in list(self._meters.values()):
            meter.recorder.after_fork()
        for table in list(self._tables.values()):
            table.after_fork()

    def meter(self, target: Target, label: str = "") -> Meter:
        """The meter of the target's functions of that label ("" if it names one function)."""
        key = target["index"], label
        found = self._meters.get(key)
        return found or self._meters.setdefault(key, self._make(target, label))

    def _recorder(self, target: Target, name: str) -> Recorder:
        return Recorder(self._segment, target["index"], target["ignore"], self._on_trouble, name)

    def _make(self, target: Target, label: str) -> Meter:
        get = target.get
        own = f"{target['name']}.{label}" if label else target["name"]
        return Meter(
            self._recorder(target, own if label else ""),
            self._epoch,
            inflight=get("inflight", False),
            outermost=get("outermost", False),
            yielding=frozenset(get("yielding", ())),
            owning=_owning(own, target) if get("own") else None,
            make_naming=self._naming(target, label, own),
            companions=tuple(self._companions(target, label, own)),
        )

    def _naming(self, target: Target, label: str, own: str) -> MakeNaming | None:
        helper, after = target.get("helper", ""), target.get("after", "")
        template = target.get("template")
        if not (helper or after or template):
            return None
        from tach.agent.naming import Naming, SeriesTable

        limit = target["max_series"]
        other = other_name(template or (), target["name"])
        table = self._tables.setdefault(
            target["index"], SeriesTable(lambda name: self._recorder(target, name), limit, other)
        )
        if template and label:
            template = (*template, f".{label}")
        if template:
            return lambda function, skip: Naming(template, table, function, skip, self._on_trouble)
        from tach.agent.helpers import HelperNaming

        naming = HelperNaming(helper, after, own, table, limit, self._on_trouble)
        return lambda _function, _skip: naming

    def _companions(self, target: Target, label: str, own: str) -> list[MakeCompanion]:
        found: list[MakeCompanion] = []
        if target.get("event"):
            event = target["event"]
            if label:
                event = {**event, "event": f"{event['event']}.{label}"}
            found.append(self._notifications().maker(event))
        if target.get("value"):
            found.append(self._value(*target["value"]))
        if target.get("queued") or target.get("stamp"):
            found += self._queued(target)
        found += [self._custom(where) for where in target.get("custom", ())]
        if target.get("debug"):
            from tach.agent.debug import Debug

            found.append(lambda _function, _skip: Debug(own, self._tell_debug))
        return found

    def _value(self, path: tuple[Any, ...], of_length: bool) -> MakeCompanion:
        from tach.agent.companions import Value

        return lambda function, skip: Value(path, of_length, function, skip, self._on_trouble)

    def _queued(self, target: Target) -> list[MakeCompanion]:
        from tach.agent.queued import Queued, Stamp

        paths, stamp, trouble = target.get("queued"), target.get("stamp"), self._on_trouble
        found: list[MakeCompanion] = []
        if paths:
            found.append(lambda function, skip: Queued(paths, function, skip, trouble))
        if stamp:
            found.append(lambda function, skip: Stamp(stamp, function, skip, trouble))
        return found

    def _custom(self, where: str) -> MakeCompanion:
        from tach.agent.companions import Custom

        metric = Custom(where, self._on_trouble)
        return lambda _function, _skip: metric


def _owning(name: str, target: Target) -> Owning:
    from tach.agent import frames
    from tach.agent.probes import compiled

    counts_waiting = "waiting" in target.get("yielding", ())
    return Owning(compiled() or frames, name, target["own"]["callers"], counts_waiting)


def label_of(module_pattern: str, module: str, pattern: str, qualname: str) -> str:
    """What of a function's name the wildcards of its target stand for, as components of a name."""
    modules = _from_first_wildcard(module_pattern, module)
    names = qualname if modules else _from_first_wildcard(pattern, qualname)
    parts = [*modules.split("."), *names.split(".")]
    return ".".join([component(each) for each in parts if each])[: layout.E_NAME_LIMIT]


def _from_first_wildcard(pattern: str, text: str) -> str:
    for place, part in enumerate(pattern.split(".")):
        if "*" in part or "?" in part:
            return ".".join(text.split(".")[place:])
    return ""
