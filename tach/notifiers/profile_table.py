"""A profile as tables in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from io import StringIO
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tach.notifiers.columns import fitting
from tach.notifiers.console import UNLIMITED, human
from tach.notifiers.profile_rows import Profile, Row

BLOCKS = " ▁▂▃▄▅▆▇█"
EIGHTHS = " ▏▎▍▌▋▊▉█"
BAR = 40  # columns of the longest bar of a histogram
MOST_NOTES = 6
TAKEN = "had been taken by"  # what notes say of functions that somebody else has
# What a terminal that is not wide enough does without, in this order.
DISPENSABLE = (
    *("max", "mean", "distribution", "p99", "errors", "p50", "waiting", "total", "running", "%"),
)
LIVE_COLUMNS = (
    *("function", "calls", "errors", "running", "own", "%", "total", "p50", "p95", "waiting"),
)
TIMES = ("own", "total", "mean", "p50", "p95", "p99", "max", "waiting")


class Shown(NamedTuple):
    """What of a profile is to be shown: how many functions, of how many the histogram, and callers.

    `callers` are patterns of functions; `width` is in columns, None for what is no terminal.
    """

    top: int = 40
    histograms: int = 0
    callers: Sequence[str] = ()
    width: int | None = None


def text(profile: Profile, shown: Shown) -> str:
    """The functions by own time, and below the table what else was asked for."""
    paper = _paper(shown.width)
    with paper.capture() as capture:
        line = f"tach profile: {profile.seconds:.2f} s of {profile.command}"
        paper.print(Text(_on_one_line(line)), soft_wrap=shown.width is None)
        if profile.rows:
            paper.print(_fitting(profile, profile.rows[: shown.top], COLUMNS, paper))
        if len(profile.rows) > shown.top:
            paper.print(Text(f"and {len(profile.rows) - shown.top} functions more"))
        for row in [row for row in profile.rows if row.calls][: shown.histograms]:
            paper.print(Text(_histogram(row)), soft_wrap=True)
        for row in profile.rows:
            if any(fnmatchcase(row.name, each) for each in shown.callers):
                paper.print(Text(f"\n{row.name} was called by"), _callers(row))
        for note in notes(profile):
            paper.print(Text(note), soft_wrap=shown.width is None)
    return "".join(f"{line.rstrip(' ')}\n" for line in capture.get().splitlines())


def live(profile: Profile, width: int, height: int) -> list[str]:
    """The first functions by own time, on `height` lines of a terminal at most."""
    paper = _paper(width)
    shown = profile.rows[: height - 2]
    with paper.capture() as capture:
        line = f"── tach profile: {profile.seconds:.0f} s, {len(profile.rows)} functions ──"
        paper.print(Text(line, style="dim"), no_wrap=True)
        paper.print(_fitting(profile, shown, LIVE_COLUMNS, paper))
    return capture.get().splitlines()[:height]


def notes(profile: Profile) -> Iterator[str]:
    """What has to be said below the table; not everything, if that is much."""
    small = sorted(
        (row for row in profile.rows if row.is_small), key=lambda row: (-row.calls, row.name)
    )
    if small and small[0].calls * small[0].mean > 1:
        yield (
            f"{small[0].name} takes less than a microsecond, {small[0].calls:,} times: much of "
            f"that is tach. --exclude '{small[0].name.rpartition('.')[2]}' leaves it out"
        )
    taken = [each for each in profile.notes if TAKEN in each]
    if len(taken) > 1:
        yield (
            f"{len(taken)} functions had been taken before they were measured, and may have been "
            "called past tach; --html and --save name them"
        )
    others = [each for each in profile.notes if len(taken) < 2 or each not in taken]
    yield from others[:MOST_NOTES]
    more = len(others) - MOST_NOTES
    if more > 0:
        yield f"and {more} remarks more, which --html and --save keep"


def _paper(width: int | None) -> Console:
    return Console(
        file=StringIO(),
        width=width or UNLIMITED,
        force_terminal=width is not None,
        color_system="auto" if width is not None else None,
        legacy_windows=False,
        markup=False,
        highlight=False,
        emoji=False,
    )


def _on_one_line(text: str) -> str:
    return text.replace("\n", "\\n").replace("\r", "\\r")


def _fitting(
    profile: Profile, rows: Sequence[Row], columns: Sequence[str], paper: Console
) -> Table:
    for name in ("waiting", "running"):
        if not any(getattr(row, name) for row in rows):
            columns = [each for each in columns if each != name]
    cells = [{name: _cell(name, row, profile.own) for name in columns} for row in rows]
    return fitting(cells, columns, DISPENSABLE, paper, left=["distribution"])


COLUMNS = (
    *("function", "calls", "errors", "running", "own", "%", "total"),
    *("mean", "p50", "p95", "p99", "max", "waiting", "distribution"),
)


def _cell(column: str, row: Row, all_own: float) -> str:
    if column == "function":
        return row.name
    if column == "distribution":
        return bars(row)
    if column == "%":
        return f"{row.own / all_own:.1%}" if all_own and row.calls else "-"
    value: float | None = getattr(row, column)
    if column in TIMES:
        return "-" if value is None or not row.calls else human(value)
    return f"{value:,}" if value else "-"


def bars(row: Row) -> str:
    """The distribution of a function's times, from its least to its greatest, logarithmic."""
    greatest = max(row.bars, default=0)
    if not greatest:
        return ""
    steps = len(BLOCKS) - 1
    return "".join(BLOCKS[-(-count * steps // greatest)] for count in row.bars)


def _histogram(row: Row) -> str:
    """How long its calls took: a line for each step, with a bar as long as there were calls."""
    greatest = max(row.bars)
    lines = [f"\n{row.name}: {row.calls:,} calls, {human(row.low)} to {human(row.max)}"]
    for limit, count in zip(row.limits(), row.bars, strict=True):
        full, part = divmod(-(-count * BAR * 8 // greatest), 8)
        bar = EIGHTHS[-1] * full + (EIGHTHS[part] if part else "")
        lines.append(f"  ≤ {human(limit):>8} {bar} {count:,}".rstrip())
    return "\n".join(lines)


def _callers(row: Row) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("caller", "calls", "total", "mean"):
        table.add_column(name, justify="left" if name == "caller" else "right", no_wrap=True)
    others = row.calls - sum(each.calls for each in row.callers)
    for each in row.callers:
        cells = (each.name, f"{each.calls:,}", human(each.total), human(each.total / each.calls))
        table.add_row(*map(Text, cells))
    if others > 0:
        table.add_row(Text("what is not measured"), Text(f"{others:,}"), Text("-"), Text("-"))
    return table
