"""Tells when one of some modules has been executed, whoever imports it and however."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


class TargetFinder:
    """A finder that finds what the others find, and sees the modules it was made for executed.

    `executed` is called with the module after each execution, reloads included; it must not raise.
    """

    def __init__(self, names: frozenset[str], executed: Callable[[str, ModuleType], None]) -> None:
        self._names = names
        self._executed = executed

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The spec that the other finders give, its loader watched if it is one of ours."""
        finders = sys.meta_path
        if finders and finders[0] is not self:
            self._stay_first(finders)
        if name not in self._names:
            return None
        for finder in list(finders):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = find and find(name, path, target)
            if spec is not None:
                return self._watched(spec)
        return None

    def _stay_first(self, finders: list[Any]) -> None:
        # A finder that the program puts before us would hide the modules that it finds.
        if self in finders:
            finders.remove(self)
            finders.insert(0, self)

    def _watched(self, spec: Any) -> Any:
        if hasattr(spec.loader, "exec_module"):
            spec.loader = WatchedLoader(spec, self._executed)
        return spec

    def invalidate_caches(self) -> None:
        """Nothing is cached here."""


class WatchedLoader:
    """Stands in for a spec's loader until the module is executed; no trace of it stays behind."""

    def __init__(self, spec: Any, executed: Callable[[str, ModuleType], None]) -> None:
        self._tach = (spec, spec.loader, executed)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._tach[1])

    def __getattr__(self, name: str) -> Any:
        spec, loader, _ = self._tach
        if name == "get_code":
            # runpy is about to run the module as __main__, with this spec as its own
            spec.loader = loader
        return getattr(loader, name)

    def create_module(self, spec: Any) -> Any:
        """What the loader itself makes; older ones leave it to the import system."""
        create = getattr(self._tach[1], "create_module", None)
        return create(spec) if create else None

    def exec_module(self, module: ModuleType) -> None:
        """Let the loader execute the module, then tell."""
        spec, loader, executed = self._tach
        _restore(spec, module, self, loader)
        loader.exec_module(module)
        # some modules put another object in their place
        executed(spec.name, sys.modules.get(spec.name, module))


def _restore(spec: Any, module: Any, watched: WatchedLoader, loader: Any) -> None:
    if spec.loader is watched:
        spec.loader = loader
    names = vars(module)
    if names.get("__loader__") is watched:
        names["__loader__"] = loader
    own_spec = names.get("__spec__")
    if own_spec is not spec and getattr(own_spec, "loader", None) is watched:
        own_spec.loader = loader
