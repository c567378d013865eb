from __future__ import annotations

import fcntl
import json
import math
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import tach
from tach.histogram import Histogram
from tach.notifiers.console import COLUMNS, Console, human
from tach.samples import Batch, Sample, TargetStatus

END = 1_700_000_000.0
MISSING = TargetStatus(
    "api.gone", "shop.api:gnoe", 7, "missing", "shop.api has no 'gnoe'; did you mean 'gone'?"
)


def timing(series: str, milliseconds: list[int]) -> Sample:
    """The durations of a series."""
    durations = Histogram.of([each * 1_000_000 for each in milliseconds]).scaled(1e-6)
    return Sample(f"{series}.duration", "histogram", durations, END, series, "duration")


def counter(series: str, suffix: str, value: int) -> Sample:
    """A counter of a series."""
    return Sample(f"{series}.{suffix}", "counter", value, END, series, suffix)


def batch(*samples: Sample, **fields) -> Batch:
    """A batch that covers ten seconds."""
    return Batch(samples, END - 10, END, **fields)


def printed(capsys, given: Batch, **options) -> list[str]:
    """The lines that the notifier wrote to standard error."""
    Console(**options).send(given)
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_the_table_has_a_row_for_each_series(capsys) -> None:
    """A row shows calls, errors and times of a series, in columns that line up to the right."""
    given = batch(
        timing("shop.build", [10, 20, 30, 40]),
        counter("shop.build", "calls", 4),
        counter("shop.build", "errors", 2),
        timing("shop.api", [2000]),
        counter("shop.api", "calls", 1),
    )
    head, columns, *rows = printed(capsys, given)
    assert head == "tach: 10.0 s until 2023-11-14 22:13:20 UTC"
    assert columns.split() == list(COLUMNS)
    assert [re.split(r"\s{2,}", row)[0] for row in rows[:2]] == ["shop.api", "shop.build"]
    assert re.split(r"\s{2,}", rows[0])[1:4] == ["1", "-", "2.00 s"]
    assert re.split(r"\s{2,}", rows[0])[-2:] == ["2.00 s", "2.00 s"]
    assert re.split(r"\s{2,}", rows[1])[1:4] == ["4", "2", "25.0 ms"]
    assert re.split(r"\s{2,}", rows[1])[-2:] == ["40.0 ms", "100 ms"]
    assert len({len(line) for line in [columns, *rows[:2]]}) == 1


def test_rows_are_sorted_by_total_time(capsys) -> None:
    """The series that took most time stands first, however few calls it had."""
    given = batch(
        timing("a", [1] * 50), timing("b", [900]), counter("c", "calls", 1000), timing("d", [60])
    )
    rows = printed(capsys, given)[2:]
    assert [row.split()[0] for row in rows] == ["b", "d", "a", "c"]


def test_what_is_not_measured_is_a_dash(capsys) -> None:
    """A series without timing shows its calls, and dashes for the rest."""
    row = printed(capsys, batch(counter("shop.api", "calls", 3)))[2]
    assert row.split() == ["shop.api", "3", *"-------"]


def test_the_calls_of_a_series_that_is_only_timed_are_known(capsys) -> None:
    """Every call that ended has a duration, so that `timing` alone tells the calls."""
    assert printed(capsys, batch(timing("shop.api", [1, 2])))[2].split()[1] == "2"


def test_failures_are_told_below_the_table(capsys) -> None:
    """Errors by class, the most frequent first, cancelled and ignored calls have a line."""
    given = batch(
        counter("shop.api", "errors", 7),
        counter("shop.api", "errors.by_type.KeyError", 2),
        counter("shop.api", "errors.by_type.ValueError", 5),
        counter("shop.api", "cancelled", 1),
        counter("shop.api", "ignored", 3),
        counter("shop.calm", "errors", 0),
    )
    lines = printed(capsys, given)
    assert lines[4:] == ["shop.api: 5 ValueError, 2 KeyError, 1 cancelled, 3 ignored"]


def test_targets_that_measured_nothing_are_told_with_the_reason(capsys) -> None:
    """A target that is not patched has its state and reason, one that is not called says so."""
    given = batch(
        timing("host.shop.build", [1]),
        counter("host.shop.idle", "calls", 0),
        targets=(
            TargetStatus("shop.build", "shop:build", 3, "patched", "", called=True),
            TargetStatus("build", "shop:other_build", 4, "patched", ""),
            TargetStatus("shop.idle", "shop:idle", 5, "patched", ""),
            TargetStatus("shop.late", "shop.late:run", 6, "waiting", "not imported [yet]"),
            MISSING,
        ),
        troubles=["statsd: connection refused, 3 batches dropped"],
    )
    assert printed(capsys, given)[4:] == [
        "build (shop:other_build): patched, never called",
        "shop.idle (shop:idle): patched, never called",
        "shop.late (shop.late:run): waiting: not imported [yet]",
        "api.gone (shop.api:gnoe): missing: shop.api has no 'gnoe'; did you mean 'gone'?",
        "trouble: statsd: connection refused, 3 batches dropped",
    ]


