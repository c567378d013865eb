"""The totals of every series of the run: those of living processes, and of all that died."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable

from tach import layout, names
from tach.plan import Plan
from tach.rundir import Run
from tach.sender.counts import NOTHING, Counts, from_plain
from tach.sender.log import RecordLog
from tach.sender.processes import start_ticks_of
from tach.sender.segments import NotASegment, SegmentReader, Series
from tach.sender.slots import ProcessKey, Slots

log = logging.getLogger("tach.sender")


class Total:
    """One series over all processes. `retired` is what dead processes left, by slot."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.retired: dict[int | None, Counts] = {}
        self.living: list[tuple[SegmentReader, Series]] = []

    def counts(self) -> Counts:
        """What all processes together have counted up to now."""
        counts = NOTHING
        for each in self.retired.values():
            counts = counts.plus(each)
        for reader, series in self.living:
            counts = counts.plus(reader.counts(series))
        return counts

    def counts_by_slot(self) -> dict[int | None, Counts]:
        """The same, each slot's processes apart."""
        by_slot: dict[int | None, Counts] = {**self.retired}
        for reader, series in self.living:
            before = by_slot.get(reader.slot, NOTHING)
            by_slot[reader.slot] = before.plus(reader.counts(series))
        return by_slot

    def retire(self, slot: int, last: Counts) -> None:
        """Add what a process left that had this slot."""
        self.retired[slot] = self.retired.get(slot, NOTHING).plus(last)


class Totals:
    """Reads the segments of a run. Not thread-safe: the caller holds a lock."""

    def __init__(self, run: Run, plan: Plan) -> None:
        self._run = run
        self._plan = plan
        self._log = RecordLog(os.path.join(run.directory, "retired.log"))
        self._slots = Slots(os.path.join(run.directory, "slots.log"))
        self._readers: dict[str, SegmentReader] = {}
        self.series: dict[str, Total] = {}
        self._recall()

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
        changed = set()
        for reader in self._readers.values():
            self._take_up(reader)
            for series in reader.series:
                if series.name and series.changed():
                    changed.add(series.name)
        return changed

    def retire(self, alive: Callable[[ProcessKey], bool]) -> set[str]:
        """Fold in the segments whose process is no more, and remove them; the series in them."""
        retired: set[str] = set()
        files = self._segment_files()
        newest = {_process_of(name): name for name in files}  # sorted by age within a process
        for name in files:
            key = _process_of(name)
            # A process makes its segment before it says that it is there; and one that executed
            # another program has begun another segment.
            gone = not alive(key) and start_ticks_of(key[0]) != key[1]
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
                self._readers[name] = reader
        except FileNotFoundError:
            pass
        except (OSError, NotASegment) as error:
            log.debug("cannot read %s yet: %s", name, error)

    def _take_up(self, reader: SegmentReader) -> None:
        for series in self._find_new(reader):
            if series.target >= len(self._plan.targets):
                log.warning("%s speaks of target %d", reader.path, series.target)
                continue
            series.name = self.prefix(reader.pid) + self._plan.targets[series.target].name
            total = self.series.setdefault(series.name, Total(series.target))
            total.living.append((reader, series))

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
            last = {each.name: reader.counts(each) for each in reader.series if each.name}
            plain = [
                (key, self.series[key].target, reader.slot, counts.to_plain())
                for key, counts in last.items()
            ]
            self._log.append((name, plain))
            del self._readers[name]
            for key, counts in last.items():
                total = self.series[key]
                total.living = [each for each in total.living if each[0] is not reader]
                total.retire(reader.slot, counts)
            reader.close()
            self._slots.release(_process_of(name))
        os.unlink(os.path.join(self._run.directory, name))
        return set(last)

    def _recall(self) -> None:
        """What a sender before this one had retired."""
        for name, last in self._log.read():
            for key, target, slot, plain in last:
                total = self.series.setdefault(key, Total(target))
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


def _is_segment_name(name: str) -> bool:
    parts = name.removesuffix(layout.SEGMENT_SUFFIX).split("-")
    return len(parts) == 3 and parts[0].isdigit() and parts[1].isdigit() and _is_hex(parts[2])


def _is_hex(text: str) -> bool:
    return bool(text) and all(character in "0123456789abcdef" for character in text)


def _process_of(name: str) -> ProcessKey:
    pid, start = name.split("-")[:2]
    return int(pid), int(start)
