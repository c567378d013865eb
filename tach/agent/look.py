"""What `tach check` runs in a process of its own: imports modules, and says what is in them.

Reads from stdin a marshalled dict: `place` (what the program's sys.path begins with), `argv`,
`own` (the program: file, module, source, each maybe ""), `skip` (modules not to import), `targets`
(dicts with `index`, `module`, `qualname`, `exclude`, `outermost`, `rebind`) and `references`
(index, field, module, qualname).
Writes lines, each the repr of a dict:

{"importing": module}   what it begins with
{"trouble": module, "reason", "word", "candidates", "instead"}   why that cannot be imported
{"index", "module", "qualname", "label", ...}   a function, with what `describing` says, `held` (by
    whom) and `replaceable` (there),
    `state` being "found", or with `state` "missing" or "refused" and what is said of troubles
{"index", "field", "reason", "word", "candidates", "instead"}   a reference that leads nowhere
{"end": True}
"""

from __future__ import annotations

import marshal
import posix
import sys
from importlib import import_module

from tach.agent.early import Suspects, in_words
from tach.agent.finding import CannotPatch, Found, defines, expand, find, is_excluded
from tach.agent.hook import TargetFinder, is_pattern, matches
from tach.agent.kinds import Kind
from tach.agent.meters import label_of
from tach.agent.reasons import missing, not_there, reason, why

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any

    from tach.agent.early import Holder

    Record = dict[str, Any]
    Write = Callable[[Record], None]

_MAIN = "__main__"


def main(result: int) -> None:
    """Do what stdin says, write to the file descriptor `result`, and end the process."""
    pid = posix.getpid()
    request = _request()
    posix.set_inheritable(result, False)

    def write(record: Record) -> None:
        if posix.getpid() != pid:  # a module forks when it is imported
            posix._exit(0)
        data = (repr(record) + "\n").encode("utf-8", "backslashreplace")
        while data:
            data = data[posix.write(result, data) :]

    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, request["place"])
    sys.path[:0] = request["also"]
    sys.argv[:] = request["argv"]
    Look(request, write).run()
    write({"end": True})
    posix._exit(0)  # whatever threads and exit handlers the modules have left


def _request() -> Record:
    parts = []
    while part := posix.read(0, 1 << 16):
        parts.append(part)
    nothing = posix.open("/dev/null", posix.O_RDONLY)
    posix.dup2(nothing, 0)
    posix.close(nothing)
    found: Record = marshal.loads(b"".join(parts))
    return found


