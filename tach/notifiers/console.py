"""Shows what was measured on the terminal, as a table or as JSON lines."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, TextIO, get_args

from tach.histogram import Histogram

if TYPE_CHECKING:
    from rich.table import Table

    from tach.samples import Batch, Sample

Format = Literal["table", "json"]
# Wide enough that a file or a pipe gets every line whole.
UNLIMITED = 10_000
COLUMNS = ("target", "calls", "errors", "mean", "p50", "p95", "p99", "max", "total")
GIVE_WAY = ("p95", "p50", "p99", "total", "errors", "mean")
LONGEST_NAME = 40  # beyond it is folded where there is no room
GAP = 2
BY_TYPE = "errors.by_type."
RUNNING = ("inflight", "inflight_max", "oldest")  # worth a word only where there is something
# What the table and the lines about failures tell already.
TOLD = ("calls", "errors", "cancelled", "ignored")
TIMES = (
    "cpu",
    "running",
    "waiting",
    "max_run",
    "queued",
    "service",
    "total",
    "own",
    "hub_lag",
    "loop_lag",
    "gc_pause",
)  # histograms in milliseconds, beside `duration`


class Console:
    """Prints a table, or JSON lines, at the end of the run and, with `every`, during it.

    Options: `every`, the seconds between two tables (None: only one at the end); `format` (table or
    json); `file`, which is appended to (None: standard error).
    """

    cumulative = True
    last = True

    def __init__(
        self, every: float | None = None, format: Format = "table", file: str | None = None
    ) -> None:
        self.interval = math.inf if every is None else _seconds(every)
        if format not in get_args(Format):
            raise ValueError(f"format {format!r} is neither table nor json")
        self.format = format
        if file is not None and (not isinstance(file, str) or not file):
            raise ValueError(f"file {file!r} must be the path of a file")
        self.file = file

    @classmethod
    def check(cls, **options: Any) -> None:
        """Raise ValueError, saying what is wrong, if the options make no sense."""
        cls(**options)

    def send(self, batch: Batch) -> None:
        """Print the batch; OSError if the file or standard error cannot be written."""
        if self.file is not None:
            with open(self.file, "ab", buffering=0) as file:
                file.write(self._text(batch, None).encode())
            return
        # Looked up anew each time, since the sender may put another stream in its place.
        if sys.stderr is None:
            raise OSError("standard error is closed")
        _write(sys.stderr, self._text(batch, _terminal_width(sys.stderr)))

    def close(self) -> None:
        """Nothing to let go of."""

    def _text(self, batch: Batch, width: int | None) -> str:
        if self.format == "json":
            return "".join(json.dumps(each) + "\n" for each in _objects(batch))
        return _report(batch, width)


class Row:
    """All that is known about one series; `durations` is None where they were not measured."""

    def __init__(self, series: str) -> None:
        self.series = series
        self.counts: dict[str, int] = {}
        self.durations: Histogram | None = None
        self.numbers: dict[str, float] = {}
        self.histograms: dict[str, Histogram] = {}

    def add(self, sample: Sample) -> None:
        """Take in one sample of this series."""
        told = sample.suffix in TOLD or sample.suffix.startswith(BY_TYPE)
        if isinstance(sample.value, Histogram):
            if sample.suffix == "duration":
                self.durations = sample.value
            else:
                self.histograms[sample.suffix] = sample.value
        elif sample.kind == "counter" and told:
            self.counts[sample.suffix] = int(sample.value)
        else:
            self.numbers[sample.suffix] = sample.value

    @property
    def calls(self) -> int | None:
        """The calls that ended, from whichever metric tells; None if none does."""
        if self.durations is not None:
            return self.counts.get("calls", self.durations.count)
        return self.counts.get("calls")

    @property
    def is_of_calls(self) -> bool:
        """Whether calls were counted or timed in it."""
        return self.durations is not None or bool(self.counts)

    @property
    def errors_by_type(self) -> dict[str, int]:
        """The errors of each class, the most frequent first."""
        found = {
            suffix.removeprefix(BY_TYPE): count
            for suffix, count in self.counts.items()
            if suffix.startswith(BY_TYPE)
        }
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @property
    def total(self) -> float:
        """All durations together, in milliseconds; 0.0 where they were not measured."""
        return self.durations.sum if self.durations is not None else 0.0

    def times(self) -> dict[str, float] | None:
        """Mean, p50, p95, p99, max, min and total in milliseconds."""
        if self.durations is None:
            return None
        p50, p95, p99 = self.durations.quantiles([0.5, 0.95, 0.99])
        return {
            "mean": self.durations.mean,
            "p50": p50,
            "p95": p95,
            "p99": p99,
            "max": self.durations.max,
            "min": self.durations.min,
            "total": self.total,
        }


def rows(samples: Sequence[Sample]) -> list[Row]:
    """One row per series, the greatest total time first; without tach's own series."""
    found: dict[str, Row] = {}
    for sample in samples:
        if sample.series.rpartition(".")[2] != "tach":
            found.setdefault(sample.series, Row(sample.series)).add(sample)
    return sorted(found.values(), key=lambda row: (-row.total, -(row.calls or 0), row.series))


def human(milliseconds: float) -> str:
    """A duration in µs, ms or s, whichever suits it, with three digits."""
    microseconds = milliseconds * 1000
    for unit, size in (("µs", 1.0), ("ms", 1e3), ("s", 1e6)):
        amount = microseconds / size
        if amount < 999.5 or unit == "s":
            break
    decimals = 2 if amount < 9.995 else 1 if amount < 99.95 else 0
    return f"{amount:.{decimals}f} {unit}"


