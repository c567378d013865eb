"""Reads the run's journal as its processes append to it (`tach.agent.journal` says what)."""

from __future__ import annotations

import difflib
import logging
import os
from collections import Counter

from tach import layout
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


class JournalReader:
    """What the processes of the run have said so far."""

    def __init__(self, run_dir: str, plan: Plan) -> None:
        self._plan = plan
        self._path = os.path.join(run_dir, layout.JOURNAL)
        self._offset = 0
        self._processes: list[ProcessKey] = []
        self._taken_up = 0
        self.closing: set[int] = set()
        self._states: dict[int, tuple[str, str, list[str]]] = {}
        self._troubles: Counter[str] = Counter()

    def read(self) -> None:
        """Take in the lines added since the last time."""
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            fields = line.split("\t")
            try:
                self._take(fields)
            except (ValueError, IndexError):
                log.warning("journal: not understood: %s", line)

    def _take(self, fields: list[str]) -> None:
        kind, pid = fields[0], int(fields[1])
        if kind == "process":
            log.info("process %s", " ".join(fields[1:]))
            self._processes.append((pid, int(fields[2])))
        elif kind == "target":
            self._take_target(int(fields[2]), fields[3], fields[4], fields[5].split())
        elif kind == "trouble":
            log.warning("process %d: %s", pid, fields[2])
            self._troubles[fields[2]] += 1
        elif kind == "closing":
            self.closing.add(pid)
        else:
            raise ValueError(kind)

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
        new = self._processes[self._taken_up :]
        self._taken_up = len(self._processes)
        return new

    def targets(self) -> list[TargetStatus]:
        """Where each target of the plan stands."""
        return [self._status(index, target) for index, target in enumerate(self._plan.targets)]

    def _status(self, index: int, target: TargetPlan) -> TargetStatus:
        state, reason, candidates = self._states.get(index, ("waiting", "", []))
        if state == "waiting":
            reason = f"module {target.module!r} was never imported"
            reason += _suggestion(target.module, candidates)
        elif state == "missing":
            reason += _suggestion(reason.split("'")[1], candidates)
        return TargetStatus(target.name, target.function, target.line, state, reason)

    def troubles(self) -> list[str]:
        """What went wrong in the processes, and how often."""
        found = [
            f"{text} ({count} times)" if count > 1 else text
            for text, count in self._troubles.most_common(_TROUBLES)
        ]
        if not self._processes:
            found.insert(0, NOBODY)
        return found


def _suggestion(name: str, candidates: list[str]) -> str:
    near = difflib.get_close_matches(name, candidates, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