def test_nothing_recorded_is_said_plainly(capsys) -> None:
    """No table without rows; the targets still have their reasons."""
    assert printed(capsys, batch(targets=[MISSING])) == [
        "tach: nothing was recorded in 10.0 s: no measured function was called",
        "api.gone (shop.api:gnoe): missing: shop.api has no 'gnoe'; did you mean 'gone'?",
    ]


def test_calls_without_numbers_are_calls(capsys) -> None:
    """Where targets have events or debug lines only, nobody says that nothing was called."""
    Console().send(Batch([], 0, 1, [TargetStatus("f", "m:f", 3, "patched", "", called=True)]))
    said = "tach: 1.0 s; no metric of what was called is one to be added up\n"
    assert capsys.readouterr().err == said


def test_the_series_about_tach_itself_are_left_out(capsys) -> None:
    """Self-metrics are no rows, with or without a prefix; a name that only ends alike is one."""
    given = batch(
        counter("tach", "sent", 1), counter("nova.tach", "sent", 1), counter("attach", "calls", 1)
    )
    assert [line.split()[0] for line in printed(capsys, given)[2:]] == ["attach"]
    assert [json.loads(line)["series"] for line in printed(capsys, given, format="json")] == [
        "attach"
    ]


def test_what_is_no_terminal_gets_whole_names_and_no_colour(capsys, monkeypatch) -> None:
    """A pipe gets each row in one line without escape sequences, even where colour is forced."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    long = "nova." + "x" * 190
    lines = printed(capsys, batch(timing(long, [1]), timing("a[red]b", [1])))
    assert any(line.startswith(long + " ") for line in lines)
    assert any(line.startswith("a[red]b ") for line in lines)
    assert "\x1b" not in "".join(lines)


ON_A_TERMINAL = """
from tach.notifiers.console import Console
from tach.samples import Batch, Sample, TargetStatus
samples = [Sample("n.calls", "counter", 1, 0, "nova." + "x" * 100, "calls")]
targets = [TargetStatus("api", "shop:api", 3, "missing", "far " * 50)]
Console().send(Batch(samples, 0, 1, targets))
"""


def test_a_terminal_gets_no_line_that_is_wider_than_it_is() -> None:
    """On a terminal of 80 columns every line fits, and the name is folded, not cut."""
    output = run_on_terminal(ON_A_TERMINAL, columns=80)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output).splitlines()
    assert plain != output.splitlines(), "a terminal gets a bold header"
    assert max(map(len, plain)) <= 80
    assert "".join(line.split(" ")[0] for line in plain).count("x") == 100


NARROW = """
from tach.histogram import Histogram
from tach.notifiers.console import Console
from tach.samples import Batch, Sample
name = "nova.compute01.instances.build"
times = Histogram.of([1_000_000, 2_000_000], 1e-6)
samples = [
    Sample(f"{name}.calls", "counter", 2, 0, name, "calls"),
    Sample(f"{name}.duration", "histogram", times, 0, name, "duration"),
]
Console().send(Batch(samples, 0, 1))
"""


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (120, ["target", "calls", "errors", "mean", "p50", "p95", "p99", "max", "total"]),
        (72, ["target", "calls", "errors", "mean", "max", "total"]),
        (48, ["target", "calls", "max"]),
        (40, ["target", "calls", "max"]),
    ],
)
def test_on_a_narrow_terminal_columns_give_way(columns: int, shown: list[str]) -> None:
    """The names of targets are whole as long as some columns can be spared."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", run_on_terminal(NARROW, columns)).splitlines()
    (head,) = (number for number, line in enumerate(plain) if line.startswith("target"))
    assert plain[head].split() == shown
    name = "nova.compute01.instances.build"
    assert plain[head + 1].startswith(f"{name}  " if columns > 40 else name[:20])


