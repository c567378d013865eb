"""A call through a probe is the bare call, and it is counted exactly."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import errno
import gc
import os
import pickle
import posix
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from recording import Recording, calls
from reports import Report

import tach.agent.probe as probe_module
from tach import layout
from tach.agent import segment
from tach.agent.likeness import PASSED_OVER
from tach.histogram import Histogram


@pytest.fixture(params=("pure", "compiled"))
def implementation(request: pytest.FixtureRequest) -> str:
    """Each sort of probes in turn."""
    return str(request.param)


@pytest.fixture
def recording(tmp_path: Path, implementation: str) -> Recording:
    """Probes of this test's own."""
    return Recording(tmp_path, implementation)


@pytest.fixture
def pure(tmp_path: Path) -> Recording:
    """Probes whose clock a test can set."""
    return Recording(tmp_path, "pure")


@contextmanager
def switching_often() -> Iterator[None]:
    """Threads change places as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


# What goes in and what comes out


def test_arguments_and_result_are_the_very_same(recording: Recording) -> None:
    """A probe hands on all arguments, keywords named self, cls and args too, and the result."""
    seen = []
    result = object()

    def function(*args: Any, **kwargs: Any) -> object:
        seen.append((args, kwargs))
        return result

    probe = recording.probe(function)
    keywords = {"self": 1, "cls": 2, "args": 3, "kwargs": 4, "instance": 5, "mine": 6}

    assert probe("one", 2, **keywords) is result
    assert seen == [(("one", 2), keywords)]
    assert recording.calls() == 1


def test_the_exception_is_the_very_same(recording: Recording, implementation: str) -> None:
    """What the function raises comes out itself, past one frame of tach, or none if compiled."""
    cause = KeyError("cause")
    error = ValueError("broken")

    def function() -> None:
        raise error from cause

    with pytest.raises(ValueError, match="broken") as caught:
        recording.probe(function)()

    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert caught.value is error
    assert error.__cause__ is cause
    assert error.__context__ is None
    frames = [PASSED_OVER] if implementation == "pure" else []
    assert [file for file in files if "tach" in file and file != __file__] == frames
    assert files[-1] == __file__


def test_a_probe_keeps_no_argument_result_or_exception_alive(recording: Recording) -> None:
    """What went through a probe is freed as it is without it."""
    import weakref

    class Thing:
        pass

    def function(thing: Thing, fails: bool) -> Thing:
        if fails:
            raise LookupError(thing)
        return thing

    probe = recording.probe(function)
    thing = Thing()
    weak = weakref.ref(thing)
    gc.disable()
    try:
        probe(thing, False)
        with suppress(LookupError):
            probe(thing, True)
        del thing
        assert weak() is None
    finally:
        gc.enable()


# module functions of this test, which pickle finds by their names
def pickled() -> str:
    """Say so."""
    return "pickled"


class Base:
    def method(self) -> str:
        return "method"

    @staticmethod
    def static() -> str:
        return "static"

    @classmethod
    def of_class(cls) -> str:
        return cls.__name__


class Sub(Base):
    pass


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """This module as pickle finds it."""
    module = sys.modules.get(__name__)
    if module is None or getattr(module, "pickled", None) is not pickled:
        import types

        module = types.ModuleType(__name__)
        vars(module).update(globals())
        monkeypatch.setitem(sys.modules, __name__, module)
    return module


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_probes_are_pickled_as_functions_are(
    protocol: int, recording: Recording, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pickle of a probed function is that of the bare one; copies are the probe itself."""
    bare = pickle.dumps(module.pickled, protocol)
    monkeypatch.setattr(module, "pickled", recording.probe(pickled))
    monkeypatch.setattr(Base, "static", staticmethod(recording.probe(Base.static)))

    assert pickle.dumps(module.pickled, protocol) == bare
    assert pickle.loads(bare) is module.pickled
    assert pickle.loads(pickle.dumps(Base.static, protocol)) is Base.static
    assert copy.copy(module.pickled) is module.pickled
    assert copy.deepcopy([module.pickled])[0] is module.pickled


