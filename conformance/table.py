"""The results of the suites, as text for the terminal and as a part of docs/conformance.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from suites import HERE

if TYPE_CHECKING:
    from outcomes import Comparison, Difference
    from suites import Suite

DOCUMENT = HERE.parent / "docs" / "conformance.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"
WORDS = ("package", "version", "probes")
COLUMNS = (*WORDS, "tests", "same", "different", "flaky", "calls measured")


class Result(NamedTuple):
    """How a suite fared, with which probes, and how many calls tach measured meanwhile."""

    suite: Suite
    probes: str
    comparison: Comparison
    calls: int

    @property
    def failed(self) -> bool:
        """Whether there is what known.yaml does not explain, or too little was run or measured."""
        too_few = self.comparison.passed < self.suite.passed
        return bool(self.comparison.unknown) or too_few or not self.calls

    def cells(self) -> tuple[str, ...]:
        """What stands in the columns."""
        found = self.comparison
        counts = (found.tests, found.same, len(found.differences), len(found.flaky), self.calls)
        words = (self.suite.name, self.suite.version, self.probes)
        return (*words, *(f"{count:,}" for count in counts))


def line(result: Result) -> str:
    """One suite in one line."""
    return ", ".join(f"{cell} {title}" for title, cell in zip(COLUMNS, result.cells(), strict=True))


def details(result: Result, log: str) -> str:
    """What is wrong with the run, each flaky test, each difference with both outcomes."""
    passed, expected = result.comparison.passed, result.suite.passed
    lines = [f"  WITHOUT TACH only {passed} of {expected} tests passed"] * (passed < expected)
    lines += [f"  UNDER TACH nothing was measured, see {log}"] * (not result.calls)
    lines += [f"  flaky: {test}" for test in result.comparison.flaky]
    lines += [f"  known to differ, but does not: {test}" for test in result.comparison.mended]
    for each in result.comparison.differences:
        lines.append(f"  {each.test}\n      without tach: {each.without.word}, {_under(each)}")
        lines.append(f"      {'known: ' + each.reason if each.reason else 'NOT KNOWN, see ' + log}")
    return "\n".join(lines)


def _under(each: Difference) -> str:
    return f"under tach: {each.under.word} {each.under.because}"


def text(results: list[Result]) -> str:
    """The table for the terminal."""
    rows = [COLUMNS, *(each.cells() for each in results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at < len(WORDS) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def summary(results: list[Result]) -> str:
    """All suites in one line."""
    found = [result.comparison for result in results]
    tests, same = sum(each.tests for each in found), sum(each.same for each in found)
    differences = sum(len(each.differences) for each in found)
    known = differences - sum(len(each.unknown) for each in found)
    flaky = sum(len(each.flaky) for each in found)
    return (
        f"{tests:,} tests of {len(results)} packages, {same:,} same, "
        f"{differences} different ({known} of them known), {flaky} flaky"
    )


def markdown(results: list[Result]) -> str:
    """The table for the document, and below it the differences with their reasons."""
    rule = ("---" if column in WORDS else "---:" for column in COLUMNS)
    rows = [COLUMNS, tuple(rule), *(each.cells() for each in results)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    different = [(each.suite.name, one) for each in results for one in each.comparison.differences]
    if different:
        lines += ["", "| test | without tach | under tach | why |", "| --- | --- | --- | --- |"]
    for name, each in different:
        cells = (f"{name} `{each.test}`", each.without.word, each.under.word, each.reason or "?")
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def write(results: list[Result], python: str) -> None:
    """Replace what stands between the marks of the document."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    said = f"As last run by `make conformance ARGS=--write`, on Python {python}:\n\n"
    DOCUMENT.write_text(f"{before}{BEGIN}{said}{markdown(results)}{END}{after}", encoding="utf-8")
