"""An outlet's memory: what has been sent is not sent again by who comes after it."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tach.histogram import Histogram
from tach.samples import Batch
from tach.sender.counts import NOTHING, Counts
from tach.sender.log import RecordLog
from tach.sender.outlet import Outlet, Pending


class Nowhere:
    """A notifier that takes everything."""

    def send(self, batch: Batch) -> None:
        """Take it."""

    def close(self) -> None:
        """Nothing is open."""


class Series:
    """What a series comes to while calls are made, and the batches of it that are taken."""

    def __init__(self) -> None:
        self.counts = NOTHING
        self.taken: Counts | None = None  # before the last batch

    def call(self, *durations: int, error: str = "", value: int = 0) -> None:
        """Count calls."""
        made = counted(*durations)
        if error:
            made = made._replace(errors=1, errors_by_type={error: 1})
        if value:
            made = made._replace(quantities={"own": counted(value)._replace(last=float(value))})
        self.counts = self.counts.plus(made)

    def make(self, _outlet: Outlet, taken: Mapping[str, Counts], _final: bool) -> Pending:
        """A batch of what is new."""
        self.taken = taken.get("f", NOTHING)
        more = {"f": self.counts.minus(self.taken)}
        batch = Batch([object()], time.time(), time.time())  # type: ignore[list-item]
        return Pending(batch, {"f": self.counts}, more, 1)


def counted(*durations: int) -> Counts:
    """The counts of such calls."""
    return Counts(
        Histogram.of([*durations]).pairs,
        sum(durations),
        min(durations),
        max(durations),
        errors=0,
        cancelled=0,
        ignored=0,
        errors_by_type={},
    )


@pytest.fixture
def successor(tmp_path: Path) -> Any:
    """Makes the next outlet of that name, which works until then or the end."""
    made: list[Outlet] = []

    def stop() -> None:
        for outlet in made:
            outlet.ask("stop")
            assert outlet.done(time.monotonic() + 30)
        made.clear()

    def make(series: Series) -> Outlet:
        stop()
        outlet = Outlet("some", Nowhere(), 3600.0, series.make, str(tmp_path))
        made.append(outlet)
        outlet.start()
        return outlet

    yield make
    stop()


def flush(outlet: Outlet) -> None:
    """Let it send what is new, and remember that."""
    outlet.ask("flush")
    assert outlet.done(time.monotonic() + 30)


Successor = Callable[[Series], Outlet]


@pytest.mark.parametrize("crowded", [False, True], ids=["as it grew", "compacted"])
def test_it_goes_on_where_the_last_one_was(
    crowded: bool, successor: Successor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is new to it is what none before it has sent: calls, errors, quantities."""
    monkeypatch.setattr(RecordLog, "crowded", lambda _self: crowded)
    series = Series()
    for _ in range(3):
        outlet = successor(series)
        before = series.counts
        series.call(5, 700, 10**9)
        flush(outlet)
        assert series.taken == before
        series.call(6, error="KeyError", value=12)
        flush(outlet)
        series.call(700, error="OSError", value=3)
        flush(outlet)


def test_what_could_not_be_noted_is_noted_later(
    successor: Successor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that was full for a while leaves no gap in what is remembered."""
    series = Series()
    outlet = successor(series)
    series.call(5)
    flush(outlet)
    with monkeypatch.context() as full:
        for method in ("append", "replace"):
            full.setattr(RecordLog, method, fail)
        for duration in (6, 7):
            series.call(duration)
            flush(outlet)
    series.call(8)
    flush(outlet)
    series.call(9, 5)
    flush(outlet)
    sent = series.counts

    outlet = successor(series)
    series.call(10)
    flush(outlet)
    assert series.taken == sent


def fail(*_: object) -> None:
    """What a full disk does."""
    raise OSError(errno.ENOSPC, "No space left on device")


def test_it_starts_from_what_it_is_told(successor: Successor) -> None:
    """What it shall not send is remembered as if it had been sent."""
    series = Series()
    outlet = successor(series)
    series.call(5)
    flush(outlet)
    series.call(6, 7, error="KeyError")
    outlet.start_from({"f": series.counts})
    skipped = series.counts
    series.call(8)
    flush(outlet)
    assert series.taken == skipped

    sent = series.counts
    outlet = successor(series)
    flush(outlet)
    assert series.taken == sent
