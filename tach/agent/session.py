"""One measured process: from the interpreter's start to its exit, across forks."""

from __future__ import annotations

import atexit
import marshal
import posix  # not os: eventlet and gevent replace functions there
import sys

from tach import layout
from tach.agent import clock, respawn
from tach.agent.hook import TargetFinder
from tach.agent.journal import Journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from tach.agent.notifications import Notifications
    from tach.agent.patching import Patch
    from tach.agent.recorder import Recorder
    from tach.agent.segment import Segment

    Target = tuple[int, str, tuple[str, ...], dict[str, Any] | None]

_TROUBLES = 100  # distinct ones that a process tells
_CANDIDATES = 200  # names passed on for the sender to find the nearest among
_POLL_NS = 2_000_000


class Session:
    """Measures this process for the run in `run_dir`, by the plan that lies there."""

    def __init__(self, run_dir: str, plan: dict[str, Any]) -> None:
        self._run_dir = run_dir
        self._main_pid: int = plan["main_pid"]
        self._exit_timeout_ns = int(plan["exit_timeout"] * 1e9)
        # module -> [(index, qualname, ignored exceptions, plan of its events or None)]
        self._targets: dict[str, list[Target]] = plan["targets"]
        self._event_plan: dict[str, Any] | None = plan.get("events")
        self._notifications: Notifications | None = None
        self._told: set[str] = set()
        self._journal = Journal(run_dir)
        self._segment: Segment | None = None
        self._proxy: type[Any] | None = None
        self._seen: set[str] = set()
        self._recorders: dict[int, Recorder] = {}
        self._patches: list[Patch] = []
        self._finder = TargetFinder(frozenset(self._targets), self._executed)
        self._pid = posix.getpid()
        self._active = True

    def start(self) -> None:
        """Watch imports from now on, and patch what has been imported already."""
        self._register()
        respawn.ensure_sender(self._run_dir)
        sys.meta_path.insert(0, self._finder)
        for name in self._targets:
            module = sys.modules.get(name)
            spec = getattr(module, "__spec__", None)
            if module is not None and not getattr(spec, "_initializing", False):
                self._executed(name, module)
        posix.register_at_fork(after_in_child=self._after_fork)
        atexit.register(self._at_exit)

    def stop(self) -> None:
        """Take every probe out again and stop watching."""
        global active
        active = None
        self._active = False
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        while self._patches:
            self._patches.pop().undo()
        atexit.unregister(self._at_exit)

    def _register(self) -> None:
        if posix.geteuid() == 0:
            # Services started by root often give that up before their first call.
            self._journal.keep_open()
            self._segment_writer().reserve()
            if self._event_plan is not None:
                self._notifications_writer().reserve()
        version = f"{sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}"
        self._journal.append(
            "process", self._pid, _start_ticks(), posix.getppid(), version, _program()
        )

    def _after_fork(self) -> None:
        if not self._active:
            return
        try:
            self._pid = posix.getpid()
            if self._segment is not None:
                self._segment.after_fork(_start_ticks())
            for recorder in self._recorders.values():
                recorder.after_fork()
            if self._notifications is not None:
                self._notifications.after_fork(_start_ticks())
            self._register()
        except Exception:  # noqa: BLE001 - an exception here would be printed by the interpreter
            self._trouble("could not start anew after a fork")

    def _segment_writer(self) -> Segment:
        if self._segment is None:
            from tach.agent.segment import Segment

            self._segment = Segment(self._run_dir, _program(), _start_ticks())
        return self._segment

    def _notifications_writer(self) -> Notifications:
        if self._notifications is None:
            from tach.agent.notifications import Notifications

            assert self._event_plan is not None
            self._notifications = Notifications(self._event_plan, _start_ticks(), self._trouble)
        return self._notifications

    def _executed(self, name: str, module: ModuleType) -> None:
        from tach.agent import patching

        self._seen.add(name)
        targets = self._targets[name]
        # Base classes first: the probe of an inherited method goes around that of the base's.
        for target in sorted(targets, key=lambda each: patching.depth(module, each[1])):
            index = target[0]
            try:
                self._patch(module, *target)
            except Exception as error:  # noqa: BLE001 - must not fail the import
                self._report(index, "refused", f"{type(error).__name__}: {error}")

    def _patch(
        self,
        module: ModuleType,
        index: int,
        qualname: str,
        ignore: tuple[str, ...],
        event: dict[str, Any] | None,
    ) -> None:
        from tach.agent import patching, proxy
        from tach.agent.recorder import Recorder

        if self._proxy is None:
            self._proxy = proxy.object_proxy()
        recorder = self._recorders.get(index)
        if recorder is None:
            recorder = Recorder(self._segment_writer(), index, ignore, self._trouble)
            self._recorders[index] = recorder
        try:
            make_events = self._notifications_writer().maker(event) if event else None
            patch = patching.patch(self._proxy, module, qualname, recorder, make_events)
        except patching.CannotPatch as error:
            candidates = " ".join(error.candidates[:_CANDIDATES])
            self._report(index, error.state, error.reason, candidates)
            return
        if patch is not None:
            self._patches.append(patch)
        self._report(index, "patched")

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
        for name, targets in self._targets.items():
            if name in sys.modules:
                self._report_unseen(name, targets)
                continue
            package = name.partition(".")[0]
            near = [each for each in list(sys.modules) if each.partition(".")[0] == package]
            candidates = " ".join(near[:_CANDIDATES] or _program_modules())
            for target in targets:
                self._report(target[0], "waiting", "", candidates)

    def _report_unseen(self, name: str, targets: list[Target]) -> None:
        if name not in self._seen:
            for target in targets:
                self._report(target[0], "refused", f"module {name!r} came past the import system")

    def _wait_for_sender(self) -> None:
        respawn.ensure_sender(self._run_dir)
        respawn.wake_sender(self._run_dir)
        flushed = f"{self._run_dir}/{layout.FLUSHED}"
        give_up = clock.monotonic_ns() + self._exit_timeout_ns
        while clock.monotonic_ns() < give_up:
            if posix.access(flushed, posix.F_OK) or not posix.access(self._run_dir, posix.F_OK):
                return
            clock.sleep(_POLL_NS / 1e9)


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


# the session of this process, if it has one
active: Session | None = None


def start(run_dir: str) -> Session | None:
    """Measure this process for the run in `run_dir`; None where that run is not for it.

    Never raises.
    """
    global active
    try:
        file = posix.open(f"{run_dir}/{layout.AGENT_PLAN}", posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            plan = marshal.loads(posix.read(file, posix.fstat(file).st_size))
        finally:
            posix.close(file)
        if plan["layout"] != layout.VERSION:
            return None
        active = session = Session(run_dir, plan)
        session.start()
    except Exception as error:  # noqa: BLE001 - the program must start as it would without tach
        if b"TACH_DEBUG" in posix.environ:
            posix.write(2, f"tach: {type(error).__name__}: {error}\n".encode())
        return None
    return session
