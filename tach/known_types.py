"""Which metric types and notifier types there are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from types import ModuleType


class KnownTypes:
    """The types of a registry. Entry points are looked for only if a name is not a built-in one."""

    def __init__(self, registry: ModuleType) -> None:
        self._registry = registry

    def __contains__(self, name: str) -> bool:
        return name in self._registry.BUILTIN or name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    @cached_property
    def _names(self) -> list[str]:
        names: list[str] = self._registry.names()
        return names