def test_probes_of_methods_are_pickled(
    recording: Recording, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bound methods, class methods and inherited methods that are probed can be pickled."""
    monkeypatch.setattr(Base, "method", recording.probe(vars(Base)["method"]))
    monkeypatch.setattr(
        Base, "of_class", classmethod(recording.probe(vars(Base)["of_class"].__func__))
    )

    assert pickle.loads(pickle.dumps(Base().method))() == "method"
    assert pickle.loads(pickle.dumps(Sub.of_class))() == "Sub"
    assert pickle.loads(pickle.dumps(Base.method)) is Base.method


def test_an_inherited_method_is_pickled_as_the_base_has_it(
    recording: Recording, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a probe that only the subclass has, the pickle leads to the function of the base."""
    monkeypatch.setattr(Sub, "method", recording.probe(vars(Base)["method"]), raising=False)

    assert pickle.loads(pickle.dumps(Sub.method)) is Base.method
    assert pickle.loads(pickle.dumps(Sub().method))() == "method"


# What is counted


class Ticking:
    """A clock that the function moves on."""

    now = 0

    def __call__(self) -> int:
        return self.now


def test_durations_are_exact(pure: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sum, least, greatest and every bucket are those of the durations, of whatever length."""
    clock = Ticking()
    monkeypatch.setattr(probe_module, "monotonic_ns", clock)

    def function(elapsed: int, fails: bool) -> None:
        clock.now += elapsed
        if fails:
            raise ValueError

    probe = pure.probe(function)
    edges = [(1 << bits) + step for bits in range(56) for step in (-1, 0, 1)]
    generator = random.Random(1)
    durations = [0, *edges, *(int(generator.lognormvariate(12, 4)) for _ in range(2000))]
    generator.shuffle(durations)
    for number, elapsed in enumerate(durations):
        with suppress(ValueError):
            probe(elapsed, fails=number % 3 == 0)

    counts = pure.counts()
    assert counts.pairs == Histogram.of(durations).pairs
    assert (counts.total, counts.low, counts.high) == (sum(durations), 0, max(durations))
    assert counts.errors == len(durations[::3])


def test_durations_beyond_all_buckets_count_in_the_last(
    pure: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call of more than a year is counted."""
    clock = Ticking()
    monkeypatch.setattr(probe_module, "monotonic_ns", clock)

    def function(elapsed: int) -> None:
        clock.now += elapsed

    probe = pure.probe(function)
    probe(1 << 58)

    assert pure.counts().pairs == Histogram.of([1 << 58]).pairs


class Broken(Exception):
    class Inner(Exception):
        pass


class MoreBroken(Broken):
    pass


class Stop(SystemExit):
    pass


def greenlet_exit() -> BaseException:
    """What ends a greenlet."""
    greenlet = pytest.importorskip("greenlet", reason="pip install eventlet")
    return greenlet.GreenletExit()  # type: ignore[no-any-return]


RAISED: dict[str, tuple[Callable[[], BaseException], str]] = {
    "ValueError": (lambda: ValueError(), "ValueError"),
    "of its own": (lambda: Broken(), "Broken"),
    "nested class": (lambda: Broken.Inner(), "Inner"),
    "BaseException": (lambda: BaseException(), "BaseException"),
    "GeneratorExit": (lambda: GeneratorExit(), "cancelled"),
    "KeyboardInterrupt": (lambda: KeyboardInterrupt(), "cancelled"),
    "SystemExit": (lambda: SystemExit(3), "cancelled"),
    "subclass of SystemExit": (lambda: Stop(), "cancelled"),
    "asyncio": (lambda: asyncio.CancelledError(), "cancelled"),
    "futures": (lambda: concurrent.futures.CancelledError(), "cancelled"),
    "GreenletExit": (greenlet_exit, "cancelled"),
    "ignored": (lambda: StopIteration(), "ignored"),
    "subclass of an ignored one": (lambda: FileNotFoundError(), "ignored"),
    "ignored by its module": (lambda: MoreBroken(), "ignored"),
}


@pytest.mark.parametrize("case", RAISED)
def test_what_is_raised_is_told_apart(case: str, recording: Recording) -> None:
    """Errors count by class; those that say stop, and the ignored ones, count apart."""
    make, expected = RAISED[case]
    error = make()

    def function() -> None:
        raise error

    ignore = ("StopIteration", "OSError", f"{__name__}:MoreBroken")
    with pytest.raises(type(error)) as caught:
        recording.probe(function, 0, *ignore)()

    counts = recording.counts()
    known = expected in ("cancelled", "ignored")
    assert caught.value is error
    assert calls(counts) == 1
    assert (counts.cancelled, counts.ignored) == (expected == "cancelled", expected == "ignored")
    assert (counts.errors, counts.errors_by_type) == (0, {}) if known else (1, {expected: 1})


def test_of_many_error_classes_the_rest_is_other(recording: Recording) -> None:
    """Twenty classes are told apart, all further ones count as other; the sum is exact."""

    def function(error: type[Exception]) -> None:
        raise error

    probe = recording.probe(function)
    classes = [type(f"Error{number}", (Exception,), {}) for number in range(30)]
    for error in classes * 2:
        with suppress(Exception):
            probe(error)

    counts = recording.counts()
    assert counts.errors == 60
    assert counts.errors_by_type == {
        **{f"Error{number}": 2 for number in range(layout.ERROR_CLASSES)},
        layout.OTHER: 20,
    }


def test_odd_exception_classes_do_no_harm(recording: Recording) -> None:
    """An exception whose class lies about itself reaches the program; the call counts."""

    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            raise RuntimeError("leave me alone")

    class Odd(Exception, metaclass=Meta):
        pass

    def function() -> None:
        raise Odd

    try:
        recording.probe(function)()
    except Odd:
        counts = recording.counts()

    assert (calls(counts), counts.errors_by_type) == (1, {"Odd": 1})


# Whatever comes between


def test_threads_lose_nothing(recording: Recording) -> None:
    """Eight threads that hammer one target while they change places all the time: exact."""
    probe = recording.probe(lambda fails: 1 / 0 if fails else 1)

    def hammer() -> None:
        for number in range(4000):
            with suppress(ZeroDivisionError):
                probe(number % 4 == 0)

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    with switching_often():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    counts = recording.counts()
    assert (calls(counts), counts.errors) == (32000, 8000)
    assert counts.errors_by_type == {"ZeroDivisionError": 8000}


def test_threads_that_make_the_first_call_at_once_lose_nothing(
    tmp_path: Path, implementation: str
) -> None:
    """Whoever comes first creates segment, series, blocks and error classes: exact each time."""
    rounds, workers = 30, 4
    for round_ in range(rounds):
        directory = tmp_path / str(round_)
        directory.mkdir()
        recording = Recording(directory, implementation)

        def function() -> None:
            raise LookupError

        probes = [recording.probe(function, target) for target in range(4)]
        barrier = threading.Barrier(workers)

        def work(probes: list[Any] = probes, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            for probe in probes * 3:
                with suppress(LookupError):
                    probe()

        threads = [threading.Thread(target=work) for _ in range(workers)]
        with switching_often():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(list(directory.glob("*.segment"))) == 1
        assert [recording.calls(target) for target in range(4)] == [3 * workers] * 4
        for target in range(4):
            assert recording.counts(target).errors_by_type == {"LookupError": 3 * workers}
        assert recording.troubles == []


def test_a_signal_handler_may_call_what_it_interrupts(recording: Recording) -> None:
    """A handler that calls the target while the target is being recorded: exact."""
    probe = recording.probe(lambda: None)
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        handled += 1
        probe()
        # only now: on a slow machine handlers would interrupt each other down to the last frame
        signal.setitimer(signal.ITIMER_REAL, 5e-5)

    old = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 5e-5)
    try:
        made = 0
        while handled < 500:
            probe()
            made += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)

    assert recording.calls() == made + handled


def test_a_signal_handler_may_raise_through_a_target(tmp_path: Path, implementation: str) -> None:
    """What a handler raises, be it while tach prepares to record, always reaches the program."""

    class TooLate(Exception):
        pass

    def handler(*_: object) -> None:
        raise TooLate

    # of its own: what is raised at the jump of a loop, Python 3.13.0 does not catch around it
    def call_again(probe: Callable[[], None]) -> None:
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up:
            probe()

    old = signal.signal(signal.SIGALRM, handler)
    gc.disable()  # what is raised in a finaliser is lost, under tach or not
    raised = 0
    try:
        for number in range(300):
            directory = tmp_path / str(number)
            directory.mkdir()
            recording = Recording(directory, implementation)
            probe = recording.probe(lambda: None)
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (number + 1))
                call_again(probe)
            except TooLate:
                raised += 1
            assert recording.troubles == []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        gc.enable()

    assert raised == 300
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_the_garbage_collector_may_call_a_target(recording: Recording) -> None:
    """Callbacks of the collector and __del__ that call the target at any time: exact."""
    made = 0
    probe = recording.probe(lambda: [[]])

    class Dying:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            nonlocal made
            made += 1
            probe()

    def collected(*_: object) -> None:
        nonlocal made
        made += 1
        probe()

    threshold = gc.get_threshold()
    gc.collect()
    gc.callbacks.append(collected)
    gc.set_threshold(1, 1, 1)
    try:
        for _ in range(200):
            Dying()
            made += 1
            probe()
    finally:
        gc.set_threshold(*threshold)
        gc.collect()
        gc.callbacks.remove(collected)

    assert made > 600
    assert recording.calls() == made


