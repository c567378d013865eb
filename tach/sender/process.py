"""The sender of a run: reads what its processes record, and feeds the outlets until they end."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import select
import shutil
import socket
import threading
import time
from collections import Counter

from tach import layout, notifiers, spooldir
from tach.plan import NotifierPlan, Plan
from tach.plan_change import Change
from tach.rundir import Run
from tach.samples import RunInfo, Sample
from tach.sender import leftovers
from tach.sender.batches import Batches, Standing
from tach.sender.courier import EventCourier
from tach.sender.journal import JournalReader
from tach.sender.outlet import Outlet
from tach.sender.outlets import Outlets
from tach.sender.processes import Processes, start_ticks_of
from tach.sender.reloading import Reloader
from tach.sender.runtime import Beat, Runtimes
from tach.sender.spool_queue import SpoolQueue
from tach.sender.stalls import Stalls
from tach.sender.status import StatusDesk
from tach.sender.totals import Totals
from tach.sender.usage import Usage

log = logging.getLogger("tach.sender")

LAST_LOOKS = 3
LAST_LOOKS_PAUSE = 0.05  # seconds
REPORT_DELAY = 0.5  # seconds
SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)
FINAL_TIMEOUT = 5.0  # for the last flush, after the program's end


class Sender:
    """Reads what the processes of a run record, and feeds the outlets."""

    def __init__(self, run_: Run, restarts: int = 0) -> None:
        self._run = run_
        self._plan = Plan.from_json(run_.plan)
        self._restarts = restarts
        self._lock = threading.Lock()
        self._journal = JournalReader(run_.directory, self._plan)
        self._totals = Totals(run_, self._plan)
        self._processes = Processes(run_.directory)
        self._processes.add(run_.main_pid, start_ticks_of(run_.main_pid))
        self._stalls = Stalls(self._plan, run_.program, self._journal.note)
        runtime = self._plan.runtime
        self._runtimes = Runtimes(runtime) if runtime is not None else None
        self._batches = Batches(
            self._plan,
            self._totals,
            self._lock,
            run_.main_pid,
            self._runtime_samples,
            self._standing,
        )
        self._unusable: dict[str, str] = {}  # notifier -> why
        self._outlets = Outlets(self._plan, self._outlet, self._unusable, self._lock)
        self._keep_apart()
        self._reloader = Reloader(run_, self._plan, _can_speak(), self)
        self._desk = StatusDesk(
            run_,
            self._plan,
            self._journal,
            self._totals,
            self._outlets,
            self._unusable,
            restarts,
            self._blocked_for,
            self._reloader.status,
        )
        self._wake = os.open(
            os.path.join(run_.directory, layout.WAKE), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
        )
        self._processes.poll.register(self._wake, select.POLLIN)

    def _outlet(self, plan: NotifierPlan) -> Outlet | None:
        try:
            notifier = notifiers.load(plan.type)(**plan.options)
            if hasattr(notifier, "introduce"):
                notifier.introduce(self._info())
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
            trouble = f"notifier {plan.name} cannot be used: {type(error).__name__}: {error}"
            log.error("%s", trouble)
            self._unusable[plan.name] = trouble
            return None
        outlet = Outlet(
            plan.name, notifier, self._plan.interval, self._batches.make, self._run.directory
        )
        outlet.tallies["sender_restarts"] += bool(self._restarts)
        if plan.delivers and any("events" in each.metrics for each in self._plan.targets):
            outlet.spool = self._spool(plan.name, outlet.tallies)
            outlet.events = EventCourier(plan.name, outlet.spool, outlet.deliver, outlet.tallies)
        return outlet

    def _spool(self, name: str, tallies: Counter[str]) -> SpoolQueue:
        directory = spooldir.of_configuration(self._plan.spool.directory, self._plan.file)
        usage = Usage(self._plan.usage_periods(name))
        place = spooldir.of_notifier(directory, name)
        return SpoolQueue(place, self._plan.spool, usage, tallies)

    def _info(self) -> RunInfo:
        fingerprint = hashlib.sha256(self._run.plan.encode()).hexdigest()[:12]
        host = socket.gethostname()
        return RunInfo(self._run.program, host, tuple(self._run.argv), fingerprint)

    def serve(self) -> None:
        """Work until the last process of the run has ended."""
        log.info("serving %s (pid %d)", self._run.program, self._run.main_pid)
        for outlet in self._outlets:
            outlet.start()
        leftovers.sweep(os.path.dirname(self._run.directory))
        self._read()
        for outlet in self._outlets:
            outlet.changed(set(self._totals.series))
        while not self._over():
            for outlet in self._outlets:
                outlet.tick(time.time())
            if self._journal.closing and not os.path.exists(self._flushed):
                self._acknowledge()
            woken = self._sleep()
            self._read()
            if woken:
                self._reloader.answer()
                with self._lock:
                    self._desk.answer()
        self._finish()

    def _sleep(self) -> bool:
        """Wait until something is due, or somebody wants something, which is the answer."""
        until = time.monotonic() + self._until_due()
        while True:
            self._reloader.look()
            left = max(0.0, until - time.monotonic())
            ready = self._processes.poll.poll(min(left, self._reloader.wait()) * 1000)
            if ready or time.monotonic() >= until:
                return self._drain_wake()

    def _until_due(self) -> float:
        now = time.time()
        return min([self._plan.interval, *(outlet.wait(now) for outlet in self._outlets)])

    @property
    def _flushed(self) -> str:
        return os.path.join(self._run.directory, layout.FLUSHED)

    def _drain_wake(self) -> bool:
        """Whether somebody wants something."""
        woken = False
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake, 512):
                woken = True
        return woken

    def _read(self) -> None:
        """Take in what is new: processes, calls, deaths. What there is no room for comes later."""
        try:
            self._take_in()
        except OSError as error:
            if error.errno not in SCARCE:
                raise
            log.warning("cannot read everything now: %s", error)

    def _take_in(self) -> None:
        with self._lock:
            self._journal.read()
            for pid, start_ticks in self._journal.new_processes():
                self._processes.add(pid, start_ticks)
            self._processes.remove_dead()
            self._journal.condense(self._processes.alive)
            changed = self._totals.read()
            changed |= self._totals.retire(self._processes.alive)
            self._watch_hubs()
            self._stalls.look(self._totals.series)
            peaks = self._totals.take_peaks()
            for outlet in self._outlets:
                outlet.changed(changed)
                outlet.note_peaks(peaks)

    def _beats(self) -> list[Beat]:
        if self._runtimes is None:
            return []
        return self._runtimes.beats(self._totals.readers(), time.monotonic_ns())

    def _blocked_for(self) -> dict[int, float]:
        return {beat.pid: beat.blocked for beat in self._beats()}

    def _watch_hubs(self) -> None:
        if self._runtimes is not None:
            for beat in self._runtimes.newly_blocked(self._beats()):
                self._journal.note(f"process {beat.pid}: its {beat.runtime} hub was blocked")

    def _over(self) -> bool:
        if self._is_withdrawn():
            return True
        if self._processes.any_but(-1):
            return False
        # The last one known has ended: has it left anyone behind who has not said so yet? One look
        # is not enough: a process may fork and end while we look, and so neither is seen.
        for _ in range(LAST_LOOKS):
            self._read()
            self._processes.find_unregistered()
            if self._processes.any_but(-1):
                return False
            time.sleep(LAST_LOOKS_PAUSE)
        return True

    def _is_withdrawn(self) -> bool:
        return os.path.exists(os.path.join(self._run.directory, layout.WITHDRAWN))

    def _acknowledge(self) -> None:
        """The main process is about to exit and waits: send what there is."""
        alone = not self._processes.any_but(self._run.main_pid)
        self._flush("final" if alone else "flush")
        with open(self._flushed, "w"):
            pass

    def _flush(self, how: str) -> None:
        deadline = time.monotonic() + FINAL_TIMEOUT
        reports = [outlet for outlet in self._outlets if outlet.last]
        others = [outlet for outlet in self._outlets if not outlet.last]
        for outlet in others:
            outlet.ask(how)
        # A report tells what the others could not send, if they know that soon enough.
        soon = time.monotonic() + (REPORT_DELAY if reports else 0.0)
        for outlet in others:
            outlet.done(soon)
        for outlet in reports:
            outlet.ask(how)
        for outlet in self._outlets:
            if not outlet.done(deadline):
                log.warning("%s: gave up its last flush", outlet.name)

    def _finish(self) -> None:
        if self._is_withdrawn():  # nothing has been measured, and nothing is to be told of that
            shutil.rmtree(self._run.directory, ignore_errors=True)
            return
        self._flush("final")
        os.dup2(0, 2)  # whoever reads the program's stderr need not wait for the rest
        while any(outlet.events and outlet.events.getting_on() for outlet in self._outlets):
            time.sleep(LAST_LOOKS_PAUSE)
        self._flush("stop")
        log.info("the run is over")
        shutil.rmtree(self._run.directory, ignore_errors=True)

    def _runtime_samples(self, outlet: Outlet, now: float) -> list[Sample]:
        if self._runtimes is None:
            return []
        return self._runtimes.samples(
            outlet.name,
            outlet.cumulative,
            outlet.per_process,
            self._totals.readers(),
            self._processes.living(),
            self._totals.prefix(self._run.main_pid),
            time.monotonic_ns(),
            now,
        )

    def _standing(self) -> Standing:
        called = {each.target for each in self._totals.series.values()}
        targets = [
            each._replace(called=index in called)
            for index, each in enumerate(self._journal.targets())
            if not self._plan.targets[index].gone
        ]
        lost = [trouble for outlet in self._outlets for trouble in outlet.troubles()]
        return Standing(targets, [*self._journal.troubles(), *self._unusable.values(), *lost])

    def tell_news(self) -> None:
        """Let all processes look at the plan, which has been changed."""
        self._totals.tell_news()

    def count(self, what: str) -> None:
        """Count something of tach's own, for all who are told of that."""
        for outlet in self._outlets:
            outlet.tallies[what] += 1

    def take_up(self, change: Change) -> None:
        """Work by the changed plan from now on."""
        with self._lock:
            before = self._batches.routes()
            old, self._plan = self._plan, change.plan
            for each in (self._journal, self._totals, self._batches, self._stalls, self._desk):
                each.follow(self._plan)
            if self._runtimes is not None and self._plan.runtime is not None:
                self._runtimes.follow(self._plan.runtime)
            for outlet in self._outlets:
                self._batches.reroute(outlet, before)
                if getattr(outlet.notifier, "interval", None) is None:
                    outlet.set_interval(self._plan.interval)
            self._totals.keep_apart(True)  # a new outlet may want to know, from its first moment on
        self._outlets.change(old, self._plan, self._batches.prepare)
        with self._lock:
            self._keep_apart()

    def _keep_apart(self) -> None:
        self._totals.keep_apart(any(outlet.per_process for outlet in self._outlets))


def _can_speak() -> bool:
    """Whether standard error is still the program's."""
    null, own = os.stat(os.devnull), os.fstat(2)
    return (own.st_dev, own.st_rdev) != (null.st_dev, null.st_rdev)