class Look:
    """Looks at functions at the moment when a run would measure them: as their module is there."""

    def __init__(self, request: Record, write: Write) -> None:
        self._write = write
        self._own: tuple[str, str, str] = request["own"]
        self._skip: list[str] = request["skip"]
        self._targets: list[Record] = request["targets"]
        self._references: list[tuple[int, str, str, str]] = request["references"]
        # by index of the target, module and qualname
        self._found: dict[tuple[int, str, str], tuple[str, Found | CannotPatch, list[Holder]]] = {}
        # by index of the target: the patterns that have excluded nothing, and from what
        self._unused: dict[int, dict[str, list[str]]] = {
            each["index"]: {pattern: [] for pattern in each["exclude"]} for each in self._targets
        }
        self._seen: set[str] = set()
        names = frozenset(each["module"] for each in self._targets)
        self._finder = TargetFinder(names, self._executed, self._is_wanted)

    def run(self) -> None:
        """Import everything that is named, then write what it is."""
        from tach.agent.modules import matching
        from tach.agent.source import Source

        program = Source(*self._own)
        own = [
            each
            for each in self._targets
            if not is_pattern(each["module"]) and program.has(each["module"])
        ]
        self._targets = [each for each in self._targets if each not in own]
        self._look_at_loaded()
        for name in self._modules(matching):
            if not program.has(name):
                self._import(name)
        self._look_for_packages()
        for found in self._found.items():
            self._tell(*found)
        for reference in self._references:
            self._check_reference(*reference)
        self._tell_unused()
        for record in program.look(own):
            self._write(record)

    def _look_at_loaded(self) -> None:
        sys.meta_path.insert(0, self._finder)
        names = {each["module"] for each in self._targets}
        for name in list(sys.modules):
            if name in names or self._is_wanted(name):
                self._executed(name, sys.modules[name])

    def _look_for_packages(self) -> None:
        """Tell which packages are not there of those that patterns begin with."""
        from tach.agent.modules import first_missing, head

        for target in self._targets:
            pattern = target["module"]
            absent = is_pattern(pattern) and first_missing(head(pattern))
            if absent:
                self._write({"trouble": pattern, **not_there(absent, absent)})

    def _tell_unused(self) -> None:
        for index, unused in self._unused.items():
            for pattern, names in unused.items():
                if names:
                    what = reason(f"{pattern!r} excludes nothing", pattern, tuple(names))
                    self._write({"index": index, "field": "exclude", **what})

    def _is_wanted(self, module: str) -> bool:
        if module == _MAIN or module.partition(".")[0] == "tach":
            return False
        patterns = (each["module"] for each in self._targets if is_pattern(each["module"]))
        return any(matches(pattern, module) for pattern in patterns)

    def _modules(self, matching: Callable[[str], Iterator[str]]) -> list[str]:
        """What to import, each once."""
        names = {}
        for target in self._targets:
            module = target["module"]
            for name in matching(module) if is_pattern(module) else (module,):
                names[name] = True
        names.update((module, True) for _, _, module, _ in self._references)
        return [name for name in names if name not in self._skip]

    def _executed(self, name: str, module: ModuleType) -> None:
        self._seen.add(name)
        try:
            self._look_at(name, module)
        except Exception as error:  # noqa: BLE001 - it looks at objects of the program
            text = f"module {name!r} cannot be looked at: {type(error).__name__}: {error}"
            self._write({"trouble": name, **reason(text)})

    def _look_at(self, name: str, module: ModuleType) -> None:
        functions = []
        for target in self._targets:
            if matches(target["module"], name):
                names = self._names(target, name, module)
                functions += [(target, each) for each in names]
        suspects = Suspects()
        for _, qualname in functions:
            suspects.look(module, qualname)
        held = suspects.holders()
        for target, qualname in functions:
            found: Found | CannotPatch
            try:
                found = find(module, qualname)
            except CannotPatch as error:
                found = error
            left = [
                each
                for each in held.get(qualname, ())
                if not (target["rebind"] and each.safe) and not each.place.startswith("tach.")
            ]
            label = label_of(target["module"], name, target["qualname"], qualname)
            self._found[target["index"], name, qualname] = label, found, left

    def _names(self, target: Record, name: str, module: ModuleType) -> list[str]:
        """What of the module the target means."""
        index, qualname, exclude = target["index"], target["qualname"], tuple(target["exclude"])
        if not is_pattern(qualname):
            is_there = not is_pattern(target["module"]) or defines(module, qualname)
            return [qualname] if is_there else []
        matching = expand(module, qualname, ())
        for pattern in exclude:
            if any(is_excluded(each, (pattern,)) for each in matching):
                self._unused[index].pop(pattern, None)
            elif pattern in self._unused[index]:
                self._unused[index][pattern] += matching
        if not matching and target["module"] == name:
            known = (*expand(module, "*", ()), *expand(module, "*.*", ()))
            text = f"no {qualname!r} among the functions of module {name}"
            self._found[index, name, qualname] = "", CannotPatch("missing", text, known), []
        return [each for each in matching if not is_excluded(each, exclude)]

    def _import(self, name: str) -> None:
        if name.endswith(f".{_MAIN}"):
            text = f"module {name!r} is a program, which importing would run"
            self._write({"trouble": name, **reason(text)})
            return
        self._write({"importing": name})
        try:
            import_module(name)
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a module is no reason to go
            self._write({"trouble": name, **why(name, error)})
            return
        finally:
            self._write({"importing": ""})
        if name not in self._seen and any(each["module"] == name for each in self._targets):
            text = f"module {name!r} comes past the import system"
            self._write({"trouble": name, **reason(text)})

    def _tell(
        self, key: tuple[int, str, str], what: tuple[str, Found | CannotPatch, list[Holder]]
    ) -> None:
        from tach.agent.describing import describe

        index, module, qualname = key
        label, found, held = what
        record: Record = {"index": index, "module": module, "qualname": qualname, "label": label}
        try:
            if isinstance(found, CannotPatch):
                raise found
            kind = Kind(found)
            target = next(each for each in self._targets if each["index"] == index)
            if target["outermost"] and "generator" in kind.flow:
                text = "outermost is not for generators, which pause in between"
                raise CannotPatch("refused", text)
            record.update(describe(found, kind), own=False, held=in_words(held))
            record["replaceable"] = all(each.safe for each in held)
            self._write({**record, "state": "found"})
        except CannotPatch as error:
            told = missing(error, sys.modules.get(module), qualname)
            self._write({**record, "state": error.state, **told})
        except Exception as error:  # noqa: BLE001 - it looked at objects of the program
            text = f"{type(error).__name__}: {error}"
            self._write({**record, "state": "refused", **reason(text)})

    def _check_reference(self, index: int, field: str, module: str, qualname: str) -> None:
        found = sys.modules.get(module)
        if found is None:
            return  # which has been said
        try:
            find(found, qualname)
        except CannotPatch as error:
            if error.state == "missing":
                what = missing(error, found, qualname)
                self._write({"index": index, "field": field, **what})
