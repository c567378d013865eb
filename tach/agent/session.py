"""One measured process: from the interpreter's start to its exit, across forks."""

from __future__ import annotations

import atexit
import posix  # not os: eventlet and gevent replace functions there
import sys

from tach import layout
from tach.agent import clock, respawn
from tach.agent.files import SegmentFile
from tach.agent.hook import TargetFinder, is_pattern
from tach.agent.journal import Journal
from tach.agent.plan_log import PlanLog
from tach.agent.targets import MAIN, Targets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from tach.agent.changes import Changes
    from tach.agent.early import Holder
    from tach.agent.meters import Meters, Target
    from tach.agent.notifications import Notifications
    from tach.agent.patches import Patches
    from tach.agent.patching import Patch, Patcher
    from tach.agent.plan_log import Record
    from tach.agent.propagation import Propagation
    from tach.agent.runtime import Runtime
    from tach.agent.segment import Segment

_TROUBLES = 100  # distinct ones that a process tells
_CANDIDATES = 200  # names passed on for the sender to find the nearest among
_POLL_NS = 2_000_000
_LOOK_NS = 100_000_000
_HUBS = ("eventlet.hubs.hub", "gevent.hub")
_RUNTIMES = (*_HUBS, "asyncio.base_events")
_DEBUG_LIMIT = 1 << 20  # bytes of what the metric `debug` tells in one process


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
        self._told: set[str] = set()
        self._journal = Journal(run_dir)
        self._segment_file = SegmentFile(run_dir, _start_ticks())
        self._segment: Segment | None = None
        self._patcher: Patcher | None = None
        self._patches: Patches | None = None
        self._meters: Meters | None = None
        self._debug_room = _DEBUG_LIMIT
        self._seen: set[str] = set()
        self._patched: dict[int, set[str]] = {}  # by index of the target: which functions
        # none unless a target wants to know of greenthreads that are switched out
        self._hubs = _HUBS if self._targets.want("yielding") else ()
        self._undo_hubs: list[Callable[[], None]] = []
        self._runtime_plan: dict[str, Any] | None = plan.get("runtime")
        self._runtime: Runtime | None = None
        self._watched = _RUNTIMES if self._runtime_plan else ()
        self._propagation: Propagation | None = None
        if plan.get("propagate"):
            from tach.agent.propagation import Propagation

            self._propagation = Propagation(self._trouble)
        self._finder = TargetFinder(self._names(), self._executed, self._is_wanted, log.grown)
        self._pid = posix.getpid()
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
        if self._patches is not None:
            self._patches.undo()
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
        self._journal.append(
            "process",
            self._pid,
            self._segment_file.start_ticks,
            posix.getppid(),
            version,
            _program(),
        )
        if self._generation:
            self._journal.append("plan", self._pid, self._generation)

    def _before_fork(self) -> None:
        if self._changes is not None:
            self._changes.before_fork()

    def _after_fork(self) -> None:
        if not self._active:
            return
        try:
            self._pid = posix.getpid()
            if self._changes is not None:
                self._changes.after_fork()
            start_ticks = _start_ticks()
            self._segment_file.after_fork(start_ticks)
            if self._segment is not None:
                self._segment.after_fork()
            if self._meters is not None:
                self._meters.after_fork()
            if self._notifications is not None:
                self._notifications.after_fork(start_ticks)
            if self._runtime is not None:
                self._runtime.after_fork()
            self._register()
        except Exception:  # noqa: BLE001 - an exception here would be printed by the interpreter
            self._trouble("could not start anew after a fork")

    def _segment_writer(self) -> Segment:
        if self._segment is None:
            from tach.agent.segment import Segment

            self._segment = Segment(self._segment_file, _program(), _watch_news)
        return self._segment

    def _notifications_writer(self) -> Notifications:
        if self._notifications is None:
            from tach.agent.notifications import Notifications

            assert self._event_plan is not None
            self._notifications = Notifications(
                self._event_plan, self._segment_file.start_ticks, self._trouble
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

        made = Changes(self._log, self._note, self._apply, self._trouble)
        # No call from the test to the store: of two threads here at once, both take the first one.
        if self._changes is None:
            self._changes = made
            made.listen()

    def _apply(self) -> None:
        """Measure what the targets say now, and no more what they do not."""
        wanted = self._by_index()
        patches = self._patches_()
        patches.let_go(wanted)
        self._patched = {
            index: each
            for index, each in self._patched.items()
            if index in wanted and wanted[index] == self._settled.get(index)
        }
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
        if patches:
            patches.settle(self._patcher_(), self._trouble)
        self._settled = wanted
        self._journal.append("plan", self._pid, self._generation)

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
        self._patch_module(names, module, is_whole, fresh)
        if is_whole:
            self._seen.update(names)
            self._report_patterns(names, fresh)

    def _executed(self, name: str, module: ModuleType) -> None:
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
        self._report_patterns((name,))

    def _wrap_hub(self, name: str, module: ModuleType) -> None:
        from tach.agent import green

        undo = green.wrap_hub(name, module)
        if undo is not None:
            self._undo_hubs.append(undo)

    def _patch_module(
        self,
        names: tuple[str, ...],
        module: ModuleType,
        is_whole: bool = True,
        targets: Targets | None = None,
    ) -> None:
        """Patch the module, which targets may call by each of the names.

        What a target misses in it is reported only if it `is_whole`.
        """
        from tach.agent import patching

        functions = [
            each
            for name in names
            for target, pattern in (targets or self._targets).of(name)
            for each in self._functions(target, pattern, name, module)
            if is_whole or patching.is_there(module, each[1])
        ]
        # Base classes first: the probe of an inherited method goes around that of the base's.
        functions.sort(key=lambda each: patching.depth(module, each[1]))
        held = self._held(module, {qualname for _, qualname, _ in functions})
        for target, qualname, label in functions:
            patch = self._patch(module, target, qualname, label)
            if patch is not None and held.get(qualname):
                self._tell_early(target, patch, held[qualname])

    def _watch_main(self, at_start: bool) -> None:
        """See to the functions of the main module, which is run and not imported."""
        names = self._main_names = _main_names() if at_start else _names_of(sys.modules.get(MAIN))
        targets = [target for name in names for target, _ in self._targets.of(name)]
        if not targets:
            return
        if not at_start:
            self._main_over(sys.modules[MAIN])
            return
        from tach.agent.main_module import MainModule

        firsts = {target["qualname"].partition(".")[0] for target in targets}
        needed = frozenset(each for each in firsts if not is_pattern(each))
        MainModule(needed, needed != firsts, self._main_defined, self._main_over).watch()

    def _main_defined(self, module: ModuleType) -> None:
        spec = getattr(module, "__spec__", None)
        if spec is not None:  # only now is it known whether -m was given a package
            self._main_names = (MAIN, spec.name)
        self._patch_module(self._main_names, module, is_whole=False)

    def _main_over(self, module: ModuleType) -> None:
        self._seen.update(self._main_names)
        self._patch_module(self._main_names, module)
        self._report_patterns(self._main_names)

    def _held(self, module: ModuleType, qualnames: set[str]) -> dict[str, list[Holder]]:
        """Who had taken functions of the module before they are measured."""
        from tach.agent.early import Suspects

        try:
            suspects = Suspects()
            for qualname in qualnames:
                suspects.look(module, qualname)
            return suspects.holders()
        except Exception as error:  # noqa: BLE001 - it looks at objects of the program
            self._trouble(f"early references: {type(error).__name__}")
            return {}

    def _tell_early(self, target: Target, patch: Patch, holders: list[Holder]) -> None:
        from tach.agent.early import in_words

        left = list(holders)
        for each in holders:
            # In its own module it stays one and the same by all its names, measured or not.
            wanted = each.home or (each.safe and target.get("rebind"))
            if wanted and patch.rebind(each):
                left.remove(each)
        if left:
            index = target["index"]
            patch.early = in_words(left)
            self._journal.append("early", self._pid, index, patch.found.name, patch.early)

    def _functions(
        self, target: Target, pattern: str, name: str, module: ModuleType
    ) -> list[tuple[Target, str, str]]:
        """The functions of the module that the target means: (target, qualname, label)."""
        from tach.agent import patching
        from tach.agent.meters import label_of

        qualname = target["qualname"]
        if not is_pattern(qualname) and not is_pattern(pattern):
            return [(target, qualname, "")]
        if is_pattern(qualname):
            names = patching.expand(module, qualname, target.get("exclude", ()))
        else:  # every module that has imported it has the name too
            names = [qualname] if patching.defines(module, qualname) else []
        return [(target, each, label_of(pattern, name, qualname, each)) for each in names]

    def _patch(self, module: ModuleType, target: Target, qualname: str, label: str) -> Patch | None:
        from tach.agent import patching

        index = target["index"]
        try:
            patch, is_new = self._put_in_place(module, target, qualname, label)
        except patching.CannotPatch as error:
            if not label:
                candidates = " ".join(error.candidates[:_CANDIDATES])
                self._report(index, error.state, error.reason, candidates)
            return None
        except Exception as error:  # noqa: BLE001 - must not fail the import
            self._report(index, "refused", f"{type(error).__name__}: {error}")
            return None
        if patch is not None:
            self._patched.setdefault(index, set()).add(f"{module.__name__}:{qualname}")
        if not label:
            self._report(index, "patched")
        return patch if is_new else None

    def _put_in_place(
        self, module: ModuleType, target: Target, qualname: str, label: str
    ) -> tuple[Patch | None, bool]:
        """What measures the function, if it was not measured so already, and whether it is new.

        Raises CannotPatch. A probe that leaves is turned to what is wanted now: no call is missed.
        """
        from tach.agent import patching

        patches, patcher = self._patches_(), self._patcher_()
        meter = self._meters_().meter(target, label)
        patch = patches.leaving_at(patching.find(module, qualname), target)
        if patch is None:
            patch = patcher.patch(module, qualname, meter)
            if patch is not None:
                patch.target = target
                patches.add(patch)
            return patch, True
        if patch.meter is not meter:
            patcher.turn(patch, meter)
        patch.target, patch.is_leaving = target, False
        if patch.early:
            self._journal.append("early", self._pid, target["index"], qualname, patch.early)
        return patch, False

    def _patches_(self) -> Patches:
        if self._patches is None:
            from tach.agent.patches import Patches

            self._patches = Patches()
        return self._patches

    def _patcher_(self) -> Patcher:
        if self._patcher is None:
            from tach.agent import patching, proxy

            self._patcher = patching.Patcher(proxy.object_proxy())
            # before there is a call that might have to import it
            self._prepare_for_changes()
        return self._patcher

    def _meters_(self) -> Meters:
        if self._meters is None:
            from tach.agent.meters import Meters

            self._meters = Meters(
                self._segment_writer(), self._notifications_writer, self._trouble, self._tell_debug
            )
        return self._meters

    def _runtime_(self) -> Runtime:
        if self._runtime is None:
            from tach.agent.runtime import Runtime

            assert self._runtime_plan is not None
            self._runtime = Runtime(
                self._segment_writer(), self._runtime_plan, self._trouble, self._tell_blocked
            )
        return self._runtime

    def _tell_blocked(self, nanoseconds: int, stack: str) -> None:
        self._journal.append("blocked", self._pid, nanoseconds, stack)

    def _report_patterns(self, names: tuple[str, ...], targets: Targets | None = None) -> None:
        """For the targets that mean several functions: how many it is by now."""
        found = [(name, *each) for name in names for each in (targets or self._targets).of(name)]
        for name, target, pattern in found:
            if is_pattern(target["qualname"]) or is_pattern(pattern):
                index = target["index"]
                count = len(self._patched.get(index, ()))
                if count:
                    functions = "1 function" if count == 1 else f"{count} functions"
                    self._report(index, "patched", functions)
                elif not is_pattern(pattern):
                    reason = f"no {target['qualname']!r} among the functions of module {name}"
                    self._report(index, "missing", reason)

    def _tell_debug(self, text: str) -> None:
        room, self._debug_room = self._debug_room, self._debug_room - len(text)
        if self._debug_room > 0:
            self._journal.append("debug", self._pid, text)
        elif room > 0:
            self._journal.append("debug", self._pid, "the rest is not logged: it was 1 MiB")

    def _report(self, index: int, state: str, reason: str = "", candidates: str = "") -> None:
        self._journal.append("target", self._pid, index, state, reason, candidates)

    def _trouble(self, text: str) -> None:
        if text not in self._told and len(self._told) < _TROUBLES:
            self._told.add(text)
            self._journal.append("trouble", self._pid, text)

    def _at_exit(self) -> None:
        if posix.getpid() != self._main_pid or not self._active:
            return
        try:
            self._name_candidates()
            self._journal.append("closing", self._pid)
            self._wait_for_sender()
        except Exception:  # noqa: BLE001 - the program is over, and its exit status its own
            self._trouble("could not wait for the sender")

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
                self._report(target["index"], "waiting", "", candidates)

    def _report_unseen(self, name: str, targets: list[Target]) -> None:
        if name not in self._seen and name not in self._main_names:
            for target in targets:
                self._report(
                    target["index"], "refused", f"module {name!r} came past the import system"
                )

    def _wait_for_sender(self) -> None:
        flushed = f"{self._run_dir}/{layout.FLUSHED}"
        now = look_at = clock.monotonic_ns()
        give_up = now + self._exit_timeout_ns
        while True:
            if now >= look_at:  # again and again: it may be killed while it is waited for
                respawn.ensure_sender(self._run_dir)
                respawn.wake_sender(self._run_dir)
                look_at = now + _LOOK_NS
            over = posix.access(flushed, posix.F_OK) or not posix.access(self._run_dir, posix.F_OK)
            if over or now >= give_up:
                return
            clock.sleep(_POLL_NS / 1e9)
            now = clock.monotonic_ns()


def _watch_news(header: memoryview) -> None:
    from tach.agent import news

    news.watch(header[layout.H_NEWS : layout.H_NEWS + 1])


def _is_executing(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _program_modules() -> list[str]:
    standard = sys.stdlib_module_names
    return [
        name
        for name in list(sys.modules)
        if "." not in name and name not in standard and not name.startswith("_") and name != "tach"
    ][:_CANDIDATES]


def _main_names() -> tuple[str, ...]:
    """What targets may call the main module: `__main__`, and the module or the file that is run."""
    argument = sys.argv[0] if sys.argv else ""
    if argument == "-m":
        module = sys.orig_argv[len(sys.orig_argv) - len(sys.argv)]
        module = module.partition("m")[2] if module.startswith("-") else module
        return (MAIN, module, f"{module}.__main__")
    if argument.endswith(".py"):
        return (MAIN, argument.rpartition("/")[2].removesuffix(".py"))
    return (MAIN,)


def _names_of(main: ModuleType | None) -> tuple[str, ...]:
    """What targets may call the main module that runs: as `_main_names`, by what it says itself."""
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return (MAIN, spec.name)
    file = getattr(main, "__file__", None) or ""
    if file.endswith(".py"):
        return (MAIN, file.rpartition("/")[2].removesuffix(".py"))
    return (MAIN,)


def _program() -> str:
    arguments = sys.orig_argv
    return " ".join(arguments[:4]) if arguments else sys.executable


def _start_ticks() -> int:
    """When this process started, in the kernel's ticks since boot; 0 where that is not known."""
    try:
        file = posix.open("/proc/self/stat", posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            text = posix.read(file, 1024)
        finally:
            posix.close(file)
        return int(text.rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


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
        text = "a sub-interpreter of the process runs unmeasured"
        Journal(run_dir).append("trouble", posix.getpid(), text)
        return None
    active = session = Session(run_dir, log, plan, changes)
    session.start(at_start)
    return session
