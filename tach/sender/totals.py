"""The totals of every series of the run: those of living processes, and of all that died."""

from __future__ import annotations

import logging
import os
import socket
from array import array
from collections import Counter
from collections.abc import Callable

from tach import buckets, layout, names
from tach.names import other_name
from tach.plan import Plan
from tach.rundir import Run
from tach.samples import Running
from tach.sender.counts import NOTHING, Counts, added, from_plain, merged, together
from tach.sender.log import RecordLog
from tach.sender.processes import lives
from tach.sender.segments import ALL_BLOCKS, NOBODY, NotASegment, SegmentReader, Series
from tach.sender.slots import ProcessKey, Slots

log = logging.getLogger("tach.sender")

RETIRED = "retired.log"


class Total:
    """One series over all processes. `retired` is what dead processes left, by slot (None: by any).

    `segments` are the bytes of all of them, each at its reader's `place`.
    """

    __slots__ = (
        *("_divided", "_pairs", "_places", "living", "name", "number", "retired", "segments"),
        *("ran", "stale", "target"),
    )

    def __init__(self, number: int, name: str, target: int, segments: list[memoryview]) -> None:
        self.number = number
        self.name = name
        self.target = target
        self.segments = segments
        self.retired: dict[int | None, Counts] = {}
        self.living: list[tuple[SegmentReader, Series]] = []
        self._places = array("Q")  # of all living entries: the segment's and theirs in it
        self._divided: list[tuple[SegmentReader, Series]] = []  # with error classes or quantities
        self._pairs = b""  # what the living had counted
        self.stale = 0  # in which blocks that is not all, a bit each
        self.ran = False  # whether it has been told of calls that run

    def counts(self) -> Counts:
        """What all processes together had counted when they were last looked at, or later."""
        living = self._living()
        return together([*self.retired.values(), living]) if self.retired else living

    def _living(self) -> Counts:
        found = buckets.added_up(self.segments, self._places, self.stale, self._pairs)
        self._pairs, self.stale = found[0], 0
        if not self._divided:
            return Counts(*found, {})
        errors_by_type: dict[str, int] = {}
        quantities: dict[str, Counts] = {}
        for reader, series in self._divided:
            errors_by_type = merged(errors_by_type, reader.errors_by_type(series))
            quantities = added(quantities, reader.quantities(series))
        return Counts(*found, errors_by_type, quantities=quantities)

    def counts_by_slot(self) -> dict[int | None, Counts]:
        """The same, each slot's processes apart; without those that died when nobody asked so."""
        by_slot: dict[int | None, Counts] = {**self.retired}
        by_slot.pop(None, None)
        for reader, series in self.living:
            before = by_slot.get(reader.slot, NOTHING)
            by_slot[reader.slot] = before.plus(reader.counts(series))
        return by_slot

    def running(self, now: int) -> dict[int | None, Running]:
        """The calls that run at `now` (monotonic nanoseconds), each slot's processes apart."""
        by_slot: dict[int | None, Running] = {}
        if not self.ran or not buckets.active(self.segments, self._places):
            return by_slot
        for reader, series in self.living:
            before = by_slot.get(reader.slot, Running())
            by_slot[reader.slot] = before.plus(reader.running(series, now))
        return by_slot

    def live(self, reader: SegmentReader, series: Series) -> None:
        """Count with a series of a living process."""
        self.living.append((reader, series))
        self._note_places(reader, series)

    def note_places(self) -> None:
        """Count with all that the entries of the living are by now."""
        self._places, self._divided = array("Q"), []
        self.stale = ALL_BLOCKS
        for each in self.living:
            self._note_places(*each)

    def _note_places(self, reader: SegmentReader, series: Series) -> None:
        for offset in series.entries:
            self._places.extend((reader.place, offset))
        if series.error_classes or series.quantities:
            self._divided.append((reader, series))
        self.stale = ALL_BLOCKS

    def retire(self, slot: int | None, last: Counts) -> None:
        """Add what a process left that had this slot."""
        self.retired[slot] = self.retired.get(slot, NOTHING).plus(last)

    def forget_slots(self) -> None:
        """Keep what dead processes left no more by slot: there may be hundreds of them."""
        if self.retired:
            self.retired = {None: together(list(self.retired.values()))}

    def leave(self, reader: SegmentReader) -> None:
        """Count no more with what that process has."""
        self.living = [each for each in self.living if each[0] is not reader]
        self.note_places()


