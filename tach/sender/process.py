"""The sender process: from the fork in the launcher to the removal of the run directory."""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import logging
import os
import select
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tach import layout, metrics, notifiers, rundir, spooldir
from tach.histogram import Histogram
from tach.plan import NotifierPlan, Plan, TargetPlan
from tach.plan_change import SPEAKING, Change
from tach.rundir import Run
from tach.samples import Batch, Kind, Metric, RunInfo, Running, Sample, TargetStatus
from tach.sender import leftovers
from tach.sender.counts import NOTHING, Counts
from tach.sender.courier import EventCourier
from tach.sender.journal import JournalReader
from tach.sender.outlet import SELF, BySlot, Outlet, Pending
from tach.sender.outlets import Outlets
from tach.sender.processes import Processes, start_ticks_of
from tach.sender.reloading import Reloader
from tach.sender.runtime import Beat, Runtimes
from tach.sender.spool_queue import SpoolQueue
from tach.sender.stalls import Stalls
from tach.sender.status import StatusDesk
from tach.sender.totals import Total, Totals
from tach.sender.usage import Usage

log = logging.getLogger("tach.sender")

LAST_LOOKS = 3
LAST_LOOKS_PAUSE = 0.05  # seconds
REPORT_DELAY = 0.5  # seconds
FINAL_TIMEOUT = 5.0  # for the last flush, after the program's end
QUICK = 1.0  # seconds: a sender that ends sooner probably cannot work here at all
COLLECT = 50_000, 20, 50
QUICK_ENDS = 8  # in a row, before the guard gives up
LOG_LIMIT = 1 << 20  # bytes

# of each series: its target, and what is told of it
Routes = Mapping[str, tuple[TargetPlan, list[Metric]]]


def run(run_: Run) -> None:
    """Guard the sender: fork it, and fork it anew if it is killed. Returns when the run is over."""
    _leave(run_)
    restarts, quick_ends = 0, 0
    while quick_ends < QUICK_ENDS:
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            _serve(rundir.read(run_.directory) if restarts else run_, restarts)
        _, status = os.waitpid(child, 0)
        if status == 0 or not os.path.isdir(run_.directory):
            return
        restarts += 1
        quick_ends = quick_ends + 1 if time.monotonic() - began < QUICK else 0
        time.sleep(0.05 * 2**quick_ends)


