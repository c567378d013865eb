"""What `tach check` has found out about the targets of a plan."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import NamedTuple

from tach.agent.hook import matches
from tach.check_child import Child, Record
from tach.check_program import Program
from tach.plan import Path, Plan, TargetPlan
from tach.problems import quoted, suggestion

MOST_CHILDREN = 20
MOST_LATE = 3
NO_MODULE = "no module "
# How near a module's name must be: there are so many that some name is always somewhat near.
_NEAR_MODULE, _NEAR = 0.75, 0.6


class Remark(NamedTuple):
    """Something to say of a target: of its `field`, "" for all of it."""

    field: str
    text: str


class Finding:
    """One target: its `functions`, as `tach.agent.look` describes them, problems and warnings.

    A target with a problem would not be measured, or not as the configuration says.
    """

    def __init__(self, target: TargetPlan) -> None:
        self.target = target
        self.functions: list[Record] = []
        self.problems: list[Remark] = []
        self.warnings: list[Remark] = []
        self.nearest: list[str] = []

    @property
    def has_wildcard(self) -> bool:
        """Whether it may mean several functions."""
        return any(each in self.target.function for each in "*?")

    def take(self, record: Record) -> None:
        """Add what the look has found."""
        if record.get("field") == "exclude":
            self.warnings.append(Remark("exclude", explained(record)))
        elif "field" in record:
            self.problems.append(Remark(record["field"], explained(record)))
        elif record["state"] == "found":
            self.functions.append(record)
        elif record["state"] == "missing" and record["qualname"] != self.target.qualname:
            return  # of that module the wildcard means nothing
        elif self.has_wildcard and record["state"] == "refused":
            text = f"{record['qualname']}: {explained(record)}"
            self.warnings.append(Remark("", text))
        elif "*" in self.target.module or "?" in self.target.module:
            return
        else:
            self.problems.append(Remark("", explained(record)))
            self.nearest = nearest_names(record)

    def take_trouble(self, module: str, what: str, nearest: list[str]) -> None:
        """Note why the module cannot be looked at, if the target is about it."""
        target = self.target
        fields = [field for field, name in _references(target) if name.startswith(f"{module}:")]
        if module == target.module:
            self.problems.append(Remark("", what))
            self.nearest = nearest
        elif fields:
            self.problems.append(Remark(fields[0], what))
        elif matches(target.module, module) and not what.startswith(NO_MODULE):
            self.warnings.append(Remark("", what))

    def conclude(self) -> None:
        """Add what shows only when all has been found."""
        if self.has_wildcard and not self.functions and not self.problems:
            self.problems.append(Remark("", _nothing(self.target)))
        self._conclude_paths()
        for each in self.functions:
            if each["held"]:
                can_help = each["replaceable"] and not self.target.rebind
                rebind = "; rebind: true replaces it there" if can_help else ""
                what = f"{each['qualname']} is taken by {each['held']} before it is measured"
                self.warnings.append(Remark("", what + rebind))

    def _conclude_paths(self) -> None:
        known = [each for each in self.functions if each["parameters"] is not None]
        for where, path in _paths(self.target):
            wrong = [what for each in known if (what := _wrong_path(path, each))]
            if wrong and len(wrong) == len(known):
                self.problems.append(Remark(where, wrong[0]))


def find(plan: Plan, program: Program, limit: float) -> list[Finding]:
    """Look at all targets, by one process after the other until one has not stopped at a module.

    Each has `limit` seconds; after `MOST_LATE` that needed more there is no other. Raises Broken
    where the program's Python cannot look.
    """
    findings = [Finding(target) for target in plan.targets]
    request = _request(plan, program)
    late = 0
    for _ in range(MOST_CHILDREN):
        with Child(program, request) as child:
            records = list(child.records(limit))
        if not child.importing:
            break  # it got to the end
        what = f"importing {child.importing!r} {child.ended}"
        for finding in findings:
            finding.take_trouble(child.importing, what, [])
        request["skip"].append(child.importing)
        late += child.is_late
        if late == MOST_LATE:
            break
    for record in records:
        _take(findings, record)
    for finding in findings:
        if child.ended:
            finding.problems = finding.problems or _unless(finding.functions, child.ended)
        finding.conclude()
    return findings


def _unless(functions: list[Record], ended: str) -> list[Remark]:
    text = f"not looked at: the process that looks {ended}"
    return [] if functions else [Remark("", text)]


def _take(findings: list[Finding], record: Record) -> None:
    if "trouble" in record:
        for finding in findings:
            meant = record
            if record["instead"] and finding.target.module == record["trouble"]:
                instead = f"{record['instead']}.{finding.target.qualname}"
                meant = {**record, "instead": instead}
            finding.take_trouble(record["trouble"], explained(meant), nearest_names(meant))
    else:
        findings[record["index"]].take(record)


def _request(plan: Plan, program: Program) -> Record:
    """What `tach.agent.look` is to do."""
    return {
        "place": program.place,
        "also": list(program.also),
        "argv": list(program.argv),
        "own": (program.file, program.module, program.source),
        "skip": [],
        "targets": [
            {
                "index": index,
                "module": target.module,
                "qualname": target.qualname,
                "exclude": list(target.exclude),
                "outermost": target.outermost,
                "rebind": target.rebind,
            }
            for index, target in enumerate(plan.targets)
        ],
        "references": [
            (index, field, *name.split(":"))
            for index, target in enumerate(plan.targets)
            for field, name in _references(target)
        ],
    }


def _references(target: TargetPlan) -> Iterator[tuple[str, str]]:
    """What else of the program the target names as module:qualname."""
    yield from (("metrics", name) for name in target.metrics if ":" in name)
    yield from (("ignore", name) for name in target.ignore if ":" in name)
    for field, name in (("helper", target.helper), ("after", target.after)):
        if name and not name.startswith("/"):  # files have been looked into
            yield field, name


def explained(record: Record) -> str:
    """The reason, and what to write instead."""
    reason: str = record["reason"]
    near = nearest_names(record)
    if near:
        return f"{reason}; did you mean {near[0]!r}?"
    if reason.startswith(NO_MODULE) and record["word"]:
        return f"{reason} where the program looks for modules; is it installed there?"
    if record["candidates"]:
        return f"{reason}; {suggestion(record['word'], record['candidates'])}"
    return reason


def nearest_names(record: Record) -> list[str]:
    """What there is that could have been meant, the nearest first."""
    if record["instead"]:
        return [record["instead"]]
    word = record["word"].rpartition(".")[2]
    known = {each.rpartition(".")[2].lower(): each for each in record["candidates"]}
    cutoff = _NEAR_MODULE if record["reason"].startswith(NO_MODULE) else _NEAR
    return [known[each] for each in get_close_matches(word.lower(), known, cutoff=cutoff)]


def _nothing(target: TargetPlan) -> str:
    if target.module[0] in "*?":
        return (
            f"the modules that {target.module!r} means show only when the program runs; "
            "begin with the name of a package, as in package.*"
        )
    return f"there is no function that {target.function!r} means"


def _paths(target: TargetPlan) -> Iterator[tuple[str, Path]]:
    """The paths into a call that the target names, and where."""
    for part in target.template:
        if not isinstance(part, str):
            yield "", part
    yield from ((f"payload.{name}", path) for name, path in target.payload.items())
    for field, path in (("tenant", target.tenant), ("stamp", target.stamp)):
        if path:
            yield field, path
    if target.value:
        yield "value", target.value[0]


def _wrong_path(path: Path, function: Record) -> str:
    """Why the path leads nowhere in calls of the function; "" if it may lead somewhere."""
    root, *steps = path
    if root == "self" and not function["has_self"]:
        return f"{function['qualname']} has no self; write args.NAME"
    if root not in ("args", "kwargs") or not steps or function["any_keyword"]:
        return ""
    name = steps[0][1]
    if not isinstance(name, str) or name in function["parameters"]:
        return ""
    what = f"no parameter {quoted(name)} in {function['qualname']}{function['signature']}"
    return f"{what}; {suggestion(name, function['parameters'])}"
