"""What the benchmarks found, as text: tables, and goals with whether they were reached."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Something to reach: at most `limit`."""

    what: str
    value: float
    limit: float
    unit: str

    def text(self) -> str:
        """One line that begins with a mark."""
        mark = "✓" if self.value <= self.limit else "✗"
        return f"{mark} {self.what}: {self.value:.3g}{self.unit}, at most {self.limit:g}{self.unit}"


class Section(NamedTuple):
    """One benchmark: a table, what it means, and the goals that it is about."""

    title: str
    meaning: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    goals: Sequence[Goal]

    def text(self) -> str:
        """Markdown that reads well on a terminal too."""
        goals = [f"- {goal.text()}" for goal in self.goals]
        parts = [f"## {self.title}", self.meaning, table(self.header, self.rows), "\n".join(goals)]
        return "\n\n".join(part for part in parts if part)


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table with even columns, the first one to the left."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = (f"{'-' * widths[0]}", *(f"{'-' * (width - 1)}:" for width in widths[1:]))

    def line(cells: tuple[str, ...]) -> str:
        first, *others = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return f"| {' | '.join(padded)} |"

    return "\n".join(map(line, (header, rule, *rows)))