def test_recursive_calls_all_count(recording: Recording) -> None:
    """Every call of a recursion counts, the inner ones within the outer ones' time."""

    def function(depth: int) -> int:
        return probe(depth - 1) + 1 if depth else 0  # type: ignore[no-any-return]

    probe = recording.probe(function)

    assert probe(100) == 100
    assert recording.calls() == 101


def test_a_recursion_without_end_ends_as_it_does_bare(recording: Recording) -> None:
    """At the limit the program gets its own RecursionError; afterwards all is counted again."""

    def function() -> None:
        probe()

    probe = recording.probe(function)
    fine = recording.probe(lambda: 1, 1)

    def deep(depth: int) -> int:
        try:
            return deep(depth + 1)
        except RecursionError:
            # as deep as one can be: first calls of all, with next to no frames left
            with suppress(RecursionError):
                fine()
            return depth

    assert deep(0) > 100
    with pytest.raises(RecursionError):
        probe()
    before = recording.calls()
    with pytest.raises(RecursionError):
        probe()
    assert recording.calls() > before > 0
    before = recording.calls(1)
    fine()
    assert recording.calls(1) == before + 1
    assert recording.troubles == []


GREEN = """
import eventlet
with eventlet.Timeout(0.02) as timeout:
    try:
        eventlet.sleep(5)
    except eventlet.Timeout as caught:
        print(caught is timeout)
with eventlet.Timeout(0.02, False):
    eventlet.sleep(5)
for thread in [eventlet.spawn(eventlet.sleep, 0.02) for _ in range(50)]:
    thread.wait()
"""


