"""The status of a run: where each of its targets, notifiers and processes stands at this moment.

As JSON it is an object with these members; times are in seconds of the epoch, and what a sender
alone knows is null, or left empty, where none has answered:

version    1; a change that could break a reader makes it 2
answered   whether the sender of the run has said this
time       when
directory  of the run, `sender.log` in it
config     the configuration's file
program    as it was named, `argv` its whole command line, `pid` its main process
sender     {pid, restarts}: its process, how often one before it was killed; null if not answered
targets    [{name, function, line, state, reason, calls, errors, series, overflowed, inflight,
           oldest}]: `state` is
           waiting (for its module to be imported), patched, missing, refused, disabled or removed
           (by a change of the configuration; its calls are those up to then), `reason`
           why it is not patched; `calls` counts those that ended, `errors` those that raised, in
           all processes up to now; `series` is how many the target has; `overflowed` how many calls
           were counted as `other` since it had as many series as it may; `inflight` is how many
           run now, if that is measured, `oldest` for how many seconds the oldest of them does
notifiers  [{name, type, usable, sent, dropped, queued, events, last_success, last_error}]: `sent`
           and `dropped` count samples since this sender began, `queued` batches; `events` is null
           or {delivered, dropped, spooled}, `spooled` being the bytes that wait; `last_success` is
           a time or null, `last_error` null or {text, time}, the time null if it cannot be used
processes  [{pid, parent, program, python, since, calls, blocked, generation}] of those that live;
           `blocked` is for how many seconds its hub or event loop has been blocked, 0.0 if it is
           not known to be; `generation` is that of the change which it has taken up last
reload     how changes of the configuration stand: `tach.sender.reloading` says what is in it
ended      {processes, calls}: of those that do not
troubles   [text]: what else has gone wrong
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tach import layout, sparse
from tach.names import other_name
from tach.plan import Plan, TargetPlan
from tach.rundir import Run
from tach.samples import TargetStatus
from tach.sender.counts import NOTHING, Counts
from tach.sender.journal import JournalReader, lines_of
from tach.sender.outlet import Outlet
from tach.sender.processes import lives
from tach.sender.requests import Requests
from tach.sender.slots import ProcessKey
from tach.sender.totals import Totals

log = logging.getLogger("tach.sender")

VERSION = 1


class RunProcess(NamedTuple):
    """A process of a run, as it has announced itself in the journal."""

    pid: int
    start_ticks: int
    parent: int
    python: str
    program: str


class StatusDesk:
    """Answers those who ask a sender for the status. Not thread-safe: the caller holds a lock."""

    def __init__(
        self,
        run: Run,
        plan: Plan,
        journal: JournalReader,
        totals: Totals,
        outlets: Iterable[Outlet],
        unusable: Mapping[str, str],
        restarts: int,
        blocked: Callable[[], dict[int, float]] = dict,
        reload: Callable[[], dict[str, Any] | None] = lambda: None,
    ) -> None:
        self._requests = Requests(run.directory, layout.STATUS_REQUEST, layout.STATUS_ANSWER)
        self._reload = reload
        self._blocked = blocked
        self._run = run
        self._plan = plan
        self._journal = journal
        self._totals = totals
        self._outlets = outlets
        self._unusable = unusable
        self._restarts = restarts

    def answer(self) -> None:
        """Answer all requests that lie in the run directory. Never raises."""
        try:
            requests = self._requests.pending()
            if requests:
                text = json.dumps(self._status()).encode()
                for identity in requests:
                    self._requests.answer(identity, text)
        except Exception:  # the run is worth more than a question about it
            log.exception("cannot answer who asks for the status")

    def follow(self, plan: Plan) -> None:
        """The plan is this one from now on."""
        self._plan = plan

    def _status(self) -> dict[str, Any]:
        calls = _Calls(self._totals)
        status = without_sender(self._run, self._plan, self._journal)
        prefix = self._totals.prefix(self._run.main_pid)
        for index, target in enumerate(status["targets"]):
            plan = self._plan.targets[index]
            found = calls.of_target.get(index, {})
            target.update(_sums(found), overflowed=_overflowed(found, plan, prefix))
            target["called"] = bool(target["calls"])
            target["inflight"], target["oldest"] = calls.running.get(index, (0, 0.0))
        for process in status["processes"]:
            process["calls"] = calls.of_process[process["pid"]]
            process["blocked"] = self._blocked().get(process["pid"], 0.0)
        status["targets"] = _shown(self._plan, status["targets"])
        status["ended"]["calls"] = calls.of_the_ended
        outlets = {outlet.name: outlet for outlet in self._outlets}
        notifiers = [
            {"name": plan.name, "type": plan.type, **self._notifier(plan.name, outlets)}
            for plan in self._plan.notifiers
        ]
        sender = {"pid": os.getpid(), "restarts": self._restarts}
        said = {"answered": True, "sender": sender, "notifiers": notifiers}
        return {**status, **said, "reload": self._reload()}

    def _notifier(self, name: str, outlets: Mapping[str, Outlet]) -> dict[str, Any]:
        if name in outlets:
            return {"usable": True, **_outlet(outlets[name])}
        error = {"text": self._unusable.get(name, ""), "time": None}
        idle = {"sent": 0, "dropped": 0, "queued": 0, "events": None, "last_success": None}
        return {"usable": False, **idle, "last_error": error}


class _Calls:
    """The (calls, errors) of all series, each read once, so that all sums of them agree."""

    def __init__(self, totals: Totals) -> None:
        self.of_target: dict[int, dict[str, tuple[int, int]]] = {}
        self.of_process: Counter[int] = Counter()
        self.of_the_ended = 0
        self.running: dict[int, tuple[int, float]] = {}  # by target: how many, the oldest's age
        now = time.monotonic_ns()
        for name, total in totals.series.items():
            ended = [_calls_and_errors(counts) for counts in total.retired.values()]
            self.of_the_ended += sum(calls for calls, _ in ended)
            living = []
            for reader, series in total.living:
                found = _calls_and_errors(reader.counts(series))
                self.of_process[reader.pid] += found[0]
                living.append(found)
            for running in total.running(now).values():
                active, oldest = self.running.get(total.target, (0, 0.0))
                self.running[total.target] = active + running.active, max(oldest, running.oldest)
            calls, errors = map(sum, zip((0, 0), *ended, *living, strict=True))
            self.of_target.setdefault(total.target, {})[name] = (calls, errors)


def _calls_and_errors(counts: Counts) -> tuple[int, int]:
    return counts.since(NOTHING).durations.count, counts.errors


def _sums(series: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """What the series of one target come to."""
    return {
        "calls": sum(calls for calls, _ in series.values()),
        "errors": sum(errors for _, errors in series.values()),
        "series": len(series),
    }


def _overflowed(series: Mapping[str, tuple[int, int]], target: TargetPlan, prefix: str) -> int:
    """The calls for whose names there was no room."""
    if not target.has_names or len(series) < target.max_series:
        return 0
    return series.get(prefix + other_name(target.template, target.name), (0, 0))[0]


def _outlet(outlet: Outlet) -> dict[str, Any]:
    tallies = dict(outlet.tallies)
    events = None
    if outlet.events is not None:
        delivered, dropped = tallies.get("events.delivered", 0), tallies.get("events.dropped", 0)
        events = {"delivered": delivered, "dropped": dropped, "spooled": outlet.spooled}
    return {
        "sent": tallies.get("sent", 0),
        "dropped": tallies.get("dropped", 0),
        "queued": outlet.queued,
        "events": events,
        "last_success": outlet.last_success,
        "last_error": outlet.last_error and outlet.last_error._asdict(),
    }


def without_sender(run: Run, plan: Plan, journal: JournalReader) -> dict[str, Any]:
    """What the run directory itself tells of the status; `journal` has been read. Raises OSError.

    The shape is that of the status with a sender.
    """
    with open(os.path.join(run.directory, layout.JOURNAL), "rb") as file:
        known = announced(sparse.content(file.fileno())[0])
    living = [each for each in known if lives((each.pid, each.start_ticks))]
    return {
        "version": VERSION,
        "answered": False,
        "time": time.time(),
        "directory": run.directory,
        "config": plan.file,
        "program": run.program,
        "argv": run.argv,
        "pid": run.main_pid,
        "sender": None,
        "targets": _targets(plan, journal),
        "notifiers": [],
        "reload": None,
        "processes": [_process(each, journal) for each in living],
        "ended": {"processes": journal.ended + len(known) - len(living), "calls": None},
        "troubles": journal.troubles(),
    }


def announced(journal: bytes) -> list[RunProcess]:
    """The processes that a journal names, in the order in which they first came."""
    found: dict[ProcessKey, RunProcess] = {}
    for line in lines_of(journal):
        with contextlib.suppress(ValueError):  # not one of these lines, or not a whole one
            kind, pid, start_ticks, parent, python, program = line.split("\t")
            if kind == "process":
                process = RunProcess(int(pid), int(start_ticks), int(parent), python, program)
                found[process.pid, process.start_ticks] = process  # the last it has executed
    return list(found.values())


def _process(process: RunProcess, journal: JournalReader) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "parent": process.parent,
        "program": process.program,
        "python": process.python,
        "since": _started(process.start_ticks),
        "calls": None,
        "blocked": 0.0,
        "generation": journal.generations.get(process.pid, 0),
    }


def _started(start_ticks: int) -> float:
    """The seconds of the epoch at which the system had done so many ticks."""
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + start_ticks / os.sysconf("SC_CLK_TCK")


def _shown(plan: Plan, targets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The targets, those of the plan by index first, without the removed ones that are back."""
    names = {each.name for each in plan.targets if not each.gone}
    return [
        each
        for index, each in enumerate(targets)
        if index >= len(plan.targets) or not plan.targets[index].gone or each["name"] not in names
    ]


def _targets(plan: Plan, journal: JournalReader) -> list[dict[str, Any]]:
    disabled = [
        TargetStatus(name, function, line, "disabled", "")
        for name, function, line in getattr(plan, "disabled", ())
    ]
    sums = ("calls", "errors", "series", "overflowed", "inflight", "oldest")
    unknown = dict.fromkeys(sums)
    told = [_told(each) for each in journal.targets()]
    return [{**each._asdict(), **unknown} for each in (*told, *disabled)]


def _told(status: TargetStatus) -> TargetStatus:
    """The status in the words for a run that is not over yet."""
    module = status.function.partition(":")[0]
    if status.state == "waiting" and "; " not in status.reason:
        return status._replace(reason=f"module {module!r} has not been imported yet")
    return status
