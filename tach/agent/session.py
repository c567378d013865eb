"""One measured process: from the interpreter's start to its exit, across forks."""

from __future__ import annotations

import atexit
import posix  # not os: eventlet and gevent replace functions there
import sys

from tach import agent, layout
from tach.agent import respawn
from tach.agent.files import SegmentFile, start_ticks
from tach.agent.hook import TargetFinder, is_pattern
from tach.agent.journal import Journal
from tach.agent.plan_log import PlanLog
from tach.agent.targets import MAIN, Targets, names_of, names_of_main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from tach.agent.changes import Changes
    from tach.agent.instrumentation import Instrumentation
    from tach.agent.meters import Meters, Target
    from tach.agent.notifications import Notifications
    from tach.agent.plan_log import Record
    from tach.agent.propagation import Propagation
    from tach.agent.runtime import Runtime
    from tach.agent.segment import Segment

_CANDIDATES = 200  # names passed on for the sender to find the nearest among
_ROOM = 10  # calls within each other
_HUBS = ("eventlet.hubs.hub", "gevent.hub")
_RUNTIMES = (*_HUBS, "asyncio.base_events")


class Session:
    """Measures this process for the run in `run_dir`, by the plan that lies there."""

    def __init__(self, run_dir: str, log: PlanLog, plan: Record, changes: list[Record]) -> None:
        self._run_dir = run_dir
        self._log = log
        self._main_pid: int = plan["main_pid"]
        self._exit_timeout_ns = 0
        self._targets = Targets(plan["targets"])
        self._event_plan: dict[str, Any] | None = None
        self._generation = 0
        for each in (plan, *changes):
            self._note(each)
        self._settled = self._by_index()  # the targets that it measures by now
        self._changes: Changes | None = None
        self._notifications: Notifications | None = None
        self._journal = Journal(run_dir)
        self._segment_file = SegmentFile(run_dir, start_ticks())
        self._segment: Segment | None = None
        self._instrumentation: Instrumentation | None = None
        self._seen: set[str] = set()
        # none unless a target wants to know of greenthreads that are switched out
        self._hubs = _HUBS if self._targets.want("yielding") else ()
        self._undo_hubs: list[Callable[[], None]] = []
        self._runtime_plan: dict[str, Any] | None = plan.get("runtime")
        self._runtime: Runtime | None = None
        self._watched = _RUNTIMES if self._runtime_plan else ()
        self._propagation: Propagation | None = None
        if plan.get("propagate"):
            from tach.agent.propagation import Propagation

            self._propagation = Propagation(self._journal.tell_trouble)
        self._finder = TargetFinder(self._names(), self._executed, self._is_wanted, log.grown)
        self._active = True

    @property
    def _others(self) -> tuple[str, ...]:
        """The modules that are watched beside those of the targets."""
        spawning = self._propagation.modules if self._propagation is not None else ()
        return (*self._watched, *self._hubs, *spawning)

    def _names(self) -> frozenset[str]:
        return frozenset([*self._targets.named, *self._others])

    def _is_wanted(self, module: str) -> bool:
        return self._targets.is_wanted(module)

    def start(self, at_start: bool) -> None:
        """Watch imports from now on, and patch what has been imported already.

        `at_start` says that the interpreter is starting: the main module has not run yet.
        """
        self._register()
        respawn.ensure_sender(self._run_dir)
        sys.meta_path.insert(0, self._finder)
        self._watch_main(at_start)
        if self._runtime_plan is not None:
            self._runtime_().start()
        for name in (*self._targets.among(list(sys.modules)), *self._others):
            module = sys.modules.get(name)
            if module is not None and _is_executing(module):
                self._finder.watch(self._names(), True)
            elif module is not None:
                self._executed(name, module)
        posix.register_at_fork(before=self._before_fork, after_in_child=self._after_fork)
        atexit.register(self._at_exit)

    def stop(self) -> None:
        """Take every probe out again and stop watching."""
        global active
        active = None
        self._active = False
        if self._changes is not None:
            self._changes.stop()
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        if self._instrumentation is not None:
            self._instrumentation.undo()
        if self._runtime is not None:
            self._runtime.stop()
        if self._propagation is not None:
            self._propagation.stop()
        while self._undo_hubs:
            self._undo_hubs.pop()()
        atexit.unregister(self._at_exit)

    def _register(self) -> None:
        if posix.geteuid() == 0:
            # Services started by root often give that up before their first call.
            self._journal.keep_open()
            self._log.keep_open()
            self._segment_file.reserve()
            if self._event_plan is not None:
                self._notifications_writer().reserve()
        version = f"{sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}"
        self._journal.tell(
            "process", self._segment_file.start_ticks, posix.getppid(), version, _program()
        )
        if self._generation:
            self._journal.tell("plan", self._generation)

    def _before_fork(self) -> None:
        if self._changes is not None:
            self._changes.before_fork()

    def _after_fork(self) -> None:
        if not self._active:
            return
        try:
            self._journal.after_fork()
            if self._changes is not None:
                self._changes.after_fork()
            self._segment_file.after_fork(start_ticks())
            if self._segment is not None:
                self._segment.after_fork()
            if self._instrumentation is not None:
                self._instrumentation.after_fork()
            if self._notifications is not None:
                self._notifications.after_fork(self._segment_file.start_ticks)
            if self._runtime is not None:
                self._runtime.after_fork()
            self._register()
        except Exception:  # noqa: BLE001 - an exception here would be printed by the interpreter
            self._journal.tell_trouble("could not start anew after a fork")

    def _segment_writer(self) -> Segment:
        if self._segment is None:
            # all that it needs: the collector may count first, in the middle of an import
            from tach.agent import news
            from tach.agent.segment import Segment

            self._segment = Segment(self._segment_file, _program(), news.watch_header)
        return self._segment

    def _notifications_writer(self) -> Notifications:
        if self._notifications is None:
            from tach.agent.notifications import Notifications

            assert self._event_plan is not None
            self._notifications = Notifications(
                self._event_plan, self._segment_file.start_ticks, self._journal.tell_trouble
            )
        return self._notifications

    def _note(self, record: Record) -> None:
        """Take in what the plan says, or a change of it."""
        if "removed" in record:
            self._targets = self._targets.changed(record)
        self._generation = record.get("generation", 0)
        self._exit_timeout_ns = int(record["exit_timeout"] * 1e9)
        self._event_plan = self._event_plan or record.get("events")

    def _by_index(self) -> dict[int, Target]:
        return {target["index"]: target for target in self._targets}

    def _take_up(self) -> bool:
        """Take up what has been changed in the plan; whether anything was."""
        if self._changes is None:
            try:
                self._prepare_for_changes()
            except ImportError:  # what this has interrupted is about to import it
                return False
        return self._changes is not None and self._changes.take_up()

    def _prepare_for_changes(self) -> None:
        from tach.agent.changes import Changes

        made = Changes(self._log, self._note, self._apply, self._journal.tell_trouble)
        # No call from the test to the store: of two threads here at once, both take the first one.
        if self._changes is None:
            self._changes = made
            made.listen()

    def _apply(self) -> None:
        """Measure what the targets say now, and no more what they do not."""
        wanted, instrumentation = self._by_index(), self._instrumentation_()
        instrumentation.let_go(wanted, self._settled)
        fresh = Targets(
            {
                module: new
                for module, targets in self._targets.by_module.items()
                if (new := [each for each in targets if self._is_fresh(each)])
            }
        )
        if not self._hubs and self._targets.want("yielding"):
            self._hubs = _HUBS
        executing = self._apply_to_modules(fresh)
        self._finder.watch(self._names(), executing)
        instrumentation.settle()
        self._settled = wanted
        self._journal.tell("plan", self._generation)

    def _is_fresh(self, target: Target) -> bool:
        return self._settled.get(target["index"]) != target

    def _apply_to_modules(self, fresh: Targets) -> bool:
        """Patch what is new in the modules that are there; whether some are being executed."""
        executing = False
        for name in self._hubs:
            if name in sys.modules:
                self._wrap_hub(name, sys.modules[name])
        for name in fresh.among(list(sys.modules)):
            module = sys.modules.get(name)
            if module is not None:
                whole = not _is_executing(module)
                executing = executing or not whole
                self._apply_to((name,), module, fresh, whole)
        main = sys.modules.get(MAIN)
        spec = getattr(main, "__spec__", None)
        names = self._main_names if spec is None else (MAIN, spec.name)
        if main is not None and any(fresh.of(name) for name in names):
            self._apply_to(names, main, fresh, True)
        return executing

    def _apply_to(
        self, names: tuple[str, ...], module: ModuleType, fresh: Targets, is_whole: bool
    ) -> None:
        self._instrumentation_().patch_module(names, module, fresh, is_whole)
        if is_whole:
            self._seen.update(names)
            self._instrumentation_().tell_patterns(names, fresh)

    def _safely(self, action: Callable[..., None], name: str, *args: Any) -> None:
        """Do what is to be done within an import. Raises only what is the program's.

        Signals wait meanwhile: what a handler raises is neither lost nor does it leave half of it.
        """
        try:
            from tach.agent import signals  # not for the start of every program

            signals.waiting(_ROOM, action, name, *args)
        except Exception as error:
            if agent.is_of_the_program(error):
                raise
            self._tell_failure(name, error)

    def _tell_failure(self, module: str, error: Exception) -> None:
        self._seen.add(module)
        reason = f"{type(error).__name__}: {error}"
        self._journal.tell_trouble(f"module {module} is not measured: {reason}")
        for target, pattern in self._targets.of(module):
            if not is_pattern(target["qualname"]) and not is_pattern(pattern):
                self._journal.tell_target(target["index"], "refused", reason)

    def _executed(self, name: str, module: ModuleType) -> None:
        self._safely(self._take_in, name, module)

    def _take_in(self, name: str, module: ModuleType) -> None:
        """Measure what is to be measured in a module that has just been executed."""
        if self._active and self._log.grown():
            self._take_up()
        if name not in self._others and not self._targets.of(name):
            return  # it was watched for the sake of the change alone
        if name in self._hubs:
            self._wrap_hub(name, module)
        if name in self._watched:
            self._runtime_().imported(name, module)
        if self._propagation is not None:
            self._propagation.executed(name, module)
        self._seen.add(name)
        self._patch_module((name,), module)

    def _wrap_hub(self, name: str, module: ModuleType) -> None:
        from tach.agent import green

        undo = green.wrap_hub(name, module)
        if undo is not None:
            self._undo_hubs.append(undo)

    def _patch_module(self, names: tuple[str, ...], module: ModuleType) -> None:
        if any(self._targets.of(name) for name in names):
            instrumentation = self._instrumentation_()
            instrumentation.patch_module(names, module, self._targets)
            instrumentation.tell_patterns(names, self._targets)

    def _watch_main(self, at_start: bool) -> None:
        """See to the functions of the main module, which is run and not imported."""
        main = sys.modules.get(MAIN)
        self._main_names = names_of_main() if at_start else names_of(main)
        wanted = [target for name in self._main_names for target, _ in self._targets.of(name)]
        if not wanted:
            return
        if not at_start:
            self._main_over(sys.modules[MAIN])
            return
        from tach.agent.main_module import MainModule

        firsts = {target["qualname"].partition(".")[0] for target in wanted}
        needed = frozenset(each for each in firsts if not is_pattern(each))
        MainModule(needed, needed != firsts, self._main_defined, self._main_over).watch()

    def _main_defined(self, module: ModuleType) -> None:
        self._safely(self._take_in_main_so_far, MAIN, module)

    def _take_in_main_so_far(self, _name: str, module: ModuleType) -> None:
        spec = getattr(module, "__spec__", None)
        if spec is not None:  # only now is it known whether -m was given a package
            self._main_names = (MAIN, spec.name)
        self._instrumentation_().patch_module(
            self._main_names, module, self._targets, is_whole=False
        )

    def _main_over(self, module: ModuleType) -> None:
        self._safely(self._take_in_main, MAIN, module)

    def _take_in_main(self, _name: str, module: ModuleType) -> None:
        self._seen.update(self._main_names)
        self._patch_module(self._main_names, module)

    def _instrumentation_(self) -> Instrumentation:
        if self._instrumentation is None:
            from tach.agent.instrumentation import Instrumentation

            # before there is a call that might have to import what takes up changes
            before_first = self._prepare_for_changes
            self._instrumentation = Instrumentation(self._journal, self._meters, before_first)
        return self._instrumentation

    def _meters(self) -> Meters:
        from tach.agent.meters import Meters

        return Meters(
            self._segment_writer(),
            self._notifications_writer,
            self._journal.tell_trouble,
            self._journal.tell_debug,
        )

    def _runtime_(self) -> Runtime:
        if self._runtime is None:
            from tach.agent.runtime import Runtime

            assert self._runtime_plan is not None
            self._runtime = Runtime(
                self._segment_writer(),
                self._runtime_plan,
                self._journal.tell_trouble,
                self._journal.tell_blocked,
            )
        return self._runtime

    def _at_exit(self) -> None:
        if posix.getpid() == self._main_pid and self._active:
            try:
                self._name_candidates()
                self._journal.tell("closing")
                respawn.wait_for_sender(self._run_dir, self._exit_timeout_ns)
            except BaseException:  # noqa: BLE001 - it is over: also for who interrupts the wait
                self._journal.tell_trouble("could not wait for the sender")
        if self._instrumentation is not None:
            self._instrumentation.forget()

    def _name_candidates(self) -> None:
        """For targets whose module never came: what came instead, for the sender's suggestion."""
        for name, targets in self._targets.named.items():
            if name in sys.modules:
                self._report_unseen(name, targets)
                continue
            package = name.partition(".")[0]
            near = [each for each in list(sys.modules) if each.partition(".")[0] == package]
            candidates = " ".join(near[:_CANDIDATES] or _program_modules())
            for target in targets:
                self._journal.tell_target(target["index"], "waiting", "", candidates)

    def _report_unseen(self, name: str, targets: list[Target]) -> None:
        if name not in self._seen and name not in self._main_names:
            for target in targets:
                reason = f"module {name!r} came past the import system"
                self._journal.tell_target(target["index"], "refused", reason)


