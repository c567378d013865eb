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

    def __init__(
        self,
        names: frozenset[str],
        executed: Callable[[str, ModuleType], None],
        is_wanted: Callable[[str], bool],
        is_curious: Callable[[], bool] = lambda: False,
    ) -> None:
        self._names = names
        self._is_wanted = is_wanted  # beside those names
        self._is_curious = is_curious  # about the next one, whatever it is
        self._executed = executed
        self._told: dict[str, int] = {}
        self._passed_over = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The spec that the other finders give, its loader watched if it is one of ours."""
        rest = self._behind_us(sys.meta_path)
        if self._passed_over:
            self._catch_up()
        if name not in self._names and not self._is_wanted(name) and not self._is_curious():
            return None
        for finder in rest:
            spec = _ask(finder, name, path, target)
            if spec is not None:
                return self._watched(spec)
        return None

    def watch(self, names: frozenset[str], executing: bool) -> None:
        """See these modules executed from now on; some of them may be `executing` unseen now."""
        self._names = names
        self._passed_over = self._passed_over or executing

    def _behind_us(self, finders: list[Any]) -> list[Any]:
        """The finders that have not been asked before us; from now on none will be."""
        place = finders.index(self) if self in finders else -1
        rest = finders[place + 1 :]
        if place > 0:
            # A finder that the program puts before us hides the modules that it finds.
            finders.insert(0, self)
            del finders[finders.index(self, 1)]
            self._passed_over = True
        return rest

    def _catch_up(self) -> None:
        """Tell of the modules that somebody before us has found."""
        self._passed_over = False
        wanted = {*self._names, *filter(self._is_wanted, list(sys.modules))}
        for name in wanted - self._told.keys():
            module = sys.modules.get(name)
            if module is None:
                continue
            if getattr(getattr(module, "__spec__", None), "_initializing", False):
                self._passed_over = True
            else:
                self.tell(name, module)

    def _watched(self, spec: Any) -> Any:
        if hasattr(spec.loader, "exec_module") or hasattr(spec.loader, "load_module"):
            spec.loader = WatchedLoader(spec, self)
        return spec

    def tell(self, name: str, module: ModuleType) -> None:
        """Say that the module has been executed."""
        self._told[name] = self.times_told(name) + 1
        now = sys.modules.get(name)  # some modules put another object in their place
        self._executed(name, module if now is None else now)

    def times_told(self, name: str) -> int:
        """How often the module of that name has been executed so far."""
        return self._told.get(name, 0)

    def invalidate_caches(self) -> None:
        """Nothing is cached here."""


def _ask(finder: Any, name: str, path: Any, target: Any) -> Any:
    find = getattr(finder, "find_spec", None)
    if find is not None:
        return find(name, path, target)
    # until Python 3.11, finders of the kind that has find_module are asked too
    legacy = getattr(sys.modules["_frozen_importlib"], "_find_spec_legacy", None)
    return legacy and legacy(finder, name, path)


class WatchedLoader:
    """Stands in for a spec's loader until the module is executed; no trace of it stays behind."""

    def __init__(self, spec: Any, finder: TargetFinder) -> None:
        self._tach = (spec, spec.loader, finder)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._tach[1])

    def __getattr__(self, name: str) -> Any:
        spec, loader, _ = self._tach
        found = getattr(loader, name)
        if name == "exec_module":
            return self._exec
        if name == "load_module":
            return self._load
        if name == "get_code":
            # runpy is about to run the module as __main__, with this spec as its own
            spec.loader = loader
        return found

    def _exec(self, module: ModuleType) -> None:
        spec, loader, finder = self._tach
        times = finder.times_told(spec.name)
        _restore(spec, module, self, loader)
        loader.exec_module(module)
        if finder.times_told(spec.name) == times:  # else another one within this loader told
            finder.tell(spec.name, module)

    def _load(self, *name: str) -> ModuleType:
        spec, loader, finder = self._tach
        spec.loader = loader
        module: ModuleType = loader.load_module(*name)
        finder.tell(spec.name, module)
        return module


# The import system leaves its own frames out of tracebacks and warnings: these two are of it.
for _function in (WatchedLoader._exec, WatchedLoader._load):
    _function.__code__ = _function.__code__.replace(co_filename="<frozen importlib._bootstrap>")


def _restore(spec: Any, module: Any, watched: WatchedLoader, loader: Any) -> None:
    if spec.loader is watched:
        spec.loader = loader
    names = vars(module)
    if names.get("__loader__") is watched:
        names["__loader__"] = loader
    own_spec = names.get("__spec__")
    if own_spec is not spec and getattr(own_spec, "loader", None) is watched:
        own_spec.loader = loader


def is_pattern(text: str) -> bool:
    """Whether it is a pattern and not a name."""
    return "*" in text or "?" in text


def matches(pattern: str, text: str) -> bool:
    """Whether the text is what the pattern says, `*` being any text and `?` one character."""
    at = star = 0
    mark, retry = -1, 0
    while at < len(text):
        if star < len(pattern) and pattern[star] == "*":
            mark, retry = star, at
            star += 1
        elif star < len(pattern) and pattern[star] in ("?", text[at]):
            star += 1
            at += 1
        elif mark >= 0:
            retry += 1
            at, star = retry, mark + 1
        else:
            return False
    return not pattern[star:].strip("*")