class Totals:
    """Reads the segments of a run. Not thread-safe: the caller holds a lock."""

    def __init__(self, run: Run, plan: Plan) -> None:
        self._run = run
        self._plan = plan
        self._log = RecordLog(os.path.join(run.directory, RETIRED))
        self._slots = Slots(os.path.join(run.directory, "slots.log"))
        self._readers: dict[str, SegmentReader] = {}
        self._segments: list[memoryview] = []
        self.series: dict[str, Total] = {}
        self._numbered: list[Total] = []  # the same
        self._news = array("Q")  # of each of them, see `SegmentReader.changed`
        self._named: Counter[int] = Counter()  # series of a target that has several
        self._peaks: dict[str, dict[int, int]] = {}
        self._apart = True
        self._recall()
        self.follow(plan)

    def follow(self, plan: Plan) -> None:
        """The plan is this one from now on: series of a target that is gone may be another's."""
        self._plan = plan
        living = {each.name: index for index, each in enumerate(plan.targets) if not each.gone}
        for total in self.series.values():
            target = plan.targets[total.target]
            heir = living.get(target.name) if target.gone else None
            if heir is not None:
                self._named[total.target] -= 1
                self._named[heir] += 1
                total.target = heir

    def keep_apart(self, apart: bool) -> None:
        """Whether somebody wants to know what the processes of each slot have counted."""
        self._apart = apart
        if not apart:
            for total in self.series.values():
                total.forget_slots()

    def tell_news(self) -> None:
        """Let all processes look at the plan, which has been changed."""
        for reader in self._readers.values():
            reader.tell_news()

    def prefix(self, pid: int) -> str:
        """The prefix of the names of that process's series, with its dot."""
        template = self._plan.prefix
        if not template:
            return ""
        fields = {
            "host": names.sanitise(socket.gethostname().replace(".", "_")),
            "program": names.sanitise(self._run.program.replace(".", "_")),
            "pid": str(pid),
        }
        return names.sanitise(template.format(**fields)) + "."

    def read(self) -> set[str]:
        """Take up new segments and series; the names of those that changed since the last read."""
        for name in self._segment_files():
            if name not in self._readers:
                self._open(name)
        for reader in self._readers.values():
            self._take_up(reader)
            self._look(reader)
        return {total.name for total in self._take_news()}

    def _look(self, reader: SegmentReader) -> None:
        """Note what has changed in a segment."""
        for number, peak in reader.changed(self._news).items():
            if number == NOBODY:
                continue
            total = self._numbered[number]
            total.ran = True
            of_slots = self._peaks.setdefault(total.name, {})
            of_slots[reader.slot] = max(peak, of_slots.get(reader.slot, 0))
        reader.follow_growth()  # now: what counts may lie beyond
        self._segments[reader.place] = reader.view

    def _take_news(self) -> list[Total]:
        """The series with news, which know of them then."""
        found = [total for total, news in zip(self._numbered, self._news, strict=True) if news]
        for total, news in zip(self._numbered, self._news, strict=True):
            total.stale |= news
        self._news = array("Q", bytes(len(self._news) * self._news.itemsize))
        return found

    def readers(self) -> list[SegmentReader]:
        """The segments of the processes that live."""
        return list(self._readers.values())

    def take_peaks(self) -> dict[str, dict[int, int]]:
        """The peaks of running calls since this was last asked: by series, then by slot."""
        peaks, self._peaks = self._peaks, {}
        return peaks

    def retire(self, alive: Callable[[ProcessKey], bool]) -> set[str]:
        """Fold in the segments whose process is no more, and remove them; the series in them."""
        retired: set[str] = set()
        files = self._segment_files()
        newest = {_process_of(name): name for name in files}  # sorted by age within a process
        for name in files:
            key = _process_of(name)
            # A process makes its segment before it says that it is there; and one that executed
            # another program has begun another segment.
            gone = not alive(key) and not lives(key)
            if gone or newest[key] != name:
                try:
                    retired.update(self._retire(name))
                except OSError as error:  # the disk is full, say: it stays as it is until later
                    log.warning("cannot fold in %s yet: %s", name, error)
        if self._log.crowded():
            self._compact()
        return retired

    def _segment_files(self) -> list[str]:
        found = [
            name
            for name in os.listdir(self._run.directory)
            if name.endswith(layout.SEGMENT_SUFFIX) and _is_segment_name(name)
        ]
        return sorted(found, key=lambda name: int(name[: name.index(".")].split("-")[2], 16))

    def _open(self, name: str) -> None:
        path = os.path.join(self._run.directory, name)
        try:
            # A file of no size is reserved by its process, but nothing is recorded yet.
            if os.stat(path).st_size:
                reader = SegmentReader(path)
                reader.slot = self._slots.take(_process_of(name))
                reader.place = self._place(reader.view)
                self._readers[name] = reader
                if self._run.generation:
                    reader.tell_news()  # it may have begun while the others were told
        except FileNotFoundError:
            pass
        except (OSError, NotASegment) as error:
            log.debug("cannot read %s yet: %s", name, error)

    def _place(self, view: memoryview) -> int:
        """The least place among the segments that is free, which this one takes."""
        free = next((place for place, each in enumerate(self._segments) if not each), None)
        if free is None:
            free = len(self._segments)
            self._segments.append(view)
        self._segments[free] = view
        return free

    def _take_up(self, reader: SegmentReader) -> None:
        for series in self._find_new(reader):
            if series.target >= len(self._plan.targets):
                log.warning("%s speaks of target %d", reader.path, series.target)
                continue
            if series.owner != NOBODY:  # there is more of it
                self._numbered[series.owner].note_places()
                self._news[series.owner] |= 1
                continue
            name = self._name_of(reader, series)
            total = self.series.get(name)
            if total is None:
                total = self._add(name, series.target)
            elif not self._plan.targets[series.target].gone:
                total.target = series.target
            series.owner = total.number
            total.live(reader, series)

    def _add(self, name: str, target: int) -> Total:
        total = Total(len(self._numbered), name, target, self._segments)
        self.series[name] = total
        self._numbered.append(total)
        self._news.append(0)
        self._named[target] += 1
        return total

    def _name_of(self, reader: SegmentReader, series: Series) -> str:
        """Its name in the run: that of its process, unless there are too many by now."""
        target = self._plan.targets[series.target]
        name = self.prefix(reader.pid) + (series.own_name or target.name)
        crowded = target.has_names and self._named[series.target] >= target.max_series
        if crowded and name not in self.series:
            return self.prefix(reader.pid) + other_name(target.template, target.name)
        return name

    def _find_new(self, reader: SegmentReader) -> list[Series]:
        if reader.damaged:
            return []
        try:
            return reader.find_new()
        except NotASegment as error:
            log.error("%s is damaged, its new series are lost: %s", reader.path, error)
            reader.damaged = True
            return []

    def _retire(self, name: str) -> set[str]:
        last: dict[str, Counts] = {}
        if name not in self._readers:
            self._open(name)
        reader = self._readers.get(name)
        if reader is not None:
            self._take_up(reader)
            self._look(reader)
            for each in reader.series:
                if each.owner != NOBODY:
                    key = self._numbered[each.owner].name
                    last[key] = last.get(key, NOTHING).plus(_last(reader, each))
            plain = [
                (key, self.series[key].target, reader.slot, counts.to_plain())
                for key, counts in last.items()
            ]
            self._log.append((name, plain))
            del self._readers[name]
            for key, counts in last.items():
                total = self.series[key]
                total.leave(reader)
                total.retire(reader.slot if self._apart else None, counts)
            self._segments[reader.place] = memoryview(b"")
            reader.close()
            self._slots.release(_process_of(name))
        os.unlink(os.path.join(self._run.directory, name))
        return set(last)

    def _recall(self) -> None:
        """What a sender before this one had retired."""
        for name, last in self._log.read():
            for key, target, slot, plain in last:
                total = self.series.get(key) or self._add(key, target)
                total.retire(slot, from_plain(plain))
            # It may have died between the record and the removal.
            if name and os.path.exists(os.path.join(self._run.directory, name)):
                os.unlink(os.path.join(self._run.directory, name))

    def _compact(self) -> None:
        retired = [
            (key, each.target, slot, counts.to_plain())
            for key, each in self.series.items()
            for slot, counts in each.retired.items()
        ]
        self._log.replace(("", retired))


def _last(reader: SegmentReader, series: Series) -> Counts:
    """What a process that has ended has counted: its calls that ran then ended with it."""
    counts = reader.counts(series)
    return counts._replace(aborted=counts.aborted + reader.running(series, 0).active)


def _is_segment_name(name: str) -> bool:
    parts = name.removesuffix(layout.SEGMENT_SUFFIX).split("-")
    return len(parts) == 3 and parts[0].isdigit() and parts[1].isdigit() and _is_hex(parts[2])


def _is_hex(text: str) -> bool:
    return bool(text) and all(character in "0123456789abcdef" for character in text)


def _process_of(name: str) -> ProcessKey:
    pid, start = name.split("-")[:2]
    return int(pid), int(start)
