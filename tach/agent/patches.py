"""The patches of this process, in the order in which they were made."""

from __future__ import annotations

from tach.agent.finding import inherited

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tach.agent.finding import Found
    from tach.agent.meters import Target
    from tach.agent.patching import Patch, Patcher


class Patches:
    """Several may be for one attribute: then a later one goes around the earlier ones."""

    def __init__(self) -> None:
        self._patches: list[Patch] = []

    def __len__(self) -> int:
        return len(self._patches)

    def add(self, patch: Patch) -> None:
        """Keep a patch that has just been made."""
        self._patches.append(patch)

    def undo(self) -> None:
        """Take all of them out again."""
        while self._patches:
            self._patches.pop().undo()

    def let_go(self, wanted: dict[int, Target]) -> None:
        """Mark those as leaving that are for no target, by index, that is wanted. They go on."""
        for each in self._patches:
            each.is_leaving = wanted.get(each.target["index"]) != each.target

    def leaving_at(self, found: Found, target: Target) -> Patch | None:
        """One of that attribute that is leaving, the target's own before those of others."""
        there = [
            each
            for each in self._patches
            if each.is_leaving
            if each.found.owner is found.owner and each.found.name == found.name
        ]
        there.sort(key=lambda each: each.target["name"] != target["name"])
        return there[0] if there else None

    def settle(self, patcher: Patcher, on_trouble: Callable[[str], None]) -> None:
        """Take out what is leaving, and let what stays go around what is there without it."""
        leaving = [each for each in self._patches if each.is_leaving]
        for each in leaving:
            each.disable()
        for each in reversed(leaving):
            each.undo()
        self._patches = [each for each in self._patches if not each.is_leaving]
        instead = {id(each.replacement): (each.found.raw, each.found.own) for each in leaving}
        kept = [each.replacement for each in leaving]  # for their ids to stay theirs
        for each in self._patches:
            raw, own = _behind(each, instead)
            if raw is each.found.raw or not self._is_ours(each.found):
                continue
            before = each.replacement
            try:
                patcher.move(each, raw, own, each.is_in_place())
            except Exception as error:  # noqa: BLE001 - it stays as it was, and measures
                on_trouble(f"{each.found.name}: {type(error).__name__}: {error}")
                continue
            kept.append(before)
            instead[id(before)] = each.replacement, True

    def _is_ours(self, found: Found) -> bool:
        """Whether it is our own that is in that place, and nobody's around it."""
        there = [
            each
            for each in self._patches
            if each.found.owner is found.owner and each.found.name == found.name
        ]
        return there[-1].is_in_place()


def _behind(patch: Patch, instead: dict[int, tuple[Any, bool]]) -> tuple[Any, bool]:
    """What the patch should go around, and whether its owner has that itself."""
    raw, own = patch.found.raw, patch.found.own
    if not own:
        raw = inherited(patch.found, raw)
    while id(raw) in instead:
        raw, is_own = instead[id(raw)]
        own = own and is_own
    return raw, own
