"""`tach diff A B`: what has changed between two profiles that `tach profile --save` kept."""

from __future__ import annotations

import argparse
import json
import sys

from rich.console import Console
from rich.text import Text

from tach.notifiers import profile_rows
from tach.notifiers.columns import fitting
from tach.notifiers.console import UNLIMITED, human
from tach.notifiers.profile_rows import Profile, Row

# What a terminal that is not wide enough does without, in this order.
DISPENSABLE = ("p95 change", "mean", "own", "mean change", "calls")
COLUMNS = ("function", "calls", "own", "own change", "mean", "mean change", "p95 change")


def main(arguments: list[str]) -> int:
    """Print the differences, the greatest change of own time first; 1 if a file is no profile."""
    parser = argparse.ArgumentParser(
        prog="tach diff", description="Compare two profiles that tach profile --save has kept."
    )
    parser.add_argument("before", metavar="A")
    parser.add_argument("after", metavar="B")
    parser.add_argument("--top", type=int, default=40, metavar="N", help="rows (40)")
    options = parser.parse_args(arguments)
    try:
        before, after = _load(options.before), _load(options.after)
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"tach: {error}\n")
        return 1
    _show(before, after, options.top)
    return 0


def _load(path: str) -> Profile:
    with open(path, encoding="utf-8") as file:
        try:
            return profile_rows.from_plain(json.load(file))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no profile that tach has kept: {error}") from None


def _show(before: Profile, after: Profile, top: int) -> None:
    width = None if sys.stdout.isatty() else UNLIMITED
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    console.print(Text(f"A: {before.seconds:.2f} s of {before.command}"), soft_wrap=True)
    console.print(Text(f"B: {after.seconds:.2f} s of {after.command}"), soft_wrap=True)
    old = {row.name: row for row in before.rows}
    new = {row.name: row for row in after.rows}
    names = sorted(old.keys() | new.keys(), key=lambda name: (-_moved(old, new, name), name))
    rows = [
        dict(zip(COLUMNS, _cells(name, old.get(name), new.get(name)), strict=True))
        for name in names[:top]
    ]
    console.print(fitting(rows, COLUMNS, DISPENSABLE, console))
    if len(names) > top:
        console.print(Text(f"and {len(names) - top} functions more"))


def _moved(old: dict[str, Row], new: dict[str, Row], name: str) -> float:
    before = old[name].own if name in old else 0.0
    after = new[name].own if name in new else 0.0
    return abs(after - before)


def _cells(name: str, before: Row | None, after: Row | None) -> list[str]:
    if before is None or after is None:
        only = after or before
        assert only is not None
        return [
            name,
            f"{only.calls:,}",
            human(only.own),
            "new" if before is None else "gone",
            human(only.mean),
            "-",
            "-",
        ]
    calls = f"{before.calls:,}"
    if before.calls != after.calls:
        calls += f" → {after.calls:,}"
    return [
        name,
        calls,
        human(after.own),
        _change(before.own, after.own),
        human(after.mean),
        _change(before.mean, after.mean),
        _change(before.p95, after.p95),
    ]


def _change(before: float, after: float) -> str:
    return f"{(after - before) / before:+.0%}" if before else "-"
