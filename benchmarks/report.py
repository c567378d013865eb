"""What the benchmarks found, as text: tables, and goals with whether they were reached."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple


class Figure(NamedTuple):
    """The median of some measurements, and their middle half."""

    median: float
    low: float
    high: float

    def text(self, decimals: int = 0) -> str:
        """Such as `12.3 (11.9 to 13.0)`."""
        middle, low, high = (f"{each:,.{decimals}f}" for each in self)
        return f"{middle} ({low} to {high})"


def figure(values: Sequence[float]) -> Figure:
    """The figure of at least two measurements."""
    low, _, high = quantiles(values, n=4)
    return Figure(median(values), low, high)


class Goal(NamedTuple):
    """Something to reach: at most `limit`, or at the least."""

    what: str
    value: float
    limit: float
    unit: str
    least: bool = False

    def text(self) -> str:
        """One line that begins with a mark."""
        reached = self.value >= self.limit if self.least else self.value <= self.limit
        bound = f"at {'least' if self.least else 'most'} {number(self.limit)}{self.unit}"
        mark = "✓" if reached else "✗"
        return f"{mark} {self.what}: {number(self.value)}{self.unit}, {bound}"


def number(value: float) -> str:
    """With three figures at least, such as 0.00123, 12.3 or 21,042."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def megabytes(size: int) -> str:
    """The bytes as MB."""
    return f"{size / 1e6:.0f}"


class Picture(NamedTuple):
    """A plot in a file of that name beside the document, and what draws it into a file."""

    name: str
    what: str
    draw: Callable[[Path], None]


class Table(NamedTuple):
    """One more table, and what it means."""

    meaning: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def text(self) -> str:
        """Markdown."""
        return f"{self.meaning}\n\n{table(self.header, self.rows)}"


class Section(NamedTuple):
    """One benchmark: a table, what it means, and the goals that it is about.

    Without rows there is no table: `meaning` says why.
    """

    title: str
    meaning: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    goals: Sequence[Goal]
    more: Sequence[Table] = ()
    picture: Picture | None = None

    def text(self) -> str:
        """Markdown that reads well on a terminal too."""
        goals = [f"- {goal.text()}" for goal in self.goals]
        rows = table(self.header, self.rows) if self.rows else ""
        picture = f"![{self.picture.what}]({self.picture.name})" if self.picture else ""
        more = [each.text() for each in self.more]
        parts = [f"## {self.title}", picture, self.meaning, rows, *more, "\n".join(goals)]
        return "\n\n".join(part for part in parts if part)


def listed(what: str, found: Iterable[str]) -> str:
    """A paragraph with what there is; nothing if there is nothing."""
    text = "; ".join(found)
    return f"\n\n{textwrap.fill(f'{what}: {text}.', 100)}" if text else ""


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table with even columns, the first one to the left."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = (f"{'-' * widths[0]}", *(f"{'-' * (width - 1)}:" for width in widths[1:]))

    def line(cells: tuple[str, ...]) -> str:
        first, *others = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return f"| {' | '.join(padded)} |"

    return "\n".join(map(line, (header, rule, *rows)))
