"""Puts a probe in the place of a callable, and takes it out again."""

from __future__ import annotations

from types import CellType

from tach.agent.finding import CannotPatch, Found, defines, depth, expand, find, is_there
from tach.agent.kinds import Kind
from tach.agent.probe import unprobed
from tach.agent.probes import Probes, become, compiled, disable, implementation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from tach.agent.early import Holder
    from tach.agent.meter import Meter
    from tach.agent.meters import Target

__all__ = [
    "CannotPatch",
    "Patch",
    "Patcher",
    "defines",
    "depth",
    "expand",
    "find",
    "implementation",
    "is_there",
]


class Former:
    """A probe that was somewhere before, and those before that."""

    __slots__ = ("older", "probe")

    def __init__(self, probe: Any, older: Former | None) -> None:
        self.probe = probe
        self.older = older


class Patch:
    """A probe in its place, with what is needed to take it out again.

    `target` is what it measures for, by `meter`; `early` says who had taken the function before.
    """

    __slots__ = (
        "_bare",
        "_former",
        "_rebound",
        "early",
        "found",
        "is_leaving",
        "meter",
        "probe",
        "replacement",
        "target",
    )

    def __init__(self, found: Found, kind: Kind, probe: Any, meter: Meter) -> None:
        self.found = found
        self.replacement = kind.with_probe(probe)
        self.probe = probe
        self.meter = meter
        self.target: Target = {}
        self.early = ""
        self.is_leaving = False
        self._bare = kind.function
        self._rebound: list[Holder] = []
        # probes that were here before, which somebody may hold; what has measured by this one
        self._former: Former | None = None

    def rebind(self, holder: Holder) -> bool:
        """Put the probe where somebody holds the function; whether that can be."""
        try:
            _replace(holder, self.probe)
        except Exception:  # noqa: BLE001 - classes and objects of the program have their own ways
            return False
        self._rebound.append(holder)
        return True

    def turn_to(self, other: Any, meter: Meter) -> None:
        """From the next call on measure as `other`, a probe of the same function, would."""
        become(self.probe, other)
        # calls that run now still need what it has got
        self._former = Former(other, self._former)
        self.meter = meter

    def move_to(self, patch: Patch) -> None:
        """Be that patch from now on, which is for the same attribute and meter.

        Who has the old probe goes on with it: it measures too.
        """
        for each in self._rebound:
            if _holds(each, self.probe):
                _replace(each, patch.probe)
        self._former = Former(self.probe, self._former)
        self.found, self.replacement, self.probe = patch.found, patch.replacement, patch.probe
        self._bare = patch._bare

    def disable(self) -> None:
        """Measure no more, where the probe is and where others hold it."""
        disable(self.probe)
        former = self._former
        while former is not None:
            disable(former.probe)
            former = former.older

    def is_in_place(self) -> bool:
        """Whether nobody has put another in the place of the probe since."""
        return vars(self.found.owner).get(self.found.name) is self.replacement

    def undo(self) -> bool:
        """Put the original back; the probe, which others may hold, measures no more.

        False where somebody else has put another in the place of the probe since: that stays.
        """
        self.disable()
        for each in self._rebound:
            if _holds(each, self.probe):
                _replace(each, self._bare)
        found = self.found
        if not self.is_in_place():
            return False
        if found.own:
            _store(found.owner, found.name, found.raw)
        else:
            _remove(found.owner, found.name)
        return True


class Patcher:
    """Puts probes in place that are built upon `proxy`, wrapt's ObjectProxy."""

    def __init__(self, proxy: type[Any], probes: Probes | None = None) -> None:
        self._probes = probes or Probes(proxy, compiled())

    def patch(self, module: ModuleType, qualname: str, meter: Meter) -> Patch | None:
        """Measure `module:qualname`; None where that is done already. Raises CannotPatch."""
        found = find(module, qualname)
        kind = Kind(found)
        if any(each.target == meter.recorder.target for each in unprobed(kind.function)[1]):
            return None  # by this name, or by another that the target's wildcard takes
        patch = Patch(found, kind, self._probe(kind, meter), meter)
        try:
            _store(found.owner, found.name, patch.replacement)
        except (TypeError, AttributeError) as error:
            raise CannotPatch("refused", f"its class cannot be changed ({error})") from None
        return patch

    def turn(self, patch: Patch, meter: Meter) -> None:
        """Have the probe that is in place measure by `meter`. Raises CannotPatch."""
        patch.turn_to(self._probe(Kind(patch.found), meter), meter)

    def move(self, patch: Patch, raw: Any, own: bool, in_place: bool) -> None:
        """Have the patch go around `raw`, and if it is `in_place` be so. Raises CannotPatch."""
        found = Found(patch.found.owner, patch.found.name, raw, own)
        kind = Kind(found)
        moved = Patch(found, kind, self._probe(kind, patch.meter), patch.meter)
        if in_place:
            _store(found.owner, found.name, moved.replacement)
        patch.move_to(moved)

    def _probe(self, kind: Kind, meter: Meter) -> Any:
        if meter.outermost and "generator" in kind.flow:
            raise CannotPatch("refused", "outermost is not for generators, which pause in between")
        return self._probes.probe(kind, meter)


def _replace(holder: Holder, value: Any) -> None:
    container = holder.container
    if holder.namespace:
        _store(holder.owner, holder.key, value)
    elif type(container) in (list, dict):
        container[holder.key] = value
    elif type(container) is CellType:
        container.cell_contents = value
    else:  # past any `__setattr__` of the program's
        object.__setattr__(container, holder.key, value)


def _holds(holder: Holder, probe: Any) -> bool:
    container = holder.container
    try:
        if type(container) in (list, dict):
            return container[holder.key] is probe
        if type(container) is CellType:
            return container.cell_contents is probe
        return object.__getattribute__(container, holder.key) is probe
    except (LookupError, ValueError, AttributeError):
        return False


def _store(owner: Any, name: str, value: Any) -> None:
    """Set the attribute past any `__setattr__` of the program's."""
    if not isinstance(owner, type):
        vars(owner)[name] = value
        return
    try:
        type.__setattr__(owner, name, value)
    except TypeError:  # its metaclass is written in C, and keeps books
        setattr(owner, name, value)


def _remove(owner: type, name: str) -> None:
    try:
        type.__delattr__(owner, name)
    except TypeError:
        delattr(owner, name)
