"""The sender process: from the fork in the launcher to the removal of the run directory."""

from __future__ import annotations

import contextlib
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
from tach.plan import NotifierPlan, Plan
from tach.rundir import Run
from tach.samples import Batch, Kind, Metric, RunInfo, Sample
from tach.sender import leftovers
from tach.sender.counts import NOTHING, Counts
from tach.sender.courier import EventCourier
from tach.sender.journal import JournalReader
from tach.sender.outlet import SELF, Outlet, Pending
from tach.sender.processes import Processes, start_ticks_of
from tach.sender.spool_queue import SpoolQueue
from tach.sender.totals import Totals
from tach.sender.usage import Usage

log = logging.getLogger("tach.sender")

LAST_LOOKS = 3
LAST_LOOKS_PAUSE = 0.05  # seconds
REPORT_DELAY = 0.5  # seconds
FINAL_TIMEOUT = 5.0  # for the last flush, after the program's end
QUICK = 1.0  # seconds: a sender that ends sooner probably cannot work here at all
QUICK_ENDS = 8  # in a row, before the guard gives up


def run(run_: Run) -> None:
    """Guard the sender: fork it, and fork it anew if it is killed. Returns when the run is over."""
    _leave(run_)
    restarts, quick_ends = 0, 0
    while quick_ends < QUICK_ENDS:
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            _serve(run_, restarts)
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
    if all(notifier.type != "console" for notifier in Plan.from_json(run_.plan).notifiers):
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
        logging.lastResort = None  # whose words would end up among the program's
        _log_to(os.path.join(run_.directory, layout.SENDER_LOG))
        Sender(run_, restarts).serve()
        status = 0
    except BaseException:
        log.exception("the sender failed")
    finally:
        os._exit(status)


def _log_to(path: str) -> None:
    handler = logging.FileHandler(path)
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
        self._metrics: dict[str, Metric] = {}
        self._began = time.time()
        self._last: dict[str, float] = {}
        self._unusable: list[str] = []
        self._outlets = [outlet for plan in self._plan.notifiers if (outlet := self._outlet(plan))]
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
            self._unusable.append(trouble)
            return None
        outlet = Outlet(plan.name, notifier, self._plan.interval, self._make, self._run.directory)
        outlet.tallies["sender_restarts"] += bool(self._restarts)
        if plan.delivers and any("events" in each.metrics for each in self._plan.targets):
            outlet.events = self._courier(plan.name, notifier, outlet.tallies)
        return outlet

    def _courier(self, name: str, notifier: Any, tallies: Counter[str]) -> EventCourier:
        directory = spooldir.of_configuration(self._plan.spool.directory, self._plan.file)
        usage = Usage(self._plan.usage_periods(name))
        place = spooldir.of_notifier(directory, name)
        queue = SpoolQueue(place, self._plan.spool, usage, tallies)
        return EventCourier(name, queue, notifier.deliver, tallies)

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
            self._processes.poll.poll(self._until_due() * 1000)
            self._drain_wake()
            self._read()
        self._finish()

    def _until_due(self) -> float:
        now = time.time()
        return min([self._plan.interval, *(outlet.wait(now) for outlet in self._outlets)])

    @property
    def _flushed(self) -> str:
        return os.path.join(self._run.directory, layout.FLUSHED)

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake, 512):
                pass

    def _read(self) -> None:
        """Take in what is new: processes, calls, deaths."""
        with self._lock:
            self._journal.read()
            for pid, start_ticks in self._journal.new_processes():
                self._processes.add(pid, start_ticks)
            self._processes.remove_dead()
            changed = self._totals.read()
            changed |= self._totals.retire(self._processes.alive)
            for outlet in self._outlets:
                outlet.changed(changed)

    def _over(self) -> bool:
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
            wanted = set(self._totals.series) if outlet.cumulative or outlet.idle else changed
            for name in sorted(wanted):
                if outlet.name in self._plan.targets[self._totals.series[name].target].notifiers:
                    samples += self._news(outlet, name, taken, totals, now)
            statuses = self._journal.targets() if outlet.cumulative else []
            troubles = self._troubles() if outlet.cumulative else []
        samples += self._self_samples(outlet, now, bool(samples))
        batch = Batch(samples, start, now, statuses, troubles, final)
        return Pending(batch, {} if outlet.cumulative else totals)

    def _troubles(self) -> list[str]:
        lost = [trouble for outlet in self._outlets for trouble in outlet.troubles()]
        return [*self._journal.troubles(), *self._unusable, *lost]

    def _news(
        self,
        outlet: Outlet,
        name: str,
        taken: Mapping[str, Counts],
        totals: dict[str, Counts],
        timestamp: float,
    ) -> list[Sample]:
        """The samples of one series since `taken`; what they lead up to goes into `totals`."""
        total = self._totals.series[name]
        by_slot = total.counts_by_slot() if outlet.per_process else {None: total.counts()}
        samples = []
        for slot, counts in by_slot.items():
            key = name if slot is None else f"{name}#{slot}"
            totals[key] = counts
            activity = counts.since(NOTHING if outlet.cumulative else taken.get(key, NOTHING))
            for metric in self._plan.targets[total.target].metrics:
                for suffix, kind, value in self._metric(metric).measurements(activity):
                    if outlet.idle or _is_news(kind, value):
                        full = f"{name}.{suffix}"
                        samples.append(Sample(full, kind, value, timestamp, name, suffix, slot))
        return samples

    def _metric(self, name: str) -> Metric:
        if name not in self._metrics:
            self._metrics[name] = metrics.load(name)()
        return self._metrics[name]

    def _self_samples(self, outlet: Outlet, now: float, beside_others: bool) -> list[Sample]:
        """What tach has to say of itself: only beside other news, else it would never be silent."""
        if not beside_others or outlet.cumulative:
            return []
        series = self._totals.prefix(self._run.main_pid) + SELF
        return [
            Sample(f"{series}.{name}", "counter", count, now, series, name)
            for name, count in sorted(outlet.self_metrics().items())
        ]


def _is_news(kind: Kind, value: float | Histogram) -> bool:
    if isinstance(value, Histogram):
        return bool(value.blocks)
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
