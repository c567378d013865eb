"""The probes of this process: puts them where targets say, and tells how each target stands."""

from __future__ import annotations

from tach.agent import patching, proxy
from tach.agent.early import Suspects, in_words
from tach.agent.hook import is_pattern
from tach.agent.meters import Meters, label_of
from tach.agent.patches import Patches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from tach.agent.early import Holder
    from tach.agent.journal import Journal
    from tach.agent.meters import Target
    from tach.agent.patching import Patch, Patcher
    from tach.agent.targets import Targets

_CANDIDATES = 200  # names passed on for the sender to find the nearest among


class Instrumentation:
    """Measures with what `make_meters` makes; `before_first` is called before there is a probe."""

    def __init__(
        self,
        journal: Journal,
        make_meters: Callable[[], Meters],
        before_first: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._make_meters = make_meters
        self._before_first = before_first
        self._meters: Meters | None = None
        self._patcher: Patcher | None = None
        self._patches = Patches()
        self._patched: dict[int, set[str]] = {}  # by index of the target: which functions

    def after_fork(self) -> None:
        """Count anew, in the child's own segment."""
        if self._meters is not None:
            self._meters.after_fork()

    def undo(self) -> None:
        """Take every probe out again."""
        self._patches.undo()

    def forget(self) -> None:
        """Hold nothing of the program's any more, which is about to be taken apart.

        The interpreter frees its modules one by one, each with what is in it, and breaks up those
        that somebody holds. The probes stay, and measure.
        """
        self._patches = Patches()

    def let_go(self, wanted: dict[int, Target], settled: dict[int, Target]) -> None:
        """Of the targets by index that were `settled`, those that are not `wanted` may leave.

        Their probes measure until `settle`.
        """
        self._patches.let_go(wanted)
        self._patched = {
            index: each
            for index, each in self._patched.items()
            if index in wanted and wanted[index] == settled.get(index)
        }

    def settle(self) -> None:
        """Take out the probes that may leave and that no target has taken over."""
        if self._patches:
            self._patches.settle(self._patcher_(), self._journal.tell_trouble)

    def patch_module(
        self, names: tuple[str, ...], module: ModuleType, targets: Targets, is_whole: bool = True
    ) -> None:
        """Patch the module, which the targets may call by each of the names.

        What a target misses in it is told only if it `is_whole`.
        """
        functions = [
            each
            for name in names
            for target, pattern in targets.of(name)
            for each in _functions(target, pattern, name, module)
            if is_whole or patching.is_there(module, each[1])
        ]
        # Base classes first: the probe of an inherited method goes around that of the base's.
        functions.sort(key=lambda each: patching.depth(module, each[1]))
        held = self._held(module, {qualname for _, qualname, _ in functions})
        for target, qualname, label in functions:
            patch = self._patch(module, target, qualname, label)
            if patch is not None and held.get(qualname):
                self._tell_early(target, patch, held[qualname])

    def _held(self, module: ModuleType, qualnames: set[str]) -> dict[str, list[Holder]]:
        """Who had taken functions of the module before they are measured."""
        try:
            suspects = Suspects()
            for qualname in qualnames:
                suspects.look(module, qualname)
            return suspects.holders()
        except Exception as error:  # noqa: BLE001 - it looks at objects of the program
            self._journal.tell_trouble(f"early references: {type(error).__name__}")
            return {}

    def _tell_early(self, target: Target, patch: Patch, holders: list[Holder]) -> None:
        left = list(holders)
        for each in holders:
            # In its own module it stays one and the same by all its names, measured or not.
            wanted = each.home or (each.safe and target.get("rebind"))
            if wanted and patch.rebind(each):
                left.remove(each)
        if left:
            patch.early = in_words(left)
            self._journal.tell("early", target["index"], patch.found.name, patch.early)

    def _patch(self, module: ModuleType, target: Target, qualname: str, label: str) -> Patch | None:
        index, tell = target["index"], self._journal.tell_target
        try:
            patch, is_new = self._put_in_place(module, target, qualname, label)
        except patching.CannotPatch as error:
            if not label:
                candidates = " ".join(error.candidates[:_CANDIDATES])
                tell(index, error.state, error.reason, candidates)
            return None
        except Exception as error:  # noqa: BLE001 - must not fail the import
            tell(index, "refused", f"{type(error).__name__}: {error}")
            return None
        if patch is not None:
            self._patched.setdefault(index, set()).add(f"{module.__name__}:{qualname}")
        if not label:
            tell(index, "patched")
        return patch if is_new else None

    def _put_in_place(
        self, module: ModuleType, target: Target, qualname: str, label: str
    ) -> tuple[Patch | None, bool]:
        """What measures the function, if it was not measured so already, and whether it is new.

        Raises CannotPatch. A probe that leaves is turned to what is wanted now: no call is missed.
        """
        patches, patcher = self._patches, self._patcher_()
        meter = self._meters_().meter(target, label)
        patch = patches.leaving_at(patching.find(module, qualname), target)
        if patch is None:
            patch = patcher.patch(module, qualname, meter)
            if patch is not None:
                patch.target = target
                patches.add(patch)
            return patch, True
        if patch.meter is not meter:
            patcher.turn(patch, meter)
        patch.target, patch.is_leaving = target, False
        if patch.early:
            self._journal.tell("early", target["index"], qualname, patch.early)
        return patch, False

    def _patcher_(self) -> Patcher:
        if self._patcher is None:
            self._patcher = patching.Patcher(proxy.object_proxy())
            self._before_first()
        return self._patcher

    def _meters_(self) -> Meters:
        if self._meters is None:
            self._meters = self._make_meters()
        return self._meters

    def tell_patterns(self, names: tuple[str, ...], targets: Targets) -> None:
        """Tell of the targets that mean several functions of these modules how many there are."""
        for name in names:
            for target, pattern in targets.of(name):
                if is_pattern(target["qualname"]) or is_pattern(pattern):
                    self._tell_pattern(name, target, pattern)

    def _tell_pattern(self, module: str, target: Target, pattern: str) -> None:
        index = target["index"]
        count = len(self._patched.get(index, ()))
        if count:
            functions = "1 function" if count == 1 else f"{count} functions"
            self._journal.tell_target(index, "patched", functions)
        elif not is_pattern(pattern):
            reason = f"no {target['qualname']!r} among the functions of module {module}"
            self._journal.tell_target(index, "missing", reason)


def _functions(
    target: Target, pattern: str, name: str, module: ModuleType
) -> list[tuple[Target, str, str]]:
    """The functions of the module that the target means: (target, qualname, label)."""
    qualname = target["qualname"]
    if not is_pattern(qualname) and not is_pattern(pattern):
        return [(target, qualname, "")]
    if is_pattern(qualname):
        names = patching.expand(module, qualname, target.get("exclude", ()))
    else:  # every module that has imported it has the name too
        names = [qualname] if patching.defines(module, qualname) else []
    return [(target, each, label_of(pattern, name, qualname, each)) for each in names]