def _report(batch: Batch, width: int | None) -> str:
    """The table and the lines below it; `width` in columns, None for what is no terminal."""
    from io import StringIO

    from rich import console

    paper = console.Console(
        file=StringIO(),
        width=width or UNLIMITED,
        force_terminal=width is not None,
        color_system="auto" if width is not None else None,
        legacy_windows=False,
        markup=False,
        highlight=False,
        emoji=False,
    )
    found = rows(batch.samples)
    with paper.capture() as capture:
        paper.print(_headline(batch, found), soft_wrap=width is None)
        called = [row for row in found if row.is_of_calls]
        if called:
            paper.print(_table(called, paper.width))
        for line in _remarks(batch, found):
            paper.print(line, soft_wrap=width is None)
    return capture.get()


def _headline(batch: Batch, found: list[Row]) -> str:
    seconds = max(batch.end - batch.start, 0.0)
    if not found and any(target.called for target in batch.targets):
        return f"tach: {seconds:.1f} s; no metric of what was called is one to be added up"
    if not found:
        return f"tach: nothing was recorded in {seconds:.1f} s: no measured function was called"
    ended = datetime.fromtimestamp(batch.end, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    return f"tach: {seconds:.1f} s until {ended} UTC"


def _table(found: list[Row], width: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    cells = [dict(zip(COLUMNS, _cells(row), strict=True)) for row in found]
    shown = _with_room(cells, width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for name in shown:
        if name == "target":
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for row in cells:
        table.add_row(*(Text(row[name]) for name in shown))
    return table


def _with_room(cells: list[dict[str, str]], width: int) -> list[str]:
    """The columns that have room beside the names of targets; those that say least give way."""
    needed = {name: max(len(each[name]) for each in [*cells, {name: name}]) for name in COLUMNS}
    needed["target"] = min(needed["target"], LONGEST_NAME)
    shown = list(COLUMNS)
    for name in GIVE_WAY:
        if sum(needed[each] + GAP for each in shown) - GAP <= width:
            break
        shown.remove(name)
    return shown


def _cells(row: Row) -> Iterator[str]:
    yield row.series
    for count in (row.calls, row.counts.get("errors")):
        yield "-" if count is None else str(count)
    times = row.times()
    for name in COLUMNS[3:]:
        yield "-" if times is None else human(times[name])


def _remarks(batch: Batch, found: list[Row]) -> Iterator[str]:
    """The lines below the table."""
    for row in found:
        failures = ", ".join(_failures(row))
        if failures:
            yield f"{row.series}: {failures}"
        measures = ", ".join(_measures(row))
        if measures:
            yield f"{row.series}: {measures}"
    for target in batch.targets:
        if target.state != "patched":
            reason = f": {target.reason}" if target.reason else ""
            yield f"{target.name} ({target.function}): {target.state}{reason}"
        elif not target.called:
            yield f"{target.name} ({target.function}): patched, never called"
    for trouble in batch.troubles:
        yield f"trouble: {trouble}"


def _failures(row: Row) -> Iterator[str]:
    for name, count in row.errors_by_type.items():
        yield f"{count} {name}"
    for name in ("cancelled", "ignored"):
        if row.counts.get(name):
            yield f"{row.counts[name]} {name}"


def _measures(row: Row) -> Iterator[str]:
    """What was measured of the calls beside their time."""
    for suffix, histogram in row.histograms.items():
        shown = human if suffix in TIMES else _plain
        p99 = histogram.quantile(0.99)
        yield (
            f"{suffix} mean {shown(histogram.mean)} p99 {shown(p99)} max {shown(histogram.max)}"
            f" sum {shown(histogram.sum)}"
        )
    for suffix, number in row.numbers.items():
        if number and suffix == "oldest":
            yield f"oldest {human(number * 1000)}"
        elif number or suffix not in RUNNING:
            yield f"{suffix} {_plain(number)}"


def _plain(number: float) -> str:
    return f"{number:.6g}"


def _objects(batch: Batch) -> Iterator[dict[str, Any]]:
    """What the lines of JSON hold: the series, the targets not patched, the troubles."""
    time = datetime.fromtimestamp(batch.end, timezone.utc).isoformat(timespec="milliseconds")
    for row in rows(batch.samples):
        times = row.times()
        yield {
            "time": time,
            "series": row.series,
            "calls": row.calls,
            "errors": row.counts.get("errors", 0),
            "errors_by_type": row.errors_by_type,
            "cancelled": row.counts.get("cancelled", 0),
            "ignored": row.counts.get("ignored", 0),
            **{
                f"{name}_ms": times and times[name]
                for name in ("mean", "p50", "p95", "p99", "max", "min", "total")
            },
            **row.numbers,
            **{suffix: _distribution(each) for suffix, each in row.histograms.items()},
        }
    for target in batch.targets:
        if target.state != "patched":
            yield {
                "target": target.name,
                "function": target.function,
                "state": target.state,
                "reason": target.reason,
            }
    for trouble in batch.troubles:
        yield {"trouble": trouble}


def _distribution(histogram: Histogram) -> dict[str, float]:
    p50, p99 = histogram.quantiles([0.5, 0.99])
    return {
        "count": histogram.count,
        "mean": histogram.mean,
        "p50": p50,
        "p99": p99,
        "max": histogram.max,
        "sum": histogram.sum,
    }


def _write(stream: TextIO, text: str) -> None:
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        text = text.replace("µ", "u").encode("ascii", "backslashreplace").decode("ascii")
    stream.write(text)
    stream.flush()


def _terminal_width(stream: TextIO) -> int | None:
    """The columns of the terminal that the stream writes to, None if it is no terminal."""
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def _seconds(every: float) -> float:
    if isinstance(every, bool) or not isinstance(every, int | float) or not 0 < every < math.inf:
        raise ValueError(f"every {every!r} must be a number of seconds above 0")
    return every
