"""The targets of a process by the modules that their functions are in."""

from __future__ import annotations

import sys

from tach.agent.hook import is_pattern, matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from tach.agent.meters import Target
    from tach.agent.plan_log import Record

    ByModule = dict[str, list[Target]]

MAIN = "__main__"


class Targets:
    """`by_module`: module, or a pattern of modules -> targets, each with its `qualname`."""

    def __init__(self, by_module: ByModule) -> None:
        self.by_module = by_module
        self.named = {name: each for name, each in by_module.items() if not is_pattern(name)}
        self._patterns = {name: each for name, each in by_module.items() if is_pattern(name)}

    def __iter__(self) -> Iterator[Target]:
        for each in self.by_module.values():
            yield from each

    def changed(self, change: Record) -> Targets:
        """The targets after the change (`tach.agent.plan_log`), which may be one before it too."""
        new = [each["index"] for targets in change["targets"].values() for each in targets]
        removed = {*change["removed"], *new}
        left = {
            module: [each for each in targets if each["index"] not in removed]
            for module, targets in self.by_module.items()
        }
        for module, targets in change["targets"].items():
            left[module] = [*left.get(module, ()), *targets]
        return Targets({module: targets for module, targets in left.items() if targets})

    def of(self, module: str) -> list[tuple[Target, str]]:
        """The targets in the module, with the name or pattern of modules that each is for."""
        found = [(target, module) for target in self.named.get(module, ())]
        for pattern, targets in self._patterns.items():
            if matches(pattern, module):
                found += [(target, pattern) for target in targets]
        return found

    def is_wanted(self, module: str) -> bool:
        """Whether a pattern wants functions of the module. Those of tach are nobody's."""
        if not self._patterns or module.partition(".")[0] == "tach" or module == MAIN:
            return False
        return any(matches(pattern, module) for pattern in self._patterns)

    def among(self, modules: list[str]) -> list[str]:
        """The modules of the targets: those that have names, and which of `modules` are wanted."""
        named = [name for name in self.named if name != MAIN]
        wanted = [name for name in modules if self.is_wanted(name)] if self._patterns else []
        return [*named, *(name for name in wanted if name not in self.named)]

    def want(self, key: str) -> bool:
        """Whether some target says something under that key."""
        return any(key in target for target in self)


def names_of_main() -> tuple[str, ...]:
    """What targets may call the main module that is about to run: `__main__`, the module or file.

    As the interpreter was started, which knows no more at that moment.
    """
    argument = sys.argv[0] if sys.argv else ""
    if argument == "-m":
        module = sys.orig_argv[len(sys.orig_argv) - len(sys.argv)]
        module = module.partition("m")[2] if module.startswith("-") else module
        return (MAIN, module, f"{module}.__main__")
    return _names_of_file(argument)


def names_of(main: ModuleType | None) -> tuple[str, ...]:
    """What targets may call the main module that runs, by what it says itself."""
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return (MAIN, spec.name)
    return _names_of_file(getattr(main, "__file__", None) or "")


def _names_of_file(file: str) -> tuple[str, ...]:
    if file.endswith(".py"):
        return (MAIN, file.rpartition("/")[2].removesuffix(".py"))
    return (MAIN,)