def run_on_terminal(program: str, columns: int) -> str:
    """What the program writes to standard error where that is a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    unwanted = ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stderr=theirs,
        cwd=Path(tach.__file__).parent.parent,
        env={**environment, "TERM": "xterm-256color"},
    ) as process:
        os.close(theirs)
        output = b""
        while received := _read(ours):
            output += received
    os.close(ours)
    assert process.returncode == 0, output.decode()
    return output.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when the last process has closed the other end
        return b""


def test_json_has_an_object_for_each_series_target_and_trouble(capsys) -> None:
    """JSON lines: the series with their numbers, the targets not patched, the troubles."""
    given = batch(
        timing("shop.api", [10, 30]),
        counter("shop.api", "calls", 2),
        counter("shop.api", "errors", 1),
        counter("shop.api", "errors.by_type.KeyError", 1),
        counter("shop.api", "cancelled", 4),
        targets=(TargetStatus("shop.api", "shop:api", 3, "patched", ""), MISSING),
        troubles=["the sender was restarted"],
    )
    series, target, trouble = map(json.loads, printed(capsys, given, format="json"))
    assert series == {
        "time": "2023-11-14T22:13:20.000+00:00",
        "series": "shop.api",
        "calls": 2,
        "errors": 1,
        "errors_by_type": {"KeyError": 1},
        "cancelled": 4,
        "ignored": 0,
        "mean_ms": pytest.approx(20),
        "p50_ms": pytest.approx(10, rel=0.01),
        "p95_ms": pytest.approx(30, rel=0.01),
        "p99_ms": pytest.approx(30, rel=0.01),
        "max_ms": pytest.approx(30),
        "min_ms": pytest.approx(10),
        "total_ms": pytest.approx(40),
    }
    assert datetime.fromisoformat(series["time"]).utcoffset() == timedelta(0)
    assert target == {
        "target": "api.gone",
        "function": "shop.api:gnoe",
        "state": "missing",
        "reason": MISSING.reason,
    }
    assert trouble == {"trouble": "the sender was restarted"}


def test_json_of_a_series_that_is_not_timed_has_null_times(capsys) -> None:
    """A time that was not measured is null, not 0."""
    [line] = printed(capsys, batch(counter("a", "calls", 1)), format="json")
    assert json.loads(line)["p99_ms"] is None


def test_a_file_is_appended_to(capsys, tmp_path) -> None:
    """With `file` nothing goes to standard error, and what the file held stays."""
    file = tmp_path / "report"
    file.write_text("before\n")
    console = Console(format="json", file=str(file))
    console.send(batch(counter("a", "calls", 1)))
    console.send(batch(counter("a", "calls", 2)))
    console.close()
    before, *lines = file.read_text().splitlines()
    assert before == "before"
    assert [json.loads(line)["calls"] for line in lines] == [1, 2]
    assert capsys.readouterr() == ("", "")


def test_a_table_in_a_file_is_utf8_and_whole(tmp_path) -> None:
    """A file gets the table as a pipe does."""
    file = tmp_path / "report"
    Console(file=str(file)).send(batch(timing("n" * 150, [1])))
    assert file.read_text(encoding="utf-8").splitlines()[2].startswith("n" * 150 + " ")


def test_a_file_that_cannot_be_written_is_an_os_error(tmp_path) -> None:
    """A directory that does not exist is the receiver's fault."""
    with pytest.raises(FileNotFoundError):
        Console(file=str(tmp_path / "no" / "report")).send(batch())


def test_standard_error_is_looked_up_at_each_call(capsys, monkeypatch, tmp_path) -> None:
    """The stream that is sys.stderr at that time is written to; none at all is an OSError."""
    console = Console()
    with open(tmp_path / "stream", "w+", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        console.send(batch())
        stream.seek(0)
        assert stream.read().startswith("tach: nothing was recorded")
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(OSError, match="standard error is closed"):
        console.send(batch())


def test_a_stream_that_knows_only_ascii_gets_us_for_micro(monkeypatch, tmp_path) -> None:
    """An encoding without µ is no reason to fail."""
    durations = Histogram.of([5000]).scaled(1e-6)
    with open(tmp_path / "stream", "w+", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        Console().send(batch(Sample("a.duration", "histogram", durations, END, "a", "duration")))
        stream.seek(0)
        assert "5.00 us" in stream.read()


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0.00 µs"),
        (0.00025, "0.25 µs"),
        (0.00999, "9.99 µs"),
        (0.009996, "10.0 µs"),
        (0.0999, "99.9 µs"),
        (0.09996, "100 µs"),
        (0.9994, "999 µs"),
        (0.9996, "1.00 ms"),
        (12.34, "12.3 ms"),
        (999.6, "1.00 s"),
        (59_000, "59.0 s"),
        (7_200_000, "7200 s"),
    ],
)
def test_durations_have_three_digits_and_a_unit(milliseconds: float, text: str) -> None:
    """µs, ms or s, so that three digits suffice, also where rounding reaches the next unit."""
    assert human(milliseconds) == text


def test_it_gets_totals_and_by_default_only_the_last_batch() -> None:
    """The table shows the whole run: at its end, and with `every` during it."""
    assert Console.cumulative is True
    assert Console().interval == math.inf
    assert Console(every=5).interval == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "xml"}, "format 'xml' is neither table nor json"),
        ({"every": 0}, "every 0 must be a number of seconds above 0"),
        ({"every": "often"}, "every 'often' must be a number of seconds above 0"),
        ({"every": math.nan}, "every nan must be a number of seconds above 0"),
        ({"file": ""}, "file '' must be the path of a file"),
    ],
)
def test_nonsense_in_the_options_is_a_value_error(options, message) -> None:
    """`check` says which option is wrong, and what it must be."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Console.check(**options)
