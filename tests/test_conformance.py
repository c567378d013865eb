from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import suites
import table
from outcomes import Comparison, Difference, Outcome, compare, read

CONFORMANCE = Path(__file__).parent.parent / "conformance"
PASSED, FAILED, SKIPPED = Outcome("passed"), Outcome("failed", "boom"), Outcome("skipped")


def report(test: str, when: str, outcome: str, **more: Any) -> str:
    """A line of a report log."""
    kind = "CollectReport" if when == "collect" else "TestReport"
    return json.dumps(
        {"$report_type": kind, "nodeid": test, "when": when, "outcome": outcome, **more}
    )


def crash(message: str) -> dict[str, Any]:
    """What a report says of a failure."""
    return {"reprcrash": {"path": "t.py", "lineno": 1, "message": message}, "reprtraceback": {}}


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        (report("t", "call", "passed"), PASSED),
        (report("t", "call", "failed", longrepr=crash("boom\nand more")), FAILED),
        (report("t", "call", "failed", longrepr="\nboom\n"), FAILED),
        (report("t", "call", "skipped", longrepr=["t.py", 3, "boom"]), Outcome("skipped", "boom")),
        (report("t", "call", "skipped", wasxfail="known"), Outcome("xfailed")),
        (report("t", "call", "passed", wasxfail="known"), Outcome("xpassed")),
    ],
)
def test_a_test_ended_as_its_call_did(call: str, outcome: Outcome) -> None:
    """Setting up and tearing down count only if they go wrong; of a reason, the first line does."""
    lines = [report("t", "setup", "passed"), call, report("t", "teardown", "passed")]

    assert read(lines) == {"t": outcome}


@pytest.mark.parametrize("when", ["collect", "setup", "teardown"])
def test_what_fails_around_a_test_is_an_error(when: str) -> None:
    """A failure outside the test's own body is told apart from one in it."""
    reports = {each: report("t", each, "passed") for each in ("setup", "call", "teardown")}
    reports[when] = report("t", when, "failed", longrepr=crash("boom"))

    assert read(reports.values()) == {"t": Outcome("error", "boom")}


def test_a_skip_needs_no_call() -> None:
    """A test or a file that was skipped before its call is skipped."""
    lines = [report("t", "setup", "skipped"), report("f", "collect", "skipped")]

    assert read(lines) == {"t": SKIPPED, "f": SKIPPED}


def test_a_crash_leaves_a_test_unfinished() -> None:
    """A log that breaks off is read up to there, and the test that crashed is named."""
    lines = [
        report("ok", "setup", "passed"),
        report("ok", "call", "passed"),
        report("fatal", "setup", "passed"),
        '{"$report_type": "TestRep',
    ]

    assert read(lines) == {"ok": PASSED, "fatal": Outcome("unfinished")}


def test_other_lines_of_a_log_say_nothing() -> None:
    """What is neither about a test nor about collecting is passed over, and what was collected."""
    lines = [json.dumps({"$report_type": "SessionStart"}), report("f", "collect", "passed")]

    assert read(lines) == {}


def test_each_test_is_compared() -> None:
    """Same, different, missing on either side: each test counts once."""
    plain = {"same": PASSED, "broken": PASSED, "gone": SKIPPED}
    under = {"same": PASSED, "broken": FAILED, "new": PASSED}

    found = compare([plain, plain], [under], {})

    missing = Outcome("missing")
    assert found == Comparison(
        4,
        2,
        [],
        [
            Difference("broken", PASSED, FAILED),
            Difference("gone", SKIPPED, missing),
            Difference("new", missing, PASSED),
        ],
    )
    assert found.same == 1
    assert found.unknown == found.differences


def test_the_reason_of_a_failure_is_not_compared() -> None:
    """It may hold addresses and times: a test that fails in both runs is the same."""
    plain, under = {"t": Outcome("failed", "at 0x1")}, {"t": Outcome("failed", "at 0x2")}

    assert compare([plain, plain], [under], {}).same == 1


def test_a_test_that_changes_its_mind_is_flaky() -> None:
    """What differs without tach is neither the same nor different."""
    found = compare([{"t": PASSED}, {"t": FAILED}], [{"t": FAILED}], {})

    assert found == Comparison(1, 1, ["t"], [])
    assert found.same == 0


def test_a_difference_that_does_not_come_again_is_flaky() -> None:
    """A test that differs in one of two runs under tach only is told, but is no difference."""
    plain, under = {"t": PASSED, "u": PASSED}, {"t": FAILED, "u": FAILED}

    found = compare([plain, plain], [under, {"t": PASSED, "u": FAILED}], {})

    assert (found.flaky, [each.test for each in found.differences]) == (["t"], ["u"])


