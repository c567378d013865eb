"""The program itself, which is looked up in its source: to import it might be to run it."""

from __future__ import annotations

import posix

from tach.agent import modules, reasons
from tach.agent.definitions import Definitions
from tach.agent.finding import CannotPatch
from tach.agent.hook import is_pattern
from tach.agent.meters import label_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Record = dict[str, Any]

MAIN = "__main__"


class Source:
    """The source of the program that is a `file`, or else a `module`, or else `text`."""

    def __init__(self, file: str, module: str, text: str) -> None:
        self._file = file
        self._module = module
        self._text = text
        if module and modules.is_package(module):
            self._module = f"{module}.{MAIN}"

    def has(self, name: str) -> bool:
        """Whether it is the module of that name, or would be if it did not run as `__main__`."""
        if name in (MAIN, self._module):
            return True
        if not self._file:
            return False
        spec = modules.locate(name)
        return spec is not None and spec.origin is not None and _same(spec.origin, self._file)

    def look(self, targets: list[Record]) -> Iterator[Record]:
        """What the targets mean, as records of `tach.agent.look`."""
        try:
            definitions = self._definitions()
        except (OSError, SyntaxError, ValueError) as error:
            for target in targets:
                yield {"trouble": target["module"], **reasons.why(target["module"], error)}
            return
        for target in targets:
            if not self._runs_as(target["module"]):
                text = "the program's own file runs as __main__; write __main__:"
                what = reasons.reason(f"{text}{target['qualname']}")
                yield {"trouble": target["module"], **what}
                continue
            names = [target["qualname"]]
            if is_pattern(target["qualname"]):
                names = definitions.expand(target["qualname"], tuple(target["exclude"]))
            yield from (_record(target, name, definitions) for name in names)

    def _runs_as(self, name: str) -> bool:
        """Whether a run takes that name for the main module's."""
        stem = self._file.rpartition("/")[2].removesuffix(".py")
        return name in (MAIN, self._module, stem)

    def _definitions(self) -> Definitions:
        file = self._file
        if self._module:
            spec = modules.locate(self._module)
            file = spec.origin if spec is not None and spec.origin else ""
            if not file.endswith(".py"):
                raise ValueError(f"no source of module {self._module!r}")
        if not file:
            return Definitions(self._text, MAIN, "<string>")
        with open(file, "rb") as source:
            return Definitions(source.read(), MAIN, file)


def _record(target: Record, qualname: str, definitions: Definitions) -> Record:
    label = label_of("", MAIN, target["qualname"], qualname)
    record = {
        "index": target["index"],
        "module": target["module"],
        "qualname": qualname,
        "label": label,
    }
    try:
        found = definitions.describe(qualname)
    except CannotPatch as error:
        return {**record, "state": error.state, **reasons.missing(error, None, qualname)}
    return {**record, "state": "found", "held": "", "replaceable": True, "own": True, **found}


def _same(one: str, other: str) -> bool:
    try:
        first, second = posix.stat(one), posix.stat(other)
    except OSError:
        return False
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