def _is_executing(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _program_modules() -> list[str]:
    standard = sys.stdlib_module_names
    return [
        name
        for name in list(sys.modules)
        if "." not in name and name not in standard and not name.startswith("_") and name != "tach"
    ][:_CANDIDATES]


def _program() -> str:
    arguments = sys.orig_argv
    return " ".join(arguments[:4]) if arguments else sys.executable


def _is_main_interpreter() -> bool:
    """Whether this is the interpreter that the process began with.

    Others share its threads, its pid and its end, but neither its modules nor its fork hooks.
    """
    import _thread

    if hasattr(_thread, "_is_main_interpreter"):  # since Python 3.12
        return bool(_thread._is_main_interpreter())
    try:
        from _xxsubinterpreters import (  # type: ignore[import-not-found]
            get_current,
            get_main,
        )
    except ImportError:
        return True
    return bool(get_current() == get_main())


# the session of this process, if it has one
active: Session | None = None


def start(run_dir: str, at_start: bool = True) -> Session | None:
    """Measure this process for the run in `run_dir`; None where that run is not for it.

    Never raises. `at_start` says that the interpreter starts.
    """
    try:
        return _begin(run_dir, at_start)
    except Exception as error:  # noqa: BLE001 - the program must start as it would without tach
        if b"TACH_DEBUG" in posix.environ:
            posix.write(2, f"tach: {type(error).__name__}: {error}\n".encode())
        return None


def attach(run_dir: str) -> str:
    """Measure this process, which has long begun; why that cannot be, nothing if it is.

    Raises only what is the program's.
    """
    try:
        if _begin(run_dir, at_start=False) is not None:
            return ""
    except Exception as error:  # noqa: BLE001 - it is told where that can be read
        _abandon()
        return f"{type(error).__name__}: {error}"
    except BaseException:
        _abandon()
        raise
    return "it runs in a sub-interpreter, or has another version of tach"


def _abandon() -> None:
    if active is not None:
        active.stop()


def _begin(run_dir: str, at_start: bool) -> Session | None:
    global active
    log = PlanLog(run_dir)
    plan, *changes = log.read()
    log.taken()
    if plan["layout"] != layout.VERSION:
        return None
    if not _is_main_interpreter():
        Journal(run_dir).tell_trouble("a sub-interpreter of the process runs unmeasured")
        return None
    active = session = Session(run_dir, log, plan, changes)
    session.start(at_start)
    return session