def _leave(run_: Run) -> None:
    """Let go of all that the program may want for itself: terminal, pipes, signals, name."""
    os.setsid()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(each, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    plan = Plan.from_json(run_.plan)
    speaks = plan.reload or any(notifier.type in SPEAKING for notifier in plan.notifiers)
    if not speaks and all("debug" not in target.metrics for target in plan.targets):
        os.dup2(nothing, 2)
    lock = os.path.join(run_.directory, layout.SENDER_LOCK)
    for number in [int(name) for name in os.listdir("/proc/self/fd")]:
        with contextlib.suppress(OSError):
            if number > 2 and os.readlink(f"/proc/self/fd/{number}") != lock:
                os.close(number)
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as name:
        name.write("tach-sender")


def _serve(run_: Run, restarts: int) -> None:
    """Be the sender, then exit: with 0 when the run is over."""
    status = 1
    try:
        # Little is thrown away here that only a collection finds, and each goes through all series.
        gc.set_threshold(*COLLECT)
        logging.lastResort = None  # whose words would end up among the program's
        _log_to(os.path.join(run_.directory, layout.SENDER_LOG))
        Sender(run_, restarts).serve()
        status = 0
    except BaseException:
        log.exception("the sender failed")
    finally:
        os._exit(status)


class BoundedLog(logging.FileHandler):
    """A file that begins anew when it is full; what it held before is kept as `.1` beside it.

    It lies in memory, and a run may start processes for months. (The standard library's handler for
    that would cost each sender 0.7 MB.)
    """

    def __init__(self, path: str, limit: int = LOG_LIMIT) -> None:
        super().__init__(path)
        self._limit = limit

    def emit(self, record: logging.LogRecord) -> None:
        """Write it down."""
        super().emit(record)
        full = self.stream
        if full is not None and full.tell() > self._limit:
            with contextlib.suppress(OSError):  # where that cannot be, it grows
                os.replace(self.baseFilename, f"{self.baseFilename}.1")
                self.stream = self._open()
                full.close()


def _log_to(path: str) -> None:
    handler = BoundedLog(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("tach")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


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
        self._metrics: dict[int, list[Metric]] = {}
        self._stalls = Stalls(self._plan, run_.program, self._journal.note)
        runtime = self._plan.runtime
        self._runtimes = Runtimes(runtime) if runtime is not None else None
        self._began = time.time()
        self._last: dict[str, float] = {}
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
        outlet = Outlet(plan.name, notifier, self._plan.interval, self._make, self._run.directory)
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
        """Take in what is new: processes, calls, deaths."""
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
        reports = [outlet for outlet in self._outlets if outlet.cumulative]
        others = [outlet for outlet in self._outlets if not outlet.cumulative]
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

    def _make(self, outlet: Outlet, taken: Mapping[str, Counts], final: bool) -> Pending:
        """A batch of what is new since `taken` (for a cumulative outlet: of all there is)."""
        now = time.time()
        start, self._last[outlet.name] = self._last.get(outlet.name, self._began), now
        samples: list[Sample] = []
        totals: dict[str, Counts] = {}
        with self._lock:
            changed = outlet.take_changed()
            if outlet.cumulative or outlet.idle:
                changed |= {
                    name
                    for name, total in self._totals.series.items()
                    if outlet.cumulative or not self._target_of(total).gone
                }
            farewells = outlet.take_farewells()
            for name, (metrics_, counts) in farewells.items():
                samples += self._news(outlet, name, metrics_, counts, taken, totals, now)
            wanted = [
                name
                for name in sorted(changed - farewells.keys())
                if outlet.name in self._target_of(self._totals.series[name]).notifiers
            ]
            # First all are read, then all told: each leaves the other's memory in the cache.
            for name, counts in [(name, self._counts(outlet, name)) for name in wanted]:
                metrics_ = self._metrics_of_series(name)
                samples += self._news(outlet, name, metrics_, counts, taken, totals, now)
            samples += self._runtime_samples(outlet, now)
            statuses = self._statuses() if outlet.cumulative else []
            troubles = self._troubles() if outlet.cumulative else []
        others = len(samples)
        samples += self._self_samples(outlet, now, bool(samples))
        batch = Batch(samples, start, now, statuses, troubles, final)
        return Pending(batch, {} if outlet.cumulative else totals, others)

    def _target_of(self, total: Total) -> TargetPlan:
        return self._plan.targets[total.target]

    def _metrics_of_series(self, name: str) -> list[Metric]:
        return self._metrics_of(self._totals.series[name].target)

    def _counts(self, outlet: Outlet, name: str) -> BySlot:
        """What the series has come to, as the outlet wants it: each slot apart, or all together."""
        total = self._totals.series[name]
        return total.counts_by_slot() if outlet.per_process else {None: total.counts()}

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

    def _statuses(self) -> list[TargetStatus]:
        called = {each.target for each in self._totals.series.values()}
        targets = enumerate(self._journal.targets())
        return [
            each._replace(called=index in called)
            for index, each in targets
            if not self._plan.targets[index].gone
        ]

    def _troubles(self) -> list[str]:
        lost = [trouble for outlet in self._outlets for trouble in outlet.troubles()]
        return [*self._journal.troubles(), *self._unusable.values(), *lost]

    def _news(
        self,
        outlet: Outlet,
        name: str,
        metrics_: list[Metric],
        by_slot: BySlot,
        taken: Mapping[str, Counts],
        totals: dict[str, Counts],
        timestamp: float,
    ) -> list[Sample]:
        """The samples of one series since `taken`; what they lead up to goes into `totals`."""
        total = self._totals.series[name]
        all_running = total.running(time.monotonic_ns())
        if all_running and not outlet.per_process:
            all_running = {None: functools.reduce(Running.plus, all_running.values())}
        samples = []
        for slot, counts in by_slot.items():
            key = _key(name, slot)
            totals[key] = counts
            running = all_running.get(slot, Running())
            peak = max(outlet.take_peak(key), running.active)
            if peak:
                running = running._replace(peak=peak)
            earlier = NOTHING if outlet.cumulative else taken.get(key, NOTHING)
            activity = counts.since(earlier, running)
            for metric in metrics_:
                for suffix, kind, value in metric.measurements(activity):
                    if outlet.idle or _is_news(kind, value):
                        full = f"{name}.{suffix}"
                        samples.append(Sample(full, kind, value, timestamp, name, suffix, slot))
        return samples

    def _metrics_of(self, index: int) -> list[Metric]:
        if index not in self._metrics:
            target = self._plan.targets[index]
            self._metrics[index] = [
                metrics.make(name, target.options.get(name, {})) for name in target.metrics
            ]
        return self._metrics[index]

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
            before = {
                name: (self._target_of(total), self._metrics_of(total.target))
                for name, total in self._totals.series.items()
            }
            old, self._plan = self._plan, change.plan
            for each in (self._journal, self._totals, self._stalls, self._desk):
                each.follow(self._plan)
            if self._runtimes is not None and self._plan.runtime is not None:
                self._runtimes.follow(self._plan.runtime)
            self._metrics.clear()
            for outlet in self._outlets:
                self._reroute(outlet, before)
                if getattr(outlet.notifier, "interval", None) is None:
                    outlet.set_interval(self._plan.interval)
            self._totals.keep_apart(True)  # a new outlet may want to know, from its first moment on
        self._outlets.change(old, self._plan, self._prepare)
        with self._lock:
            self._keep_apart()

    def _keep_apart(self) -> None:
        self._totals.keep_apart(any(outlet.per_process for outlet in self._outlets))

    def _reroute(self, outlet: Outlet, before: Routes) -> None:
        """Tell the outlet the rest of what it will not be told any more, and no old news."""
        for name, (target, metrics_) in before.items():
            now = self._target_of(self._totals.series[name])
            was_told, is_told = outlet.name in target.notifiers, outlet.name in now.notifiers
            if was_told and (not is_told or _tells(target) != _tells(now)):
                outlet.bid_farewell(name, metrics_, self._counts(outlet, name))
            elif is_told and not was_told and not outlet.bids_farewell(name):
                self._start_from_now(outlet, name)

    def _prepare(self, outlet: Outlet, goes_on: bool) -> None:
        """Let an outlet that is about to start know what there is."""
        for name, total in self._totals.series.items():
            if not goes_on and outlet.name in self._target_of(total).notifiers:
                self._start_from_now(outlet, name)
        outlet.changed(set(self._totals.series))

    def _start_from_now(self, outlet: Outlet, name: str) -> None:
        by_slot = self._counts(outlet, name).items()
        outlet.start_from({_key(name, slot): counts for slot, counts in by_slot})

    def _self_samples(self, outlet: Outlet, now: float, beside_others: bool) -> list[Sample]:
        """What tach has to say of itself: only beside other news, else it would never be silent."""
        if not beside_others or outlet.cumulative:
            return []
        series = self._totals.prefix(self._run.main_pid) + SELF
        return [
            Sample(f"{series}.{name}", "counter", count, now, series, name)
            for name, count in sorted(outlet.self_metrics().items())
        ]


def _key(name: str, slot: int | None) -> str:
    return name if slot is None else f"{name}#{slot}"


def _tells(target: TargetPlan) -> tuple[Any, ...]:
    return target.metrics, target.options


def _can_speak() -> bool:
    """Whether standard error is still the program's."""
    null, own = os.stat(os.devnull), os.fstat(2)
    return (own.st_dev, own.st_rdev) != (null.st_dev, null.st_rdev)


def _is_news(kind: Kind, value: float | Histogram) -> bool:
    if isinstance(value, Histogram):
        return bool(value.pairs)
    return kind == "gauge" or value != 0


def main(arguments: list[str]) -> int:
    """`python -m tach.sender RUN_DIR`: be the sender of a run that has lost its own."""
    import fcntl

    run_ = rundir.read(arguments[0])
    lock = os.open(os.path.join(run_.directory, layout.SENDER_LOCK), os.O_RDWR)
    for _ in range(10):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:  # another one was faster, or is just looking
            time.sleep(0.01)
    else:
        return 0
    if os.fork() == 0:
        run(run_)
    return 0
