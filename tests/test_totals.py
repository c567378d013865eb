"""The sender's totals: of all processes, dead or alive, and across its own death."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import calls

from tach import layout
from tach.agent import proxy
from tach.agent.files import SegmentFile
from tach.agent.probes import Probes, compiled
from tach.agent.recorder import Recorder
from tach.agent.segment import Segment
from tach.histogram import Histogram
from tach.plan import Plan, TargetPlan
from tach.rundir import Run
from tach.sender.counts import NEVER, NOTHING, Counts, from_plain, together
from tach.sender.log import RecordLog
from tach.sender.processes import start_ticks_of
from tach.sender.totals import Totals

# Counts


def counted(durations: list[int], errors: dict[str, int], cancelled: int = 0) -> Counts:
    """The counts of such calls."""
    histogram = Histogram.of(durations)
    low, high = min(durations, default=NEVER), max(durations, default=-1)
    total, failed = sum(durations), sum(errors.values())
    return Counts(histogram.pairs, total, low, high, failed, cancelled, 0, errors)


durations_ = st.lists(st.integers(0, 1 << 50), max_size=30)
errors_ = st.dictionaries(st.sampled_from("ABC"), st.integers(1, 1000))
counts_ = st.builds(counted, durations_, errors_, st.integers(0, 5))


@given(durations_, durations_, errors_, errors_)
def test_adding_is_as_if_counted_together(
    one: list[int], other: list[int], errors: dict[str, int], more: dict[str, int]
) -> None:
    """The sum of two counts is the counts of all calls of both."""
    both = {name: errors.get(name, 0) + more.get(name, 0) for name in {**errors, **more}}

    assert counted(one, errors).plus(counted(other, more)) == counted(one + other, both)


@given(counts_, counts_)
def test_the_order_of_adding_does_not_matter(one: Counts, other: Counts) -> None:
    """Adding commutes, and nothing added changes nothing."""
    assert one.plus(other) == other.plus(one)
    assert one.plus(NOTHING) == one


@given(st.lists(counts_, max_size=4))
def test_many_are_added_as_one_by_one(several: list[Counts]) -> None:
    """All together are what they are one after the other."""
    added = NOTHING
    for each in several:
        added = added.plus(each)
    assert together(several) == added


@given(durations_, durations_, errors_, errors_)
def test_an_interval_is_what_came_on_top(
    before: list[int], new: list[int], errors: dict[str, int], more: dict[str, int]
) -> None:
    """Later counts less earlier ones are the calls between, in every bucket and error class."""
    earlier = counted(before, errors)
    activity = earlier.plus(counted(new, more)).since(earlier)

    assert activity.durations.pairs == Histogram.of(new).pairs
    assert (activity.durations.count, activity.durations.total) == (len(new), sum(new))
    assert (activity.errors, activity.errors_by_type) == (sum(more.values()), more)
    if new:
        assert activity.durations.min <= min(new)
        assert activity.durations.max >= max(new)


@given(counts_, counts_)
def test_what_was_added_comes_off_again(one: Counts, other: Counts) -> None:
    """A sum less the one is the other, and with the one the sum again; extremes are the sum's."""
    both = one.plus(other)
    more = both.minus(one)

    assert more == other._replace(low=both.low, high=both.high)
    assert one.plus(more) == both


@given(counts_)
def test_counts_survive_being_written(counts: Counts) -> None:
    """What is written as plain values comes back equal."""
    assert from_plain(counts.to_plain()) == counts


# The record log


@pytest.fixture
def log(tmp_path: Path) -> RecordLog:
    """A log of this test's own."""
    return RecordLog(str(tmp_path / "log"))


def test_records_come_back_in_order(log: RecordLog, tmp_path: Path) -> None:
    """What was appended is read, by whoever comes later; a log that is not there is empty."""
    records = ["text", 1 << 900, {"key": (1, 2.5, None)}, b"", ()]

    assert list(log.read()) == []
    for record in records:
        log.append(record)
    assert list(RecordLog(str(tmp_path / "log")).read()) == records


