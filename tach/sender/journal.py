"""Reads the run's journal as its processes append to it (`tach.agent.journal` says what)."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable

from tach import layout, sparse
from tach.agent.hook import is_pattern
from tach.plan import Plan, TargetPlan
from tach.samples import TargetStatus
from tach.sender.slots import ProcessKey

log = logging.getLogger("tach.sender")

_RANKS = ("waiting", "missing", "refused", "patched")
NOBODY = (
    "no Python process of the run loaded tach; is tach installed for the interpreter that the "
    "program runs under?"
)
_TROUBLES = 20  # distinct troubles kept for the report
CONDENSE_AT = 1 << 18  # bytes


class JournalReader:
    """What the processes of the run have said so far."""

    def __init__(self, run_dir: str, plan: Plan) -> None:
        self._plan = plan
        self._path = os.path.join(run_dir, layout.JOURNAL)
        self._offset = self._condensed_to = 0
        self.ended = 0  # processes that the journal does not name any more
        self._new: list[ProcessKey] = []
        self._is_anybody_there = False
        self.closing: set[int] = set()
        self.generations: dict[int, int] = {}  # by pid: which change of the plan it has taken up
        self._states: dict[int, tuple[str, str, list[str]]] = {}
        self._troubles: Counter[str] = Counter()

    def read(self) -> None:
        """Take in the lines added since the last time."""
        with open(self._path, "rb") as file:
            data, end = sparse.content(file.fileno(), self._offset)
        whole = data[: data.rfind(b"\n") + 1]
        self._offset = end - (len(data) - len(whole))
        for line in lines_of(whole):
            fields = line.split("\t")
            try:
                self._take(fields)
            except (ValueError, IndexError):
                log.warning("journal: not understood: %s", line)

    def condense(self, alive: Callable[[ProcessKey], bool], least: int = CONDENSE_AT) -> None:
        """Leave of what has been read only what a next reader has to know.

        The journal lies in memory. It is done where `least` bytes have come since the last time.
        """
        if self._offset - self._condensed_to < least:
            return
        self._condensed_to = self._offset
        try:
            with open(self._path, "r+b", buffering=0) as file:
                old, _ = sparse.content(file.fileno(), 0, self._offset)
                kept, gone = _condensed(lines_of(old), alive)
                text = "\n".join([f"ended\t{self.ended + gone}", *kept, ""]).encode()
                if len(text) < self._offset:
                    sparse.replace(file.fileno(), self._offset, text)
                    self.ended += gone
        except OSError as error:
            log.warning("cannot condense the journal: %s", error)

    def _take(self, fields: list[str]) -> None:
        kind, pid = fields[0], int(fields[1])
        if kind in ("process", "plan", "ended"):
            self._take_process(kind, pid, fields)
        elif kind == "target":
            self._take_target(int(fields[2]), fields[3], fields[4], fields[5].split())
        elif kind == "trouble":
            log.warning("process %d: %s", pid, fields[2])
            self._troubles[fields[2]] += 1
        elif kind == "early":
            self._take_early(int(fields[2]), fields[3], fields[4])
        elif kind == "blocked":
            seconds, stack = int(fields[2]) / 1e9, fields[3]
            self.note(f"process {pid}: its hub was blocked for {seconds:.1f} s by {stack}")
        elif kind == "debug":
            log.info("debug %s", fields[2])
            os.write(2, f"tach: {fields[2]}\n".encode())
        elif kind == "closing":
            self.closing.add(pid)
        else:
            raise ValueError(kind)

    def _take_process(self, kind: str, pid: int, fields: list[str]) -> None:
        if kind == "ended":
            self.ended = pid  # here it is a number of processes
            self._is_anybody_there = True
            return
        number = int(fields[2])
        if kind == "plan":
            self.generations[pid] = number
            log.info("process %d has taken up change %d of the configuration", pid, number)
            return
        log.info("process %s", " ".join(fields[1:]))
        self._new.append((pid, number))
        self._is_anybody_there = True
        self.generations.pop(pid, None)  # of another process that had that pid

    def follow(self, plan: Plan) -> None:
        """The plan is this one from now on."""
        self._plan = plan

    def note(self, trouble: str) -> None:
        """Keep what went wrong for the report."""
        log.warning("%s", trouble)
        self._troubles[trouble] += 1

    def _take_early(self, index: int, function: str, places: str) -> None:
        target = self._plan.targets[index]
        text = f"{target.name}: {function} had been taken by {places} before it was measured"
        if not target.rebind:
            text += "; rebind: true replaces it there"
        log.warning("%s", text)
        self._troubles[text] += 1

    def _take_target(self, index: int, state: str, reason: str, candidates: list[str]) -> None:
        target = self._plan.targets[index]
        known = self._states.get(index)
        # One process that could patch it is enough to say that the target is right.
        if known is None or _RANKS.index(state) >= _RANKS.index(known[0]):
            self._states[index] = (state, reason, candidates)
        if state not in ("patched", "waiting") and (known is None or known[0] != state):
            log.warning("%s (%s): %s: %s", target.name, target.function, state, reason)

    def new_processes(self) -> list[ProcessKey]:
        """The processes that have said they are there since the last call."""
        new, self._new = self._new, []
        return new

    def targets(self) -> list[TargetStatus]:
        """Where each target of the plan stands."""
        return [self._status(index, target) for index, target in enumerate(self._plan.targets)]

    def _status(self, index: int, target: TargetPlan) -> TargetStatus:
        state, reason, candidates = self._states.get(index, ("waiting", "", []))
        if target.gone:
            return TargetStatus(target.name, target.function, target.line, "removed", "")
        if state == "waiting":
            reason = f"module {target.module!r} was never imported"
            if is_pattern(target.module):
                reason = f"no module {target.module!r} with such a function was imported"
            reason += _suggestion(target.module, candidates)
        elif state == "missing":
            reason += _suggestion("".join(reason.split("'")[1:2]), candidates)
        return TargetStatus(target.name, target.function, target.line, state, reason)

    def troubles(self) -> list[str]:
        """What went wrong in the processes, and how often."""
        found = [
            f"{text} ({count} times)" if count > 1 else text
            for text, count in self._troubles.most_common(_TROUBLES)
        ]
        if not self._is_anybody_there:
            found.insert(0, NOBODY)
        return found


def lines_of(journal: bytes) -> list[str]:
    """The lines of a journal; between them there are zeros where it has been condensed."""
    return journal.replace(b"\0", b"").decode("utf-8", "replace").splitlines()


def _condensed(lines: list[str], alive: Callable[[ProcessKey], bool]) -> tuple[list[str], int]:
    """Those of the journal's lines that still count, and how many processes they name no more.

    What several processes have said stays once.
    """
    kept: dict[tuple[str, ...], str] = {}
    gone: set[ProcessKey] = set()
    pids: set[str] = set()
    for line in lines:
        kind, pid, *rest = f"{line}\t".split("\t")
        key = _key_of([pid, *rest]) if kind == "process" else None
        if key is not None:
            if alive(key):
                pids.add(pid)
                kept[kind, pid] = line  # the last that it has executed
            else:
                gone.add(key)
        elif kind in ("plan", "closing"):
            kept[kind, pid] = line
        elif kind not in ("ended", "debug"):
            kept.setdefault((kind, *rest), line)
    return [line for key, line in kept.items() if key[0] != "plan" or key[1] in pids], len(gone)


def _key_of(fields: list[str]) -> ProcessKey | None:
    try:
        return int(fields[0]), int(fields[1])
    except (ValueError, IndexError):  # not a line of an agent's, or a damaged one
        return None


def _suggestion(name: str, candidates: list[str]) -> str:
    import difflib  # where something is wrong, once

    near = difflib.get_close_matches(name, candidates, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
