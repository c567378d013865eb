"""Finds modules where the import system would, without importing any."""

from __future__ import annotations

import sys
from pkgutil import iter_modules

from tach.agent.hook import TargetFinder, is_pattern, matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def locate(name: str) -> Any:
    """The spec of the module, None where there is none. Packages around it stay unimported."""
    path = spec = None
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        if length > 1 and path is None:
            return None
        spec = _spec(".".join(parts[:length]), path)
        if spec is None:
            return None
        path = _places(spec)
    return spec


def _spec(name: str, path: list[str] | None) -> Any:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    if spec is not None:
        return spec
    for finder in sys.meta_path:
        if not isinstance(finder, TargetFinder) and hasattr(finder, "find_spec"):
            spec = finder.find_spec(name, path)
            if spec is not None:
                return spec
    return None


def _places(spec: Any) -> list[str] | None:
    """Where the modules of a package are; None of what is none."""
    module = sys.modules.get(spec.name)
    places = getattr(module, "__path__", None) or spec.submodule_search_locations
    if places is None:
        return None
    # That of a namespace package asks its parent, which may not have been imported.
    return list(getattr(places, "_path", places))


def inside(package: str) -> list[str]:
    """The names of the modules of the package ("" for those of no package), unsorted."""
    if not package:
        names = [each.name for each in iter_modules()]
        return [*names, *sys.stdlib_module_names]
    spec = locate(package)
    places = _places(spec) if spec is not None else None
    return [f"{package}.{each.name}" for each in iter_modules(places)] if places else []


def is_package(name: str) -> bool:
    """Whether there may be modules in it."""
    spec = locate(name)
    return spec is not None and _places(spec) is not None


def head(pattern: str) -> str:
    """The package in which all modules are that the pattern means; "" if it does not say."""
    return pattern.replace("?", "*").partition("*")[0].rpartition(".")[0]


def first_missing(name: str) -> str:
    """The module, or the outermost of the packages around it, that is not there; "" if all are."""
    parts = name.split(".") if name else []
    names = (".".join(parts[: length + 1]) for length in range(len(parts)))
    return next((each for each in names if locate(each) is None), "")


def matching(pattern: str) -> Iterator[str]:
    """The modules that the pattern means, but none that is a program (`__main__`).

    None at all where the pattern begins with a wildcard, which may mean every module there is.
    """
    package = head(pattern)
    start = pattern.replace("?", "*").partition("*")[0]
    tops = [each for each in inside("") if start and each.startswith(start)]
    names = [package] if package else tops
    seen = set()
    for name in names:
        if name not in seen and not name.endswith("__main__"):
            seen.add(name)
            if matches(pattern, name):
                yield name
            if is_pattern(pattern):
                names += inside(name)