@pytest.mark.parametrize("cut", [1, 3, 7, 8, 9, 30])
def test_a_torn_record_is_cut_off(cut: int, log: RecordLog, tmp_path: Path) -> None:
    """A record torn anywhere is ignored, and what is appended after it is read again."""
    file = tmp_path / "log"
    log.append("first")
    size = file.stat().st_size
    log.append("x" * 30)
    os.truncate(file, size + cut)

    assert list(log.read()) == ["first"]
    log.append("second")
    assert list(log.read()) == ["first", "second"]


def test_a_damaged_record_ends_the_log(log: RecordLog, tmp_path: Path) -> None:
    """A record whose bytes have changed is not believed."""
    log.append("first")
    log.append("second")
    file = tmp_path / "log"
    file.write_bytes(file.read_bytes()[:-1] + b"?")

    assert list(log.read()) == ["first"]


def test_a_record_that_has_no_room_leaves_the_others(log: RecordLog, tmp_path: Path) -> None:
    """Where only a part could be written, append raises, and the log is as it was."""
    import resource

    log.append("first")
    size = (tmp_path / "log").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5, limits[1]))
    try:
        with pytest.raises(OSError, match="log") as caught:
            log.append("x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)

    assert caught.value.errno == errno.ENOSPC
    log.append("second")
    assert list(log.read()) == ["first", "second"]


@pytest.mark.parametrize("zeros", [1, 8, 16, 4096])
def test_zeros_end_the_log(zeros: int, log: RecordLog, tmp_path: Path) -> None:
    """What a file system leaves of a record when the power fails is no record, and cut off."""
    log.append("first")
    with (tmp_path / "log").open("ab") as file:
        file.write(bytes(zeros))
    assert list(log.read()) == ["first"]
    log.append("second")
    assert list(log.read()) == ["first", "second"]


def test_a_log_says_when_it_is_crowded(tmp_path: Path) -> None:
    """Beyond its limit a log wants to be compacted; afterwards not before it has grown again."""
    log = RecordLog(str(tmp_path / "log"), limit=1000)

    assert not log.crowded()
    for _ in range(20):
        log.append("x" * 100)
    assert log.crowded()
    log.replace("y" * 1100)
    assert not log.crowded()
    assert list(log.read()) == ["y" * 1100]
    assert [file.name for file in tmp_path.iterdir()] == ["log"]
    while not log.crowded():
        log.append("x" * 100)
    assert (tmp_path / "log").stat().st_size > 4 * 1100


# Totals

TARGETS = tuple(
    TargetPlan(name, "module", name, ("timing",), ("out",), (), 1) for name in ("f", "g", "h.i")
)
PLAN = Plan("tach.yaml", "", 1.0, 1.0, (), TARGETS)


class Family:
    """The processes of a run in `directory`: real ones, forked from this."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.living: dict[int, int] = {}

    def totals(self, prefix: str = "") -> Totals:
        """A sender's totals, as a new sender begins."""
        plan = PLAN._replace(prefix=prefix)
        run = Run(str(self.directory), os.getpid(), "a.program", ["program"], plan.to_json())
        return Totals(run, plan)

    def process(self, *made: tuple[int, int], dies: bool = True) -> int:
        """A process that makes (target, times) calls, every third failing; its pid."""
        ready, done = os.pipe()
        child = os.fork()
        if not child:
            try:
                for target, times in made:
                    self._call(target, times)
                os.write(done, b"!")
                signal.pause() if not dies else None
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        self.living[child] = start_ticks_of(child)
        assert os.read(ready, 1) == b"!"
        os.close(ready)
        os.close(done)
        if dies:
            self.end(child)
        return child

    def _call(self, target: int, times: int) -> None:
        segment = Segment(SegmentFile(str(self.directory), start_ticks_of(os.getpid())), "program")
        recorder = Recorder(segment, target, (), print)
        made = Probes(proxy.object_proxy(), compiled())
        probe = made.counting(lambda number: 1 // (0 if number % 3 == 0 else 1), recorder)
        for number in range(times):
            with suppress(ZeroDivisionError):
                probe(number)

    def end(self, child: int) -> None:
        """Kill the process and reap it."""
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        del self.living[child]

    def alive(self, key: tuple[int, int]) -> bool:
        """Whether the process lives."""
        return self.living.get(key[0]) == key[1]


@pytest.fixture
def family(tmp_path: Path) -> Any:
    """Processes that all are dead at the end."""
    family = Family(tmp_path)
    yield family
    for child in list(family.living):
        family.end(child)


def made(totals: Totals) -> dict[str, tuple[int, int]]:
    """Calls and errors of each series."""
    every = {name: total.counts() for name, total in totals.series.items()}
    return {name: (calls(counts), counts.errors) for name, counts in every.items()}


def test_processes_add_up(family: Family) -> None:
    """A series is the sum of what living and dead processes counted for it."""
    family.process((0, 9), (1, 3))
    family.process((0, 6), dies=False)
    totals = family.totals()

    assert totals.read() == {"f", "g"}
    assert made(totals) == {"f": (15, 5), "g": (3, 1)}
    assert totals.read() == set()


def test_the_dead_are_folded_in(family: Family) -> None:
    """What a dead process counted stays, its segment goes; the living are left alone."""
    family.process((0, 9), (2, 3))
    family.process((0, 6), dies=False)
    totals = family.totals()
    totals.read()
    before = made(totals)

    assert totals.retire(family.alive) == {"f", "h.i"}
    assert made(totals) == before == {"f": (15, 5), "h.i": (3, 1)}
    assert len(list(family.directory.glob("*.segment"))) == 1
    assert totals.retire(family.alive) == set()


def test_the_dead_are_kept_apart_only_where_somebody_asks(family: Family) -> None:
    """Else one sum holds them all, however many there were at once; the totals are the same."""
    family.process((0, 9))
    family.process((0, 3))
    totals = family.totals()
    totals.read()
    totals.retire(family.alive)
    assert set(totals.series["f"].retired) == {0, 1}
    before = made(totals)

    totals.keep_apart(False)
    assert set(totals.series["f"].retired) == {None}
    assert made(totals) == before == {"f": (12, 4)}
    family.process((0, 6))
    totals.read()
    totals.retire(family.alive)
    assert set(totals.series["f"].retired) == {None}
    assert made(totals) == made(family.totals()) == {"f": (18, 6)}

    totals.keep_apart(True)
    family.process((0, 3))
    totals.read()
    totals.retire(family.alive)
    assert {slot: calls(each) for slot, each in totals.series["f"].counts_by_slot().items()} == {
        0: 3
    }
    assert made(totals) == {"f": (21, 7)}


def test_a_process_that_died_before_it_was_seen_is_counted(family: Family) -> None:
    """A segment that nobody has read before its process died is read when it is retired."""
    totals = family.totals()
    family.process((0, 9))

    assert totals.retire(family.alive) == {"f"}
    assert made(totals) == {"f": (9, 3)}


def test_a_process_nobody_has_heard_of_is_not_taken_for_dead(family: Family) -> None:
    """A process makes its segment before it says that it is there: it is left alone."""
    family.process((0, 9), dies=False)
    totals = family.totals()
    totals.read()

    assert totals.retire(lambda _: False) == set()
    assert len(list(family.directory.glob("*.segment"))) == 1
    assert made(totals) == {"f": (9, 3)}


def test_a_damaged_segment_harms_no_other(family: Family) -> None:
    """Of a segment damaged by whomever the rest is lost; the other processes are counted on."""
    damaged, whole = family.process((0, 9), dies=False), family.process((1, 6), dies=False)
    [file] = family.directory.glob(f"{damaged}-*.segment")
    with open(file, "r+b") as segment:
        segment.seek(layout.H_FIRST * layout.WORD)
        segment.write((1 << 60).to_bytes(8, sys.byteorder))
    totals = family.totals()

    assert totals.read() == {"g"}
    family.end(damaged)
    family.end(whole)
    totals.retire(family.alive)
    assert made(totals) == {"g": (6, 2)}
    assert list(family.directory.glob("*.segment")) == []


def test_a_target_that_no_plan_has_harms_no_other(family: Family) -> None:
    """Whatever a process has of a target that the plan does not know, the others are counted."""
    stray = family.process((5, 3), dies=False)
    family.process((0, 9), dies=False)
    [file] = family.directory.glob(f"{stray}-*.segment")
    with file.open("r+b") as opened:
        words = memoryview(mmap.mmap(opened.fileno(), 0)).cast("Q")
        entry = words[layout.H_FIRST] // layout.WORD
        while words[entry + layout.E_KIND] != layout.KIND_CALLS:
            entry = words[entry + layout.E_NEXT] // layout.WORD
        words[entry + layout.E_PEAK] = 2

    totals = family.totals()
    assert totals.read() == {"f"}
    assert made(totals) == {"f": (9, 3)}
    assert totals.take_peaks() == {}


def test_a_full_disk_keeps_the_segments(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be noted as folded in stays where it is, and counts, until it can."""
    family.process((0, 9))
    totals = family.totals()
    totals.read()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(RecordLog, "append", full)
        assert totals.retire(family.alive) == set()
        assert made(totals) == {"f": (9, 3)}
    assert totals.retire(family.alive) == {"f"}
    assert made(totals) == {"f": (9, 3)}


def test_a_new_sender_knows_what_the_last_one_knew(family: Family) -> None:
    """Whatever had been retired when a sender died, its successor comes to the same totals."""
    family.process((0, 9))
    first = family.totals()
    first.read()
    first.retire(family.alive)
    family.process((0, 3), (1, 3))
    family.process((1, 6), dies=False)

    second = family.totals()
    second.read()
    second.retire(family.alive)
    expected = {"f": (12, 4), "g": (9, 3)}
    assert made(second) == expected
    third = family.totals()
    third.read()
    assert made(third) == expected
    assert third.series["f"].counts() == second.series["f"].counts()


def test_a_sender_that_dies_between_record_and_removal(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment that is in the log already is not counted again by the next sender."""
    family.process((0, 9))
    first = family.totals()

    def killed(path: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            first.retire(family.alive)

    second = family.totals()
    assert list(family.directory.glob("*.segment")) == []
    second.read()
    second.retire(family.alive)
    assert made(second) == {"f": (9, 3)}


def test_compacting_changes_no_number(family: Family) -> None:
    """The log of the dead, compacted, gives the same totals to the next sender."""
    first = family.totals()
    first._log._limit = 500
    expected: dict[str, tuple[int, int]] = {}
    for number in range(1, 8):
        family.process((0, 3 * number), (1, 3))
        first.retire(family.alive)
        count, errors = expected.get("f", (0, 0))
        expected = {"f": (count + 3 * number, errors + number), "g": (3 * number, number)}
        assert made(first) == expected
    second = family.totals()

    assert next(second._log.read())[0] == "", "it has been compacted"
    assert made(second) == expected


@pytest.mark.parametrize("content", [b"", b"text", bytes(1 << 14), os.urandom(1 << 14)])
def test_files_that_are_no_segments_do_no_harm(content: bytes, family: Family) -> None:
    """A foreign file with a segment's name is passed over, and swept with its process."""
    (family.directory / "1-1-a.segment").write_bytes(content)
    (family.directory / "other.segment").write_bytes(content)
    family.process((0, 3))
    totals = family.totals()

    assert totals.read() == {"f"}
    totals.retire(family.alive)
    assert made(totals) == {"f": (3, 1)}
    assert [file.name for file in family.directory.glob("*.segment")] == ["other.segment"]


def test_the_prefix_is_part_of_the_name(family: Family) -> None:
    """A prefix with the pid keeps processes apart, before and after their death."""
    one = family.process((0, 3))
    other = family.process((0, 6), dies=False)
    totals = family.totals("x.{program}.{pid}")
    expected = {f"x.a_program.{one}.f": (3, 1), f"x.a_program.{other}.f": (6, 2)}

    totals.read()
    assert made(totals) == expected
    totals.retire(family.alive)
    assert made(totals) == expected
    assert made(family.totals("x.{program}.{pid}")) == {f"x.a_program.{one}.f": (3, 1)}


def test_a_process_that_executes_another_program_leaves_its_old_segment(family: Family) -> None:
    """Of two segments of one living process the older one is retired, the younger one read on."""
    family.process((0, 3), (0, 6), dies=False)
    totals = family.totals()
    totals.read()

    assert totals.retire(family.alive) == {"f"}
    assert made(totals) == {"f": (9, 3)}
    assert len(list(family.directory.glob("*.segment"))) == 1
