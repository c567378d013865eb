"""`tach check CONFIG [PROGRAM...]`: what a configuration means, and for a program if it is right.

With --json that is a line for each target: an object with `target` (its name with the prefix),
`function`, `config` and `line` (where it says so), `metrics`, `notifiers`, `enabled`, and where
there is a program `ok`, `functions`, `problems`, `warnings` and `nearest` (names that could have
been meant). A function has `series`, `label`, `function`, `kind`, `file`, `line`, `signature`,
`early` (who holds it already) and `own` (found in the source of the program, which was not run).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from typing import Any

from tach import check_found, check_program, check_table, config, durations
from tach.check_child import Broken, Record
from tach.check_found import Finding, Remark
from tach.interpreter import CannotStart
from tach.plan import Plan, TargetPlan

LIMIT = 30.0


def main(arguments: list[str]) -> int:
    """Check; 0 if all is right, 1 if a target would not be measured, 2 for wrong input."""
    if not arguments:
        _say("tach: check needs one CONFIG")
        return 2
    options = _parser().parse_args(arguments)
    try:
        plan = config.load(options.config)
    except config.ConfigErrors as error:
        _say(str(error))
        return 2
    findings = None
    if options.program:
        try:
            findings = _find(plan, options.program, options.timeout)
        except CannotStart as error:
            _say(f"tach: {error}")
            is_foreign = error.status == 2 and not options.program[0].startswith("-")
            return 1 if is_foreign else 2
    if options.json:
        _print_lines(plan, findings)
    else:
        check_table.show(plan, findings)
    return int(any(each.problems for each in findings or ()))


def _find(plan: Plan, arguments: list[str], limit: float) -> list[Finding]:
    program = check_program.find(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the child ends too
    try:
        return check_found.find(plan, program, limit)
    except Broken as error:
        raise CannotStart(
            f"{program.python} cannot load tach ({error}); "
            f"install it there: {program.python} -m pip install tach",
            2,
        ) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tach check",
        usage="tach check [--json] [--timeout 30s] CONFIG [PROGRAM [ARG...] | -m MODULE | -c CODE]",
        description="Say whether CONFIG is right and what it means. With a program: import, in a "
        "process of the program's Python, the modules that the targets name, and say for each "
        "target which functions it means. The program itself is not run.",
        epilog="Exit status: 0 if all is right, 1 if some target would not be measured, 2 for a "
        "wrong CONFIG or command.",
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for each target")
    parser.add_argument(
        "--timeout", type=_seconds, default=LIMIT, help="how long imports may take (30s)"
    )
    parser.add_argument("config", metavar="CONFIG", help="the YAML file that says what to measure")
    parser.add_argument("program", nargs=argparse.REMAINDER, help="as in tach CONFIG PROGRAM")
    return parser


def _seconds(text: str) -> float:
    try:
        found = durations.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, got {text!r}") from None
    if found <= 0:
        raise argparse.ArgumentTypeError(f"must be more than 0, got {text!r}")
    return found


def _print_lines(plan: Plan, findings: list[Finding] | None) -> None:
    lines = [_line(plan, target) for target in plan.targets]
    for line, finding in zip(lines, findings or (), strict=findings is not None):
        line.update(
            ok=not finding.problems,
            functions=[_function(plan, finding.target, each) for each in finding.functions],
            problems=[_said(each) for each in finding.problems],
            warnings=[_said(each) for each in finding.warnings],
            nearest=finding.nearest,
        )
    lines += [
        {"target": name, "function": function, "config": plan.file, "line": line, "enabled": False}
        for name, function, line in plan.disabled
    ]
    for each in lines:
        print(json.dumps(each))


def _line(plan: Plan, target: TargetPlan) -> dict[str, Any]:
    return {
        "target": check_table.series(plan, target),
        "function": target.function,
        "config": target.file or plan.file,
        "line": target.line,
        "metrics": target.metrics,
        "notifiers": target.notifiers,
        "enabled": True,
    }


def _function(plan: Plan, target: TargetPlan, found: Record) -> dict[str, Any]:
    return {
        "series": check_table.series(plan, target, found["label"]),
        "label": found["label"],
        "function": f"{found['module']}:{found['qualname']}",
        "kind": found["kind"],
        "file": found["file"],
        "line": found["line"],
        "signature": found["signature"],
        "early": found["held"],
        "own": found["own"],
    }


def _said(remark: Remark) -> str:
    return f"{remark.field}: {remark.text}" if remark.field else remark.text


def _say(message: str) -> None:
    print(message, file=sys.stderr)
