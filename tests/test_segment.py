"""What a process writes into its segment is what the sender reads there."""

from __future__ import annotations

import gc
import math
import mmap
import os
import random
import threading
from array import array
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from recording import Recording, calls

from tach import layout
from tach.agent.files import SegmentFile
from tach.agent.segment import Segment
from tach.sender.segments import NotASegment, SegmentReader


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """A segment of this test's own."""
    return Recording(tmp_path)


def read_all(reader: SegmentReader) -> int:
    """Read all that the segment holds; the calls that it tells of."""
    return sum(calls(reader.counts(series)) for series in reader.find_new())


def only_file(directory: Path) -> Path:
    """The one segment file."""
    (file,) = directory.glob("*.segment")
    return file


def open_reader(directory: Path) -> SegmentReader:
    """A reader of the one segment."""
    return SegmentReader(str(only_file(directory)))


def news(reader: SegmentReader) -> bool:
    """Whether anything of series number 0 has changed since the last time."""
    marks = array("Q", [0])
    reader.changed(marks)
    return marks != array("Q", [0])


def test_nothing_is_made_before_the_first_call(recording: Recording) -> None:
    """A probe that nobody calls makes no file; the first call makes one, for its owner alone."""
    probe = recording.probe(lambda: 1)

    assert list(recording.directory.iterdir()) == []
    probe()
    assert only_file(recording.directory).stat().st_mode & 0o777 == 0o600


def test_the_header_names_the_process(recording: Recording) -> None:
    """Magic, version, pid, start and program are in the header, and the pid in the file's name."""
    recording.probe(lambda: 1)()
    file = only_file(recording.directory)
    header = memoryview(file.read_bytes()[: layout.HEADER_BYTES]).cast("Q")
    length = header[layout.H_PROGRAM_BYTES]

    assert header[layout.H_MAGIC] == layout.MAGIC
    assert header[layout.H_VERSION] == layout.VERSION
    assert header[layout.H_PID] == os.getpid() == open_reader(recording.directory).pid
    assert header[layout.H_START_TICKS] == 1234
    assert header[layout.H_PROGRAM :].tobytes()[:length] == b"a program"
    assert file.name.startswith(f"{os.getpid()}-1234-")


@pytest.mark.parametrize("program", ["", "x" * 1000, "ж" * 128, "x" + "ж" * 200, "\udcff"])
def test_the_program_is_cut_to_its_place(program: str, tmp_path: Path) -> None:
    """A program name of any length and kind leaves the rest of the segment as it is."""
    segment = Segment(SegmentFile(str(tmp_path), 1), program)
    segment.entry(layout.KIND_CALLS, 7)

    assert [each.target for each in open_reader(tmp_path).find_new()] == [7]


def test_a_thousand_series_are_read_as_they_were_written(recording: Recording) -> None:
    """Beyond the first mapping too, every series, block and error class is found by the reader."""
    generator = random.Random(3)
    written = []

    def function(error: str) -> None:
        if error:
            raise type(error, (Exception,), {})

    for target in range(1000):
        errors = [generator.choice(["", "", "One", "Two"]) for _ in range(5)]
        probe = recording.probe(function, target)
        for error in errors:
            with suppress(Exception):
                probe(error)
        written.append({name: errors.count(name) for name in {*errors} - {""}})

    reader = open_reader(recording.directory)
    found = {series.target: reader.counts(series) for series in reader.find_new()}
    assert sorted(found) == list(range(1000))
    assert [found[target].errors_by_type for target in range(1000)] == written
    assert {calls(counts) for counts in found.values()} == {5}
    assert only_file(recording.directory).stat().st_size > 3 * layout.FIRST_REGION_BYTES
    assert recording.troubles == []


def test_a_reader_follows_the_writer(recording: Recording) -> None:
    """A reader that is open all along sees new calls, series, blocks and error classes."""
    recording.probe(lambda: 1, 0)()
    reader = open_reader(recording.directory)
    (first,) = reader.find_new()
    first.owner = 0

    assert reader.find_new() == []
    assert (news(reader), news(reader)) == (True, False)
    for target in range(1, 1500):
        recording.probe(lambda: 1, target)()
    new = reader.find_new()
    assert [each.target for each in new] == list(range(1, 1500))
    assert {calls(reader.counts(each)) for each in new} == {1}
    assert calls(reader.counts(first)) == 1