@pytest.mark.skipif(find_spec("eventlet") is None, reason="pip install eventlet")
def test_eventlet_switches_and_times_out_within_a_target(
    run_tach: Any, tmp_path: Path, tach_run_dir: Path
) -> None:
    """A Timeout fires through a measured call as through a bare one; overlapping calls count."""
    report = Report(tmp_path / "report.json", tach_run_dir)

    ended = run_tach(report.config(sleep="eventlet:sleep"), "-c", GREEN)

    assert (ended.returncode, ended.stdout) == (0, "True\n")
    (line,) = [line for line in report.lines() if "series" in line]
    assert (line["calls"], line["errors_by_type"]) == (52, {"Timeout": 2})
    assert line["total_ms"] > 50 * 15


# Forks


def in_child(work: Callable[[], None]) -> None:
    """Run `work` in a forked child, and see it succeed."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_a_fork_inside_a_call_counts_it_once(recording: Recording) -> None:
    """The parent counts the call that forked; the child counts what it begins itself."""

    def function() -> int:
        child = os.fork()
        if not child:
            recording.after_fork()
            other()
        return child

    probe = recording.probe(function)
    other = recording.probe(lambda: 1, 1)
    other()
    child = probe()
    if not child:
        status = 1
        try:
            other()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0

    assert (recording.calls(), recording.calls(1)) == (1, 3)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forks_under_load_add_up(recording: Recording) -> None:
    """Threads call while the process forks again and again: parent and children are exact."""
    probe = recording.probe(lambda: 1)
    stop = threading.Event()
    made = [0] * 3

    def work(number: int) -> None:
        while not stop.is_set():
            probe()
            made[number] += 1

    def child() -> None:
        recording.after_fork()
        for _ in range(7):
            probe()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        with switching_often():
            for _ in range(60):
                in_child(child)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert recording.calls() == sum(made) + 60 * 7


# Lack of room


@pytest.fixture
def limit_files() -> Iterator[Callable[[int], None]]:
    """Let no file grow beyond so many bytes, as if the file system were full; -1 for any size."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits[0] if size < 0 else size, limits[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, old)


