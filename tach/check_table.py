"""Shows on the terminal what a plan means, and what there is of it in a program."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tach.agent.plain import Plain
from tach.check_child import Record
from tach.check_found import Finding
from tach.names import sanitise
from tach.notifiers.amqp_url import masked
from tach.notifiers.console import UNLIMITED
from tach.plan import Plan, TargetPlan
from tach.problems import escaped

COLUMNS = ("series", "kind", "where", "function", "signature")


def show(plan: Plan, findings: list[Finding] | None) -> None:
    """Print what would be measured and where it would go; with findings also what that is."""
    print(f"{plan.file}: {len(plan.targets)} targets, every {plan.interval:g} s")
    hides = Plain(plan.hide).hides
    for notifier in plan.notifiers:
        options = _options(notifier.options, hides)
        print(f"notifier {notifier.name}: {notifier.type} {options}".rstrip())
    if findings is None:
        _show_targets(plan)
    else:
        _show_findings(plan, findings)
    for name, function, _ in plan.disabled:
        print(f"target {name}: {function}, not enabled")


def series(plan: Plan, target: TargetPlan, label: str = "") -> str:
    """What the names of the target's series begin with."""
    return ".".join(part for part in (_prefix(plan.prefix), target.name, label) if part)


def _prefix(template: str) -> str:
    """As it will be sent, but for the placeholders, which are shown as they are written."""
    places = {f"tach-{name}": f"{{{name}}}" for name in ("host", "program", "pid")}
    shown = sanitise(template.format(**{name[5:]: name for name in places})) if template else ""
    for name, place in places.items():
        shown = shown.replace(name, place)
    return shown


def _show_targets(plan: Plan) -> None:
    for target in plan.targets:
        print(f"target {series(plan, target)}: {target.function}")
        print(f"    {', '.join(target.metrics)} -> {', '.join(target.notifiers) or 'nowhere'}")


def _show_findings(plan: Plan, findings: list[Finding]) -> None:
    rows = [_row(plan, finding.target, each) for finding in findings for each in finding.functions]
    if rows:
        _print_table(rows)
    for finding in findings:
        for line in _remarks(finding):
            file = finding.target.file or plan.file
            print(escaped(f"{file}:{finding.target.line}: {line}"))


def _row(plan: Plan, target: TargetPlan, found: Record) -> tuple[str, ...]:
    where = f"{_shown(found['file'])}:{found['line']}" if found["file"] else "built in"
    function = f"{found['module']}:{found['qualname']}"
    return series(plan, target, found["label"]), found["kind"], where, function, found["signature"]


def _shown(file: str) -> str:
    """The file as seen from here, where it is below."""
    here = os.path.join(os.getcwd(), "")
    return file.removeprefix(here) if os.path.isabs(file) else file


def _remarks(finding: Finding) -> Iterator[str]:
    where = f"targets.{finding.target.name}"
    for field, text in finding.problems:
        yield f"{_of(where, field)}: {text}"
    for field, text in finding.warnings:
        yield f"{_of(where, field)}: warning: {text}"
    if any(each["own"] for each in finding.functions):
        yield f"{where}: looked up in the source of the program, which was not run"


def _of(where: str, field: str) -> str:
    return f"{where}.{field}" if field else where


def _print_table(rows: list[tuple[str, ...]]) -> None:
    # A file or a pipe gets every line whole.
    width = None if sys.stdout.isatty() else UNLIMITED
    paper = Console(width=width, markup=False, highlight=False, emoji=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in COLUMNS:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(escaped(cell)) for cell in row))
    with paper.capture() as capture:
        paper.print(table)
    for line in capture.get().splitlines():
        print(line.rstrip())


def _options(options: dict[str, Any], hides: Callable[[str], bool]) -> str:
    return " ".join(
        f"{name}={'***' if hides(name) else _option(value, hides)}"
        for name, value in options.items()
    )


def _option(value: object, hides: Callable[[str], bool]) -> object:
    """An option's value, without the password if it is a URL that has one."""
    if isinstance(value, dict):
        return f"({_options(value, hides)})"
    if isinstance(value, list):
        return ",".join(str(_option(each, hides)) for each in value)
    return masked(value) if isinstance(value, str) and "://" in value else value
