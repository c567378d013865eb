"""The benchmarks can be run: each makes its table. How fast anything is they say, not a test."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RUN = Path(__file__).parent.parent / "benchmarks" / "run.py"
FIGURE = re.compile(r"-?[\d,.]+ \(-?[\d,.]+ to -?[\d,.]+\)")
PEERS = ("yappi", "statsd", "DogStatsD", "prometheus_client", "OpenTelemetry", "ddtrace")
OLD_PAGE = """\
# A head

<!-- make bench calls -->

## A call

As it was.

<!-- make bench events -->

## Events

As they were.
"""

Rows = dict[str, list[str]]


@pytest.fixture
def bench(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the benchmarks with these arguments, as quickly as can be."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        pytest.importorskip("kombu")
        command = [sys.executable, "-W", "ignore", RUN, "--quick", *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    return run


@pytest.fixture
def tables(bench) -> Callable[[str], tuple[str, list[Rows]]]:
    """Runs one benchmark: what it prints, and its tables by the titles of their rows."""

    def read(name: str) -> tuple[str, list[Rows]]:
        done = bench("--only", name)
        assert done.returncode == 0, done.stderr
        return done.stdout, [rows(each) for each in re.findall(r"(?:^\|.*\n)+", done.stdout, re.M)]

    return read


def rows(table: str) -> Rows:
    """The cells of a table by the titles of its rows, without its head."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return {title: cells for title, *cells in lines[2:]}


def are_figures(cells: list[str]) -> bool:
    """Whether each is a median with its middle half."""
    return all(FIGURE.fullmatch(cell) for cell in cells)


def test_one_section_is_replaced(bench, tmp_path: Path) -> None:
    """--only with --write leaves the other sections of the page as they are, in their order."""
    page = tmp_path / "page.md"
    page.write_text(OLD_PAGE)

    done = bench("--only", "events", "--write", page)
    written = page.read_text()

    assert done.returncode == 0, done.stderr
    assert written.startswith("# What tach costs\n")
    assert "<!-- make bench calls -->\n\n## A call\n\nAs it was.\n\n" in written
    assert "As they were." not in written
    assert written.index("As it was.") < written.index("<!-- make bench events -->")
    assert '*`make bench ARGS="--only events --write"` on ' in written


def test_what_is_compared_is_pinned(monkeypatch) -> None:
    """The version of everything that the peers are made of stands in the list."""
    monkeypatch.syspath_prepend(RUN.parent)
    peers = importlib.import_module("peers")
    pinned = {name.lower() for name in peers.pinned()}
    wanted = {name for peer in peers.PEERS.values() for name in peer.requirements}

    assert {*wanted, *peers.SERVICE} - pinned == set()


def test_unknown_benchmarks_are_refused(bench) -> None:
    """A name that there is not is said, and nothing is measured."""
    done = bench("--only", "calls,speeed")

    assert done.returncode == 2
    assert "there is no speeed" in done.stderr
    assert done.stdout == ""


def test_tach_measures_every_kind_beside_others(tables) -> None:
    """Both probes notice how long a call of each kind lasts; peers that are not here are named."""
    text, (overheads, ratios) = tables("peers")

    for title in ("tach, compiled", "tach, not compiled", "cProfile"):
        assert are_figures(overheads[title]), title
    assert set(ratios) == {"tach, not compiled", "cProfile"}
    missing = text.partition("Not here: ")[2].partition("\n\n")[0]
    assert [peer for peer in PEERS if peer not in missing] == []
    assert re.findall(r"^- [✓✗] (.*?): ", text, re.M) == ["in proportion to cProfile"]


@pytest.mark.parametrize(
    ("name", "titles"),
    [
        ("calls", {"tach, one metric type", "tach, not compiled"}),
        ("start", {"bare interpreter", "tach"}),
        ("growth", {"1"}),
    ],
)
def test_tables_have_their_rows(tables, name: str, titles: set[str]) -> None:
    """A benchmark of tach alone ends with a table of what it is about."""
    _, (table,) = tables(name)

    assert titles <= table.keys()
    assert all(FIGURE.search(" ".join(cells)) for cells in table.values())


def test_no_call_of_a_service_is_missed(tables) -> None:
    """The benchmark of a service fails if tach has missed a call; it ends with its two tables."""
    pytest.importorskip("flask")
    pytest.importorskip("gunicorn")
    _, (ratios, memory) = tables("service")

    assert ratios.keys() == memory.keys()
    assert are_figures(ratios["tach, 200 targets"][1:])
    assert float(ratios["tach, 200 targets"][0].replace(",", "")) > 0
