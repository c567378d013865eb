"""Buckets: the functions in C do what those in Python do, and these are right."""

from __future__ import annotations

import random
import sys
from array import array
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import Recording

from tach import buckets, layout, pure_buckets
from tach.histogram import Histogram, bucket_of
from tach.pure_buckets import LANES, LAST, pack, unpack
from tach.sender.segments import ALL_BLOCKS

try:
    from tach import _buckets
except ImportError:
    pytest.skip("tach has not been compiled here", allow_module_level=True)

BOTH = pytest.mark.parametrize("module", [pure_buckets, _buckets], ids=["python", "c"])
COUNTS = st.dictionaries(st.integers(7 * LANES, LAST), st.integers(1, 1 << 40), max_size=40)
BUCKETS = st.builds(pack, COUNTS)
FRACTIONS = st.lists(st.floats(0, 1), max_size=20).map(sorted).map(tuple)
EXTREMES = st.integers(-(1 << 60), 1 << 60)
NOTHING = (1 << 64) - 1


def test_the_layout_is_the_one_that_python_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the C file says of segments is what tach/layout.py says, so that it is used."""
    monkeypatch.delenv("TACH_PURE", raising=False)
    assert {name: getattr(layout, name) for name in _buckets.LAYOUT} == _buckets.LAYOUT
    assert buckets.implementation() is _buckets


def test_python_does_it_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """TACH_PURE=1 and what is left of another version of tach leave it to Python."""
    monkeypatch.delenv("TACH_PURE", raising=False)
    monkeypatch.setitem(_buckets.LAYOUT, "E_SUM", 99)
    assert buckets.implementation() is pure_buckets
    monkeypatch.undo()
    monkeypatch.setenv("TACH_PURE", "1")
    assert buckets.implementation() is pure_buckets


@given(st.lists(BUCKETS, max_size=4))
def test_both_add_alike(several: list[bytes]) -> None:
    """The sum of buckets has the sum of their counts, in order, and no zeros."""
    found = _buckets.added(several)
    every = [unpack(each) for each in several]
    expected = {n: sum(each.get(n, 0) for each in every) for each in every for n in each}

    assert found == pure_buckets.added(several) == pack(expected)
    assert _buckets.count(found) == pure_buckets.count(found) == sum(expected.values())


@given(BUCKETS, BUCKETS)
def test_both_subtract_alike(before: bytes, new: bytes) -> None:
    """What came on top is what was added; of what became less nothing is told."""
    now = pure_buckets.added((before, new))

    assert _buckets.difference(now, before) == pure_buckets.difference(now, before) == new
    assert _buckets.difference(before, new) == pure_buckets.difference(before, new)


@given(BUCKETS, EXTREMES, st.none() | EXTREMES, st.sampled_from([1, 1e6, 3.5]), FRACTIONS)
def test_both_find_the_same_quantiles(
    some: bytes, least: int, greatest: int | None, units: float, fractions: tuple[float, ...]
) -> None:
    """The floats are the very same, whatever is known of the least and the greatest."""
    question = some, least, greatest, units, fractions

    assert _buckets.quantiles(*question) == pure_buckets.quantiles(*question)
    ends = tuple(f"|{number}" for number in range(len(fractions)))
    written = pure_buckets.lines(*question, "a:", ends)
    assert _buckets.lines(*question, "a:", ends) == written


@pytest.mark.parametrize("seed", range(5))
def test_both_write_numbers_alike(seed: int) -> None:
    """Every number is rounded as Python rounds it, also halves and those of many digits."""
    source = random.Random(seed)
    for _ in range(2000):
        number = source.randrange(1 << source.randrange(1, 62))
        units = source.choice([1, 2, 1e6, 1e6 * source.randrange(1, 99), source.uniform(0.01, 1e9)])
        some = pack({bucket_of(number)[0] * LANES + bucket_of(number)[1]: 1})
        fraction = source.choice([0.0, 0.5, 1.0, source.random()])
        question = some, min(number, (1 << 62) - 1), (1 << 62) - 1, units, (fraction,), "", ("",)
        assert _buckets.lines(*question) == pure_buckets.lines(*question)


@pytest.mark.parametrize("most", [1 << 70, 1 << 62, -(1 << 64)])
def test_numbers_beyond_those_of_c(most: int) -> None:
    """What C has no numbers for is left to Python."""
    counted = Histogram(pack({LAST: 3}), low=-(1 << 62), high=most)

    assert counted.quantiles([0.5, 1.0])[1] == most
    assert counted.lines((1.0,), "a:", ("|ms",)) == f"a:{max(most, 0)}.000000|ms"


@BOTH
def test_what_are_no_buckets_is_refused(module: ModuleType) -> None:
    """A piece of buckets, and a bucket beyond the last, raise something; nothing is read."""
    for wrong in (b"x", bytes(8), array("Q", [LAST + 1, 1]).tobytes()):
        with pytest.raises((TypeError, ValueError)):
            module.added((wrong,))
    assert module.added(()) == module.difference(b"", b"") == b""


class Segments:
    """Some bytes with the entries and blocks of `series` series, at random; their places."""

    def __init__(self, source: random.Random, processes: int, series: int) -> None:
        self.source = source
        self.views: list[memoryview] = []
        self.offsets = [array("Q") for _ in range(processes)]
        self.places = [array("Q") for _ in range(series)]
        for process in range(processes):
            cells = iter(source.sample(range(1, 1 + 8 * series), 8 * series))
            self.views.append(memoryview(bytearray(layout.CELL_BYTES * (1 + 8 * series))))
            for number in range(series):
                offset = next(cells) * layout.CELL_BYTES
                self._add_entry(process, offset, [next(cells) for _ in range(6)])
                self.places[number].extend((process, offset))

    def _add_entry(self, process: int, offset: int, cells: list[int]) -> None:
        words = self.words(process, offset)
        words[layout.E_MIN] = NOTHING
        self.offsets[process].append(offset)
        chosen = self.source.sample(range(layout.LOWEST_BLOCK, layout.BLOCKS), len(cells))
        for block, cell in zip(chosen, cells, strict=True):
            words[layout.E_BLOCKS + block] = cell * layout.CELL_BYTES

    def words(self, process: int, offset: int) -> memoryview:
        """The words of a cell."""
        return self.views[process][offset : offset + layout.CELL_BYTES].cast("Q")

    def call(self, number: int) -> int:
        """Count a call of that series in one of the processes; how long it took."""
        places = self.places[number]
        place = 2 * self.source.randrange(len(places) // 2)
        words = self.words(places[place], places[place + 1])
        blocks = [n for n in range(layout.BLOCKS) if words[layout.E_BLOCKS + n]]
        block = self.source.choice(blocks)
        least = 0 if block == layout.LOWEST_BLOCK else 1 << (block - 1)
        elapsed = self.source.randrange(least, 1 << block)
        words[layout.E_MIN] = min(words[layout.E_MIN], elapsed)
        words[layout.E_MAX] = max(words[layout.E_MAX], elapsed)
        lanes = self.words(places[place], words[layout.E_BLOCKS + block])
        lanes[bucket_of(elapsed)[1]] += 1
        words[layout.E_SUM] += elapsed
        words[layout.E_PEAK] += self.source.randrange(2)
        words[layout.E_ERRORS + self.source.randrange(3)] += self.source.randrange(2)
        return elapsed


@pytest.mark.parametrize("seed", range(20))
def test_both_read_segments_alike(seed: int) -> None:
    """Entries read again only in the blocks that may have changed are as if read whole.

    After any calls in any of the processes, and both ways the same; the totals are those of the
    calls.
    """
    source = random.Random(seed)
    segments = Segments(source, processes=3, series=5)
    owners = array("Q", range(5))
    seen = {m: [bytearray(5 * buckets.CHANGING) for _ in range(3)] for m in (0, 1)}
    known = [b""] * 5
    made: list[list[int]] = [[] for _ in range(5)]
    for _ in range(40):
        for number in source.choices(range(5), k=source.choice([0, 1, 1, 2, 5])):
            made[number].append(segments.call(number))
        news = look(segments, owners, seen)
        for number, blocks in enumerate(news):
            question = segments.views, segments.places[number], blocks, known[number]
            found = _buckets.added_up(*question)
            assert found == pure_buckets.added_up(*question)
            whole = _buckets.added_up(segments.views, segments.places[number], ALL_BLOCKS, b"")
            assert found == whole
            known[number] = found[0]
            assert found[0] == Histogram.of(made[number]).pairs
            assert found[1] == sum(made[number])
            assert found[2:4] == (min(made[number], default=NOTHING), max(made[number], default=-1))


def look(segments: Segments, owners: array[int], seen: Any) -> array[int]:
    """What has changed, as both say."""
    words = [(view, bytes(view)) for view in segments.views]
    answers = []
    for which, module in enumerate((pure_buckets, _buckets)):
        for view, before in words:
            view[:] = before
        news = array("Q", bytes(5 * layout.WORD))
        peaks = [
            module.changed(view, offsets, owners, known, news)
            for view, offsets, known in zip(
                segments.views, segments.offsets, seen[which], strict=True
            )
        ]
        answers.append((news, peaks, [bytes(view) for view in segments.views]))
    assert answers[0] == answers[1]
    assert seen[0] == seen[1]
    return answers[0][0]


@BOTH
@pytest.mark.parametrize(
    ("before", "after", "blocks"),
    [
        ([], [200], [8]),
        ([150], [200], [8]),  # two calls would have taken 300 at the least
        ([150], [150, 150], [7, 8, 9]),
        ([150], [299], [9]),
        ([150], [300], [7, 8, 9]),  # one, or two of 150
        ([0, 200], [0], []),  # a call of no time shows in no sum
        ([0, 200], [200], [7, 8]),
        ([1000], [1 << 60], [*range(7, 56)]),
        ([1 << 59], [1 << 59], [55]),
    ],
)
def test_which_blocks_may_have_changed(
    module: ModuleType, before: list[int], after: list[int], blocks: list[int]
) -> None:
    """Those of all durations that there may have been; of one that was alone its own."""
    words = memoryview(bytearray(layout.CELL_BYTES)).cast("Q")
    words[layout.E_MIN] = NOTHING
    seen, news = bytearray(buckets.CHANGING), array("Q", [0])
    for calls in (before, after):
        for elapsed in calls:
            words[layout.E_SUM] += elapsed
            words[layout.E_MIN] = min(words[layout.E_MIN], elapsed)
        news[0] = 0
        module.changed(words.cast("B"), array("Q", [0]), array("Q", [0]), seen, news)

    assert [block for block in range(1, layout.BLOCKS) if news[0] >> block & 1] == blocks


@BOTH
def test_entries_that_run_are_news_each_time(module: ModuleType) -> None:
    """A call that has not ended is news, and its peak is told once; what nobody owns is not."""
    words = memoryview(bytearray(layout.CELL_BYTES)).cast("Q")
    words[layout.E_MIN], words[layout.E_ACTIVE], words[layout.E_PEAK] = NOTHING, 1, 3
    seen, news = bytearray(buckets.CHANGING), array("Q", [0])
    question = words.cast("B"), array("Q", [0])
    for peak in (3, 1, 1):
        news[0] = 0
        assert module.changed(*question, array("Q", [0]), seen, news) == [(0, peak)]
        assert news[0] == 1
    words[layout.E_ACTIVE] = words[layout.E_PEAK] = news[0] = 0
    assert module.changed(*question, array("Q", [NOTHING]), seen, news) == []
    assert news[0] == 0
    assert module.active([words.cast("B")], array("Q", [0, 0])) == 0


@BOTH
def test_a_block_beyond_the_end_is_passed_over(module: ModuleType) -> None:
    """What leads out of a damaged segment is not followed; to an entry it is an error."""
    words = memoryview(bytearray(2 * layout.CELL_BYTES)).cast("Q")
    view = words.cast("B")
    words[layout.E_MIN], words[layout.CELL_WORDS + 5] = 1, 4
    for block, offset in ((8, 4096), (9, 1 << 63), (10, 1025), (11, layout.CELL_BYTES)):
        words[layout.E_BLOCKS + block] = offset
    found = module.added_up([view], array("Q", [0, 0]), ALL_BLOCKS, b"")

    assert unpack(found[0]) == {11 * LANES + 5: 4}
    for places in ([0, 4096], [0, 1 << 63], [0, 12], [1, 0]):
        with pytest.raises(IndexError):
            module.added_up([view], array("Q", places), ALL_BLOCKS, b"")
        with pytest.raises(IndexError):
            module.active([view], array("Q", places))
    with pytest.raises(IndexError):
        module.changed(view, array("Q", [4096]), array("Q", [0]), bytearray(64), array("Q", [0]))


@BOTH
def test_what_a_process_wrote(module: ModuleType, tmp_path: Path) -> None:
    """The entry of a probe's calls is read as the calls were."""
    recording = Recording(tmp_path)
    recorder = recording.recorder()
    durations = [0, 1, 127, 128, 5_000, 10**6, 1 << 54, 1 << 58]
    for each in durations:
        recorder.count(each)
    (file,) = tmp_path.glob("*.segment")
    view = memoryview(file.read_bytes())
    first = int.from_bytes(view[layout.H_FIRST * 8 :][:8], sys.byteorder)
    found = module.added_up([view], array("Q", [0, first]), ALL_BLOCKS, b"")

    assert found[0] == Histogram.of(durations).pairs
    assert found[1:4] == (sum(durations), 0, 1 << 58)
