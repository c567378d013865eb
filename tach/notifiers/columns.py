"""Tables for terminals that may not be wide enough for all of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

SHORTEST_NAME = 24  # columns that a name keeps as long as there is anything to do without
GAP = 2

Cells = Mapping[str, str]


def fitting(
    rows: Sequence[Cells],
    columns: Sequence[str],
    dispensable: Sequence[str],
    paper: Console,
    left: Sequence[str] = (),
) -> Table:
    """The table of the rows' cells, with the columns for which `paper` is wide enough.

    It does without the `dispensable` ones first, in their order. The first column is a name: of one
    for which there is no room the end is shown. It is aligned to the left, and so are those `left`.
    """
    left = (columns[0], *left)
    for each in ("", *dispensable):
        columns = [name for name in columns if name != each]
        room = paper.width - _width(rows, columns)
        if room >= 0:
            break
    longest = max((len(row[columns[0]]) for row in rows), default=0)
    return _table(rows, columns, max(min(longest, SHORTEST_NAME) + room, 1), left)


def _width(rows: Sequence[Cells], columns: Sequence[str]) -> int:
    """How wide the table is, with names of at most SHORTEST_NAME."""
    name, *others = columns
    widths = [min(max((len(row[name]) for row in rows), default=0), SHORTEST_NAME)]
    widths += [max((len(row[each]) for row in rows), default=0) for each in others]
    return sum(max(width, len(each)) + GAP for width, each in zip(widths, columns, strict=True))


def _table(
    rows: Sequence[Cells], columns: Sequence[str], longest: int, left: Sequence[str]
) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    name, *others = columns
    for row in rows:
        table.add_row(Text(_end(row[name], longest)), *(Text(row[each]) for each in others))
    return table


def _end(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"…{name[len(name) - longest + 1 :]}"