def test_reading_while_threads_write(recording: Recording) -> None:
    """No snapshot taken during the writing goes back behind another, and the last one is exact."""

    def function(number: int) -> None:
        if number % 3 == 0:
            raise type(f"Error{number % 7}", (Exception,), {})

    probes = [recording.probe(function, target) for target in range(40)]
    probes[0](1)

    def write(seed: int) -> None:
        order = random.Random(seed)
        for _ in range(40):
            for number, probe in enumerate(order.sample(probes, len(probes))):
                with suppress(Exception):
                    probe(number)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    reader = open_reader(recording.directory)
    last: dict[int, int] = {}
    while any(thread.is_alive() for thread in threads):
        reader.find_new()
        now = {series.target: reader.counts(series) for series in reader.series}
        assert all(calls(counts) >= last.get(target, 0) for target, counts in now.items())
        assert all(counts.low <= counts.high for counts in now.values() if counts.pairs)
        last = {target: calls(counts) for target, counts in now.items()}

    assert sum(recording.calls(target) for target in range(40)) == 4 * 40 * 40 + 1


def test_threads_that_grow_the_segment_at_once(tmp_path: Path) -> None:
    """Cells that several threads take at the same time, over several mappings, are all apart."""
    segment = Segment(SegmentFile(str(tmp_path), 1), "program")
    offsets: list[list[int]] = [[] for _ in range(4)]
    barrier = threading.Barrier(4)

    def grow(number: int) -> None:
        barrier.wait()
        for step in range(700):
            words, offset = segment.entry(layout.KIND_CALLS, number * 700 + step)
            block, other = segment.block()
            words[layout.E_SUM] = block[0] = offset
            offsets[number] += [offset, other]

    threads = [threading.Thread(target=grow, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    every = [offset for each in offsets for offset in each]
    reader = open_reader(tmp_path)
    found = {series.target: reader.words(series.entries[0]) for series in reader.find_new()}
    assert len({*every}) == len(every) == 5600
    assert sorted(found) == list(range(2800))
    assert {words[layout.E_SUM] for words in found.values()} == {
        offset for each in offsets for offset in each[::2]
    }


def test_two_entries_of_one_target_are_one_series(tmp_path: Path) -> None:
    """Where two threads made the first call, the sender adds up what both entries hold."""
    segment = Segment(SegmentFile(str(tmp_path), 1), "program")
    used, parent = segment.entry(layout.KIND_CALLS, 3)
    class_of_used, _ = segment.entry(layout.KIND_ERROR_CLASS, 3, parent, "ValueError")
    segment.entry(layout.KIND_ERROR_CLASS, 3, parent, "ValueError")
    segment.entry(layout.KIND_CALLS, 3)
    used[layout.E_ERRORS] = class_of_used[layout.E_COUNT] = 4

    reader = open_reader(tmp_path)
    (series,) = reader.find_new()
    counts = reader.counts(series)
    assert (counts.errors, counts.errors_by_type) == (4, {"ValueError": 4})
    series.owner = 0
    assert news(reader)


@pytest.mark.parametrize("name", ["Fehler", "Ошибка", "E" * 500, "Ж" * 150])
def test_names_of_error_classes_are_cut_to_their_place(name: str, recording: Recording) -> None:
    """A class name of any length or script is told, as far as it has room."""

    def function() -> None:
        raise type(name, (Exception,), {})

    with suppress(Exception):
        recording.probe(function)()

    ((told, count),) = recording.counts().errors_by_type.items()
    assert count == 1
    assert name.startswith(told.rstrip("\N{REPLACEMENT CHARACTER}"))
    assert len(told.encode()) >= min(len(name.encode()), layout.E_NAME_LIMIT - 3)


def garbage(size: int) -> bytes:
    """Bytes of no meaning."""
    return random.Random(size).randbytes(size)


FILES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "one byte": lambda _: b"x",
    "half a header": lambda good: good[: layout.HEADER_BYTES // 2],
    "zeros": lambda _: bytes(1 << 16),
    "garbage": lambda _: garbage(1 << 16),
    "text": lambda _: b"text\n" * 5000,
    "another version": lambda good: good[:8] + b"\xff" * 8 + good[16:],
}


@pytest.mark.parametrize("kind", FILES)
def test_what_is_no_segment_is_refused(kind: str, recording: Recording, tmp_path: Path) -> None:
    """A file of another kind, or one that is not ready yet, is refused, and not kept open."""
    recording.probe(lambda: 1)()
    file = tmp_path / "file"
    file.write_bytes(FILES[kind](only_file(recording.directory).read_bytes()))
    before = len(os.listdir("/proc/self/fd"))

    with pytest.raises(NotASegment):
        SegmentReader(str(file))

    assert len(os.listdir("/proc/self/fd")) == before


DAMAGE: dict[str, Callable[[memoryview, int], None]] = {
    "first outside": lambda words, first: words.__setitem__(layout.H_FIRST, 1 << 60),
    "first askew": lambda words, first: words.__setitem__(layout.H_FIRST, 4099),
    "next outside": lambda words, first: words.__setitem__(first + layout.E_NEXT, 1 << 63),
    "a circle": lambda words, first: words.__setitem__(first + layout.E_NEXT, first * layout.WORD),
    "garbage": lambda words, first: (
        words.cast("B")
        .__getitem__(slice(first * 8, first * 8 + 1024))
        .__setitem__(slice(None), garbage(1024))
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_segment_is_refused(kind: str, recording: Recording, tmp_path: Path) -> None:
    """A segment whose content leads nowhere, or round in a circle, is refused when it is read."""
    for target in range(3):
        recording.probe(lambda: 1, target)()
    data = bytearray(only_file(recording.directory).read_bytes())
    words = memoryview(data).cast("Q")
    DAMAGE[kind](words, words[layout.H_FIRST] // layout.WORD)
    file = tmp_path / "damaged"
    file.write_bytes(data)
    reader = SegmentReader(str(file))

    with pytest.raises(NotASegment):
        read_all(reader)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_counts_nothing(number: float, recording: Recording) -> None:
    """Damage where the sum of some numbers was costs that sum, not the reading."""
    recorder = recording.recorder()
    recorder.count(5)
    recorder.numbers("value").add(7)
    with only_file(recording.directory).open("r+b") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0))
    words, doubles = data.cast("Q"), data.cast("B").cast("d")
    entry = words[layout.H_FIRST] // layout.WORD
    assert words[entry + layout.E_KIND] == layout.KIND_NUMBER
    doubles[entry + layout.E_SUM] = number

    reader = open_reader(recording.directory)
    (series,) = reader.find_new()
    assert reader.counts(series).quantities["value"].total == 0
    assert calls(reader.counts(series)) == 1


def test_a_segment_cut_short_is_refused(recording: Recording, tmp_path: Path) -> None:
    """Of a segment that lacks its end, what is there is refused, not made up."""
    for target in range(40):
        recording.probe(lambda: 1, target)()
    data = only_file(recording.directory).read_bytes()
    file = tmp_path / "short"
    file.write_bytes(data[: layout.HEADER_BYTES + layout.EXTENT_BYTES])
    reader = SegmentReader(str(file))

    with pytest.raises(NotASegment):
        read_all(reader)


def test_after_a_fork_the_child_has_its_own_segment(recording: Recording) -> None:
    """What follows a fork goes to a new file, the file before it is left as it is and let go."""
    probe = recording.probe(lambda: 1)
    probe()
    before = only_file(recording.directory)
    content = before.read_bytes()
    gc.collect()  # what tests before this one have left
    open_files = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        recording.after_fork()
        probe()
        probe()

    assert before.read_bytes() == content
    assert len(list(recording.directory.glob("*.segment"))) == 6
    assert recording.calls() == 11
    # what older versions of mmap keep is one for each mapping, and goes with it
    assert len(os.listdir("/proc/self/fd")) == open_files


def test_a_program_that_closes_everything_goes_on_being_measured(recording: Recording) -> None:
    """Daemons close all files that they find open: the segment is opened again where needed."""
    probe = recording.probe(lambda: 1)
    probe()
    path = str(only_file(recording.directory))
    for number in os.listdir("/proc/self/fd"):
        if os.path.realpath(f"/proc/self/fd/{number}") == path:
            os.close(int(number))
    mine = os.open(os.devnull, os.O_RDONLY)
    for target in range(1, 1200):
        recording.probe(lambda: 1, target)()

    os.close(mine)
    assert recording.calls(1199) == 1
    assert recording.troubles == []