def test_known_differences_have_a_reason() -> None:
    """A test is known by its name with parameters or without; others stay unknown."""
    plain = dict.fromkeys(["a[1]", "b[1]", "b[2]", "c"], PASSED)
    under = dict.fromkeys(plain, FAILED)

    found = compare([plain, plain], [under], {"a[1]": "one", "b": "both", "c[1]": "other"})

    assert [each.reason for each in found.differences] == ["one", "both", "both", None]
    assert [each.test for each in found.unknown] == ["c"]
    assert found.mended == ["c[1]"]


def test_suites_are_chosen_by_name_or_subset() -> None:
    """Names decide, then the subset; without either all are run, as they stand in the file."""
    every = suites.load()

    assert [each.name for each in suites.choose(every, ["click", "pluggy"], None)] == [
        "click",
        "pluggy",
    ]
    assert [each.ci for each in suites.choose(every, [], "ci")] == [True] * 3
    assert suites.choose(every, [], None) == list(every.values())


def test_a_wrong_suite_is_told_with_the_nearest() -> None:
    """A suite that does not exist is an error that names the one meant."""
    with pytest.raises(ValueError, match=r"^no suite 'clik'; did you mean click\?$"):
        suites.choose(suites.load(), ["clik"], None)


def test_everything_that_is_installed_is_pinned() -> None:
    """Suites are pinned by version and hash, what their tests need by version."""
    lines = (CONFORMANCE / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {re.sub("[-_.]+", "-", line.split("==")[0]).lower() for line in lines}

    every = suites.load().values()

    assert len(every) >= 10
    for suite in every:
        assert re.fullmatch("[0-9a-f]{64}", suite.sha256), suite.name
        assert {each.lower() for each in suite.requires} <= pinned, suite.name


def test_known_differences_are_of_a_suite_and_say_why() -> None:
    """Nothing is excused without a reason, nor for a suite that is not run."""
    known, pure = suites.load_known("compiled"), suites.load_known("pure")

    assert set(known) <= set(pure) <= set(suites.load())
    assert all(reason.strip() for tests in pure.values() for reason in tests.values())
    assert all(known[suite].items() <= pure[suite].items() for suite in known)


RESULT = table.Result(
    suites.Suite("pkg", "1.2", "", ["pkg"], passed=1000),
    "compiled",
    Comparison(1234, 1000, ["f"], [Difference("t[|]", PASSED, FAILED, "why")], ["m"]),
    56789,
)


def test_the_table_lines_up() -> None:
    """Names stand to the left, counts to the right."""
    assert table.text([RESULT]).splitlines() == [
        "package  version  probes    tests   same  different  flaky  calls measured",
        "pkg      1.2      compiled  1,234  1,232          1      1          56,789",
    ]


def test_the_last_line_sums_up() -> None:
    """It counts what differs, and how much of that known.yaml explains."""
    unknown = RESULT.comparison._replace(differences=[Difference("t", PASSED, FAILED)])

    said = table.summary([RESULT, RESULT._replace(comparison=unknown)])

    assert said == ("2,468 tests of 2 packages, 2,464 same, 2 different (1 of them known), 2 flaky")


def test_a_difference_is_told_with_both_outcomes() -> None:
    """Each difference shows both outcomes and why; an unknown one where to look further."""
    unknown = RESULT.comparison._replace(differences=[Difference("t", PASSED, FAILED)])
    result = RESULT._replace(comparison=unknown)

    assert table.details(RESULT, "run.log").splitlines() == [
        "  flaky: f",
        "  known to differ, but does not: m",
        "  t[|]",
        "      without tach: passed, under tach: failed boom",
        "      known: why",
    ]
    assert not RESULT.failed
    assert "NOT KNOWN, see run.log" in table.details(result, "run.log")
    assert result.failed


def test_a_suite_that_hardly_ran_has_failed() -> None:
    """Nothing differs where nothing is run: a suite must pass as many tests as it is known to."""
    result = RESULT._replace(comparison=Comparison(1234, 999, [], []))

    assert result.failed
    assert table.details(result, "") == "  WITHOUT TACH only 999 of 1000 tests passed"


def test_a_suite_that_was_not_measured_has_failed() -> None:
    """All is the same where tach does nothing."""
    result = RESULT._replace(comparison=Comparison(1234, 1000, [], []), calls=0)

    assert result.failed
    assert table.details(result, "run.log") == "  UNDER TACH nothing was measured, see run.log"


def test_the_document_holds_the_table_and_the_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing replaces what stands between the marks, and only that."""
    document = tmp_path / "conformance.md"
    document.write_text(f"head\n{table.BEGIN}old\n{table.END}tail\n")
    monkeypatch.setattr(table, "DOCUMENT", document)

    table.write([RESULT], "3.13.0")

    text = document.read_text()
    assert text.startswith(f"head\n{table.BEGIN}As last run")
    assert text.endswith(f"| pkg `t[\\|]` | passed | failed | why |\n{table.END}tail\n")
    assert "| pkg | 1.2 | compiled | 1,234 | 1,232 | 1 | 1 | 56,789 |" in text
    assert "old" not in text
