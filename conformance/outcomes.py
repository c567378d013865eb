"""What became of each test, read from pytest's report log, and how two runs compare."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MISSING = "missing"


class Outcome(NamedTuple):
    """`word` is passed, failed, error (outside the test's own body), skipped, xfailed, xpassed,
    unfinished or missing; `because` the first line of what it said of that.
    """

    word: str
    because: str = ""


class Difference(NamedTuple):
    """A test that ended otherwise under tach; `reason` is given where that is known."""

    test: str
    without: Outcome
    under: Outcome
    reason: str | None = None


class Comparison(NamedTuple):
    """`tests` are those of all runs, `passed` of them without tach.

    A flaky one ends now so, now otherwise, without tach or under it, and is not compared. `mended`
    are the entries of the known differences that did not differ.
    """

    tests: int
    passed: int
    flaky: list[str]
    differences: list[Difference]
    mended: list[str] = []  # noqa: RUF012 - read only

    @property
    def same(self) -> int:
        """How many tests ended alike."""
        return self.tests - len(self.flaky) - len(self.differences)

    @property
    def unknown(self) -> list[Difference]:
        """The differences that nobody has explained."""
        return [each for each in self.differences if each.reason is None]


Outcomes = dict[str, Outcome]


def read(lines: Iterable[str]) -> Outcomes:
    """Test -> outcome, of the lines of a report log, which may break off."""
    phases: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for line in lines:
        try:
            report = json.loads(line)
        except ValueError:
            break  # the run was killed while it wrote
        kind = report.get("$report_type")
        if kind == "TestReport":
            phases[report["nodeid"]][report["when"]] = report
        elif kind == "CollectReport" and report["outcome"] != "passed":
            phases[report["nodeid"]]["collect"] = report
    return {test: _outcome(reports) for test, reports in phases.items()}


def _outcome(reports: dict[str, dict[str, Any]]) -> Outcome:
    for when in ("collect", "setup", "call", "teardown"):
        report = reports.get(when)
        if report is not None and report["outcome"] == "failed":
            return Outcome("failed" if when == "call" else "error", _first_line(report))
    decisive = reports.get("call") or reports.get("setup") or reports["collect"]
    if decisive["outcome"] == "passed" and "call" not in reports:
        return Outcome("unfinished")
    if "wasxfail" in decisive:
        return Outcome("xfailed" if decisive["outcome"] == "skipped" else "xpassed")
    return Outcome(decisive["outcome"], _first_line(decisive))


def _first_line(report: dict[str, Any]) -> str:
    said = report.get("longrepr") or ""
    if isinstance(said, dict):
        said = (said.get("reprcrash") or {}).get("message") or said.get("longrepr") or ""
    elif isinstance(said, list):  # of a skipped test: file, line, reason
        said = said[-1]
    return next((line for line in str(said).splitlines() if line.strip()), "")


def compare(
    without: Sequence[Outcomes], under: Sequence[Outcomes], known: Mapping[str, str]
) -> Comparison:
    """The runs without tach and those under it. `known` maps tests to why they differ.

    An entry of `known` without parameters in brackets stands for the test with all of them.
    """
    tests = sorted({*chain(*without, *under)})
    flaky, differences, used = [], [], set()
    for test in tests:
        plain, measured = (
            [run.get(test, Outcome(MISSING)) for run in runs] for runs in (without, under)
        )
        if _is_flaky(plain) or _is_flaky(measured):
            flaky.append(test)
        elif plain[0].word != measured[0].word:
            entry = test if test in known else test.partition("[")[0]
            used.add(entry)
            differences.append(Difference(test, plain[0], measured[0], known.get(entry)))
    passed = sum(outcome.word == "passed" for outcome in without[0].values())
    mended = [entry for entry in known if entry not in used]
    return Comparison(len(tests), passed, flaky, differences, mended)


def _is_flaky(outcomes: list[Outcome]) -> bool:
    return len({outcome.word for outcome in outcomes}) > 1