def test_a_segment_without_room_harms_nobody(
    recording: Recording, limit_files: Callable[[int], None]
) -> None:
    """Where there is no room the program runs on, and the trouble is told once a series."""

    def function(fails: bool) -> int:
        if fails:
            raise ValueError("its own")
        return 7

    probe = recording.probe(function)
    limit_files(0)
    assert [probe(False) for _ in range(50)] == [7] * 50
    for _ in range(3):
        with pytest.raises(ValueError, match="its own"):
            probe(True)
    limit_files(-1)

    assert recording.troubles == [f"OSError: [Errno {errno.EFBIG}] {os.strerror(errno.EFBIG)}"]
    assert recording.calls() == 0


def test_a_series_that_finds_no_more_room_keeps_what_it_has(
    pure: Recording, limit_files: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fits is counted; what finds no room is lost, and said once; the next series is whole."""
    clock = Ticking()
    monkeypatch.setattr(probe_module, "monotonic_ns", clock)

    def function(elapsed: int) -> None:
        clock.now += elapsed
        if elapsed == 1:
            raise ValueError

    probe = pure.probe(function)
    probe(1 << 20)
    # one extent of the first region is for entries, all others are for blocks: leave one block
    extents = layout.FIRST_REGION_BYTES // layout.EXTENT_BYTES
    for _ in range((extents - 1) * layout.CELLS_PER_EXTENT - 2):
        pure.segment.block()
    limit_files(layout.HEADER_BYTES + layout.FIRST_REGION_BYTES)
    probe(1 << 21)
    probe(1 << 22)
    probe(1 << 23)
    with suppress(ValueError):
        probe(1)
    limit_files(-1)
    probe(1 << 20)

    counts = pure.counts()
    assert counts.pairs == Histogram.of([1 << 20, 1 << 20, 1 << 21]).pairs
    assert counts.errors_by_type == {"ValueError": 1}
    assert len(pure.troubles) == 1


def test_a_lack_of_memory_harms_nobody(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A MemoryError while a series is made does not reach the program; later calls count again."""
    names: dict[str, Any] = {}
    code = "def exhausted(*_): raise MemoryError('no more')"
    exec(compile(code, segment.__file__, "exec"), names)  # as if the agent's own code raised it
    monkeypatch.setattr(recording.segment, "entry", names["exhausted"])
    probe = recording.probe(lambda: 7)

    assert [probe(), probe()] == [7, 7]
    assert recording.troubles == ["MemoryError: no more"]

    monkeypatch.undo()
    assert [probe(), probe()] == [7, 7]
    assert recording.calls() == 2


def test_a_run_directory_that_has_gone_harms_nobody(tmp_path: Path, implementation: str) -> None:
    """Calls go on where the directory of the segments was removed."""
    directory = tmp_path / "gone"
    directory.mkdir()
    recording = Recording(directory, implementation)
    probe = recording.probe(lambda: 7)
    posix.rmdir(directory)

    assert [probe(), probe()] == [7, 7]
    assert len(recording.troubles) == 1


def test_two_probes_of_one_target_share_its_series(recording: Recording) -> None:
    """After a reload old and new function count in the same series, extremes included."""
    recorder = recording.recorder()
    old = recording.probes.counting(lambda: 1, recorder)
    new = recording.probes.counting(lambda: 2, recorder)
    for _ in range(3):
        assert (old(), new()) == (1, 2)

    assert recording.calls() == 6
    assert len(list(recording.directory.iterdir())) == 1
