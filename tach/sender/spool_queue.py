"""The events that wait for one notifier, in the order of each process, until they are confirmed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tach import spool
from tach.plan import SpoolPlan
from tach.sender import messages, spool_files
from tach.sender.doubts import Doubts
from tach.sender.drops import Drops
from tach.sender.log import RecordLog
from tach.sender.spool_files import GAP, Item, Record, SpoolFile
from tach.sender.usage import Usage

log = logging.getLogger("tach.sender")

WINDOW = 500  # events offered at once
LOCK = "lock"  # the file that whoever works on the spool has locked
STATE = "state"  # the file of what has been done with the others
SETTLED = 1.0  # seconds after which nobody is still in the middle of writing to a file left behind

Clock = Callable[[], float]


class SpoolQueue:
    """The spool of one notifier in `directory`. One sender at a time works on it: see `acquire`.

    `tallies` counts events: delivered, dropped by reason, corrupt, foreign, unfinished, and resent:
    delivered after it was not known whether they had arrived before, so that no more than these
    have arrived twice. `clock` gives the seconds of the epoch.
    """

    def __init__(
        self,
        directory: str,
        plan: SpoolPlan,
        usage: Usage,
        tallies: Counter[str],
        clock: Clock = time.time,
    ) -> None:
        self._clock = clock
        self._directory = directory
        self._plan = plan
        self._usage = usage
        self._tallies = tallies
        self._lock: int | None = None
        self._state = RecordLog(os.path.join(directory, STATE))
        self._files: dict[str, SpoolFile] = {}
        self._done: dict[str, int] = {}
        # process -> call -> its .start, of calls whose end has not been read
        self._open: dict[str, dict[int, bytes]] = {}
        self._own: list[bytes] = []  # messages of the sender's own making
        # confirmed beyond the offset of their file: (file, end of the record)
        self._confirmed: set[tuple[str, int]] = set()
        self._doubts = Doubts()
        self._drops = Drops()
        self._receiver_takes = False  # has taken an event since the last one was dropped
        self._synced_at = 0.0

    def acquire(self) -> bool:
        """Become the one that works on this spool; False while another is. Raises OSError."""
        if self._lock is not None:
            return True
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        path = os.path.join(self._directory, LOCK)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        try:
            self._recall()
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock
        return True

    def release(self) -> None:
        """Let another sender work on it."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._confirmed.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def tend(self) -> None:
        """Take up new files, and see to it that all is on the disk and within its bounds."""
        self._find_files()
        self._sync()
        self._trim()

    def offer(self) -> list[Item]:
        """The next events to deliver, about WINDOW; those not confirmed come again."""
        items: list[Item] = []
        for file in self._in_order():
            items += self._of_file(file, WINDOW - len(items))
        self._make_own(items)
        self._note_offered(items)
        return [Item(spool_files.to_event(body), None, None) for body in self._own[:WINDOW]] + items

    def _make_own(self, items: list[Item]) -> None:
        """What the sender has to add: ends of calls cut short, sums of usage, what was dropped."""
        before = len(self._own)
        for process in [each for each in self._open if self._is_over(each)]:
            self._end_open_calls(process)
        if self._usage.has_sums and len(items) < WINDOW:
            firsts = {item.file.name: item.event for item in reversed(items) if item.file}
            stamps = [spool_files.timestamp_of(event.message) for event in firsts.values()]
            self._usage.close_periods(self._clock(), min(stamps, default=None), self._own)
        if self._drops and (self._receiver_takes or not (items or self._own)):
            told = self._drops.tell(self._clock())
            self._own += [told] if told else []
        if len(self._own) > before:
            self._remember()  # before they are sent: they must not be made anew

    def _note_offered(self, items: list[Item]) -> None:
        """Leave word for a successor, should this sender die before it knows what has arrived."""
        if self._doubts.offer(items):
            with contextlib.suppress(OSError):  # a full disk, which must not stop the delivery
                self._state.append({"offered": self._doubts.to_plain(self._done)})

    def withdraw(self, items: Sequence[Item]) -> None:
        """Note that nobody was there to take the events on offer."""
        self._doubts.withdraw(items)
        with contextlib.suppress(OSError):
            self._remember()

    def doubt(self, items: Sequence[Item]) -> None:
        """Note that some of the events on offer may have arrived, and nobody knows which."""
        self._doubts.doubt(items)

    def confirm(self, items: Sequence[Item], confirmed: Sequence[bool]) -> None:
        """Note which of the events on offer have arrived, for good. Raises OSError."""
        for item, arrived in zip(items, confirmed, strict=True):
            if arrived:
                self._receiver_takes = True
                self._tallies["events.delivered"] += 1
                if self._doubts.has(item):
                    self._tallies["events.resent"] += 1
                if item.file is None or item.record is None:
                    self._own.remove(item.event.message)
                    self._doubts.settle(item.event.message)
                else:
                    self._confirmed.add((item.file.name, item.record.end))
        for file in {item.file.name: item.file for item in items if item.file}.values():
            self._advance(file)
        self._remember()

    def peek(self) -> tuple[list[bytes], list[SpoolFile]]:
        """What waits, without taking it: the sender's own messages, and the files in order."""
        self._recall()
        names = filter(spool_files.is_spool_name, os.listdir(self._directory))
        files = [SpoolFile(self._directory, each, self._done.get(each, 0)) for each in names]
        return self._own, sorted(files, key=lambda file: file.number)

    def waiting(self) -> int:
        """The bytes that have not been dealt with."""
        return sum(file.size - file.offset for file in self._files.values())

    def _of_file(self, file: SpoolFile, room: int) -> list[Item]:
        """What of the file is not confirmed yet, up to `room` events."""
        if room <= 0:
            return []
        items: list[Item] = []
        complete = self._is_complete(file)
        for record in file.records(complete):
            if self._is_waiting(file, record):
                items += self._item(file, record)
                if len(items) == room:
                    return items
        if not items and complete:
            self._finish(file)
        return items

    def _item(self, file: SpoolFile, record: Record) -> list[Item]:
        try:
            return [Item(spool_files.to_event(record.body), file, record)]
        except (ValueError, KeyError, TypeError):
            self._tallies["events.corrupt"] += 1
            self._confirmed.add((file.name, record.end))
            return []

    def _advance(self, file: SpoolFile) -> None:
        """Move the file's offset over what is confirmed."""
        for record in file.records(self._is_complete(file)):
            if self._is_waiting(file, record):
                break
            self._confirmed.discard((file.name, record.end))
            self._pass(file, record)
            file.offset = record.end
        self._done[file.name] = file.offset

    def _pass(self, file: SpoolFile, record: Record) -> None:
        """Take note of a record that needs no more delivering."""
        open_calls = self._open.setdefault(file.process, {})
        if record.kind == GAP:
            self._tallies["events.corrupt"] += 1
        elif record.kind == spool.START:
            open_calls[record.call] = record.body
        elif record.kind == spool.END:
            open_calls.pop(record.call, None)
            self._usage.add(record.body)

    def _finish(self, file: SpoolFile) -> None:
        """All of the file has arrived and nothing more will come: remove it."""
        self._advance(file)
        try:
            self._remember()  # before the file goes: it may be all that knows of the calls
        except OSError:  # a full disk, which is the more reason for it to go
            self._remove(file)
            self._remember()
        else:
            self._remove(file)

    def _is_over(self, process: str) -> bool:
        """Whether all that the process has written has been dealt with, and no more will come."""
        if any(file.process == process for file in self._files.values()):
            return False
        return not spool_files.is_running(process)

    def _end_open_calls(self, process: str) -> None:
        """The process is dead: calls that began and never ended get an end."""
        for start in self._open.pop(process).values():
            end = messages.unfinished(start)
            self._own.append(end)
            self._usage.add(end)
            self._tallies["events.unfinished"] += 1

    def _remove(self, file: SpoolFile) -> None:
        self._forget(file)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file.path)

    def _forget(self, file: SpoolFile) -> None:
        file.close()
        del self._files[file.name]
        self._done.pop(file.name, None)
        self._doubts.forget(file.name)

    def _find_files(self) -> None:
        for file in [each for each in self._files.values() if each.removed]:
            self._forget(file)
        for name in os.listdir(self._directory):
            if name.endswith(spool.SUFFIX) and name not in self._files:
                self._take_up(name)

    def _take_up(self, name: str) -> None:
        try:
            if spool_files.is_spool_name(name):
                self._files[name] = SpoolFile(self._directory, name, self._done.get(name, 0))
                return
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
        self._tallies["events.foreign"] += 1
        path = os.path.join(self._directory, name)
        log.warning("%s is no file of events and left alone", path)
        os.rename(path, f"{path}.foreign")

    def _in_order(self) -> list[SpoolFile]:
        return sorted(self._files.values(), key=lambda file: file.number)

    def _is_last(self, file: SpoolFile) -> bool:
        """Whether it is the newest file of its process."""
        others = [each for each in self._files.values() if each.process == file.process]
        return all(each.number <= file.number for each in others)

    def _is_complete(self, file: SpoolFile) -> bool:
        """Whether nobody writes it any more: its process has gone on to another, or ended."""
        if not spool_files.is_running(file.process):
            return True
        return not self._is_last(file) and time.time() - file.modified > SETTLED

    def _sync(self) -> None:
        now = time.monotonic()
        if self._plan.fsync and now - self._synced_at >= self._plan.fsync:
            self._synced_at = now
            for file in self._files.values():
                file.sync()

    def _trim(self) -> None:
        """Keep the spool within its bounds: what is too old goes, then all but errors, then all."""
        oldest = self._clock() - self._plan.max_age
        for file in self._in_order():
            if file.modified < oldest and self._is_complete(file):
                self._drop(file, "too_old", keep_errors=False)
        if self.waiting() <= self._plan.max_size:
            return
        complete = [file for file in self._in_order() if self._is_complete(file)]
        for file in complete:
            if not file.only_errors and self.waiting() > self._plan.max_size:
                self._drop(file, "spool_full", keep_errors=True)
        # What is still written will lose the rest of its share later: errors need not make room.
        errors = [file for file in self._in_order() if file.only_errors]
        size = sum(file.size - file.offset for file in errors)
        for file in errors:
            if size > self._plan.max_size:
                size -= file.size - file.offset
                self._drop(file, "spool_full", keep_errors=False)

    def _drop(self, file: SpoolFile, reason: str, keep_errors: bool) -> None:
        """Rewrite the file with its errors alone, or remove it. What goes is counted."""
        records = list(file.records(complete=True))
        waiting = [each for each in records if self._is_waiting(file, each)]
        kept = [each for each in waiting if keep_errors and spool_files.is_important(each.body)]
        ends = {each.end for each in kept}
        for record in records:
            # what has arrived, is damaged, or ends a call: not told then, but still owed
            owed = record.kind == spool.END and record.end not in ends
            if owed or not self._is_waiting(file, record):
                self._confirmed.discard((file.name, record.end))
                self._pass(file, record)
        dropped = len(waiting) - len(kept)
        if dropped:
            self._tallies["events.dropped"] += dropped
            self._tallies[f"events.dropped.{reason}"] += dropped
            self._note_dropped(reason, waiting, ends)
            log.warning("%s: dropped %d events (%s)", self._directory, dropped, reason)
        if kept:
            self._rewrite(file, kept)
        self._done[file.name] = file.offset = file.size
        with contextlib.suppress(OSError):  # a full disk, which is the more reason for it to go
            self._remember()  # before the file goes: it may be all that knows of the calls
        self._remove(file)

    def _note_dropped(self, reason: str, waiting: list[Record], kept: set[int]) -> None:
        self._receiver_takes = False
        gone = [each.body for each in waiting if each.end not in kept]
        self._drops.add(reason, gone, self._clock())

    def _is_waiting(self, file: SpoolFile, record: Record) -> bool:
        return record.kind != GAP and (file.name, record.end) not in self._confirmed

    def _rewrite(self, file: SpoolFile, kept: list[Record]) -> None:
        """Make a file of what is kept, with the next name: what was done of this one is no more."""
        name = f"{file.process}-{file.number + 1:x}{spool.SUFFIX}"
        path = os.path.join(self._directory, name)
        with open(f"{path}.new", "wb") as new:
            new.writelines(spool.pack(each.kind, each.call, each.body) for each in kept)
        os.replace(f"{path}.new", path)
        self._files[name] = SpoolFile(self._directory, name)
        self._files[name].only_errors = True
        self._doubts.move(file, self._files[name])

    def _remember(self) -> None:
        state = {
            "done": self._done,
            "open": self._open,
            "own": self._own,
            "usage": self._usage.to_plain(),
            "offered": self._doubts.to_plain(self._done),
            "drops": self._drops.to_plain(),
        }
        self._state.replace(state)

    def _recall(self) -> None:
        state: dict[str, Any] = {}
        for record in self._state.read():
            state.update(record)
        self._done, self._open = state.get("done", {}), state.get("open", {})
        self._own = state.get("own", [])
        self._doubts.from_plain(state.get("offered", {}), self._own)
        self._usage.from_plain(state.get("usage", self._usage.to_plain()))
        self._drops.from_plain(state.get("drops", self._drops.to_plain()))
