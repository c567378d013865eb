"""What is particular to the compiled probe: references, memory, its layout, and how it is chosen.

That it does what the pure one does is for all the other tests to say. TACH_TEST_LOAD=10 makes the
loads of this file ten times as large.
"""

from __future__ import annotations

import copy
import gc
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import differential
import pytest
from differential import YIELDING
from recording import Recording, calls

from tach import layout
from tach.agent import probes
from tach.agent.meter import Epoch, Meter, Owning
from tach.agent.patching import Patcher
from tach.agent.probe import unprobed
from tach.histogram import Histogram

ROOT = Path(__file__).parent.parent
LOAD = int(os.environ.get("TACH_TEST_LOAD", "1"))
METHOD_DESCRIPTOR = 1 << 17


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Compiled probes of this test's own."""
    return Recording(tmp_path, "compiled")


class Noting:
    """A measurement that keeps what it was told."""

    def __init__(self) -> None:
        self.entered: list[Any] = []
        self.left: list[Any] = []

    def enter(self, args: Any, kwargs: Any) -> Any:
        """A call begins."""
        self.entered.append((args, kwargs))
        return self

    def leave(self, *told: Any) -> None:
        """It has ended."""
        self.left.append(told)


class Silent(Noting):
    """A measurement that keeps nothing."""

    def enter(self, args: Any, kwargs: Any) -> Any:
        return None

    def leave(self, *told: Any) -> None:
        pass


def measured(recording: Recording, function: Callable[..., Any], measurement: Any) -> Any:
    """A probe whose calls the measurement measures."""
    return recording.probes.measuring(function, recording.recorder(), measurement, True)


SORTS: dict[str, Callable[[Recording, Callable[..., Any]], Any]] = {
    "counting": lambda recording, function: recording.probe(function),
    "inflight": lambda recording, function: recording.probes.counting(
        function, recording.recorder(), True, True
    ),
    "owning": lambda recording, function: recording.probes.counting(
        function, recording.recorder(), owning=Owning(probes.compiled(), "function", callers=True)
    ),
    "parts": lambda recording, function: recording.probes.counting(
        function, recording.recorder(), yielding=YIELDING
    ),
    "measuring": lambda recording, function: measured(recording, function, Silent()),
}


@pytest.fixture(params=SORTS)
def make(request: pytest.FixtureRequest, recording: Recording) -> Callable[..., Any]:
    """Make a probe of each sort in turn."""
    sort = SORTS[request.param]
    return lambda function: sort(recording, function)


# Memory


def test_references_are_exact(make: Callable[..., Any]) -> None:
    """Ten thousand calls leave no reference to arguments, results and exceptions, nor take one."""
    error = LookupError("kept")
    result = object()

    def function(fails: bool, /, *args: Any, **kwargs: Any) -> object:
        if fails:
            raise error
        return result

    probe = make(function)
    owner = type("Owner", (), {"method": probe, "__bool__": lambda self: False})()
    thing = object()
    keywords = {"keyword": thing}
    everything = (error, result, thing, function, probe, type(probe), LookupError)

    def run(times: int) -> None:
        for _ in range(times):
            probe(False, thing, keyword=thing)
            probe(False, *[thing], **keywords)
            owner.method(thing)
            with suppress(LookupError):
                probe(True, thing)
        error.__traceback__ = None

    run(10)
    gc.collect()
    before = [sys.getrefcount(each) for each in everything]
    run(10_000)

    assert [sys.getrefcount(each) for each in everything] == before


def resident() -> int:
    """The memory of this process that is in use, in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_million_calls_take_no_memory(make: Callable[..., Any]) -> None:
    """Neither calls nor exceptions make the process grow."""

    def function(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise kwargs["raised"]
        return args

    probe = make(function)

    def run(times: int) -> None:
        for number in range(times):
            probe(number, number)
            if number % 10 == 0:
                with suppress(Exception):
                    probe(
                        number, raised=OSError if number % 1000 else type("Made", (Exception,), {})
                    )

    run(10_000)
    before = resident()
    run(1_000_000 * LOAD)

    assert resident() - before < 1 << 20


FORKS = """
import gc, os, sys
from pathlib import Path
from recording import Recording

directory, times = Path(sys.argv[1]), int(sys.argv[2])
recording = Recording(directory)
probe = recording.probe(lambda fails: 1 // (not fails))

def call():
    for fails in (False, True):
        try: probe(fails)
        except ZeroDivisionError: pass

def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

call()
for number in range(times):
    if os.fork():
        os._exit(0)
    recording.after_fork()
    call()
    for file in directory.iterdir():
        file.unlink()
    if number == times // 10:
        before = resident()
print(number + 1, resident() - before)
"""


def test_forks_take_no_memory(tmp_path: Path) -> None:
    """The last of five hundred processes, each forked by the one before, is as large as any."""
    times = 500 * LOAD
    ended = subprocess.run(
        [sys.executable, "-c", FORKS, str(tmp_path), str(times)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,  # the pipe is closed by the last of them
        check=True,
    )

    number, grown = ended.stdout.split()
    assert int(number) == times
    assert int(grown) < 1 << 20


def test_a_probe_that_nobody_holds_is_collected(make: Callable[..., Any]) -> None:
    """A probe in a cycle with its function goes when the last reference goes, the function too."""

    def function() -> None:
        """Refers to the probe."""

    probe = make(function)
    function.probe = probe  # type: ignore[attr-defined]
    probe()
    weak = weakref.ref(probe), weakref.ref(function)
    del probe, function
    gc.collect()

    assert [each() for each in weak] == [None, None]


# Generators and coroutines


EPOCH = Epoch()


def generator(fails: Any, *things: Any) -> Any:
    """Yields what it gets, and returns it in the end."""
    got = yield from things
    if fails:
        raise fails
    return got


async def coroutine(fails: Any, *things: Any) -> Any:
    """Waits for the generator."""
    return await Awaitable(generator(fails, *things))


class Awaitable:
    """Somebody's own."""

    def __init__(self, steps: Any) -> None:
        self.steps = steps

    def __await__(self) -> Any:
        return self.steps


async def waiting(made: Any) -> Any:
    """Awaits the coroutine."""
    return await made


METERS: dict[str, Callable[[], dict[str, Any]]] = {
    "counts": dict,
    "inflight": lambda: {"inflight": True},
    "owning": lambda: {"owning": Owning(probes.compiled(), "a_module.function", callers=True)},
    "parts": lambda: {"yielding": YIELDING},
    "parts, in Python": lambda: differential.METERS["measures more"],
}


@pytest.fixture(params=METERS)
def stepping(request: pytest.FixtureRequest, recording: Recording) -> Callable[..., Any]:
    """Make a probe of a generator function, or of a coroutine function."""
    more = METERS[request.param]()

    def stepping(function: Callable[..., Any]) -> Any:
        module = types.ModuleType("a_module")
        vars(module)["function"] = function
        patcher = Patcher(recording.proxy, recording.probes)
        patcher.patch(module, "function", Meter(recording.recorder(), EPOCH, **more))
        return module.function

    return stepping


def step_through(make: Callable[..., Any], error: Exception, thing: Any) -> None:
    """All that can become of one, but that it is never begun."""
    assert list(steps_of(make(None, thing, thing))) == [thing, thing]
    with pytest.raises(type(error)):
        list(steps_of(make(error, thing)))
    thrown = make(None, thing)
    thrown.send(None)
    with pytest.raises(type(error)):
        thrown.throw(error)
    closed = make(None, thing)
    closed.send(None)
    closed.close()
    dropped = make(None, thing)
    dropped.send(None)
    del dropped


def steps_of(made: Any) -> Any:
    """What it yields, by `for` or by `await`."""
    if hasattr(made, "__next__"):
        yield from made
        return
    driver = waiting(made)
    with suppress(StopIteration):
        while True:
            yield driver.send(None)


def assert_no_reference_stays(run: Callable[[int], None], everything: list[Any]) -> None:
    """However often it runs, the counts of references to all of these are what they were."""
    run(10)
    gc.collect()
    before = [sys.getrefcount(each) for each in everything]
    run(300 * LOAD)
    gc.collect()

    assert [sys.getrefcount(each) for each in everything] == before


@pytest.mark.parametrize("function", [generator, coroutine])
def test_references_of_steps_are_exact(function: Any, stepping: Callable[..., Any]) -> None:
    """Whatever becomes of generators and coroutines, they leave no reference behind."""
    probe = stepping(function)
    error = LookupError("kept")
    thing = object()
    made = probe(None)
    made.close()
    everything = (error, thing, function, probe, type(made))

    def run(times: int) -> None:
        for _ in range(times):
            step_through(probe, error, thing)
            probe(None, thing).close()
            error.__traceback__ = error.__context__ = None

    assert_no_reference_stays(run, everything)


@pytest.mark.parametrize("function", [generator, coroutine])
def test_steps_take_no_memory(function: Any, stepping: Callable[..., Any]) -> None:
    """Generators and coroutines that come and go do not make the process grow."""
    probe = stepping(function)
    error = LookupError()

    def run(times: int) -> None:
        for _ in range(times):
            step_through(probe, error, 1)
            error.__traceback__ = error.__context__ = None

    run(500)
    before = resident()
    run(10_000 * LOAD)

    assert resident() - before < 1 << 20


@pytest.mark.parametrize("function", [generator, coroutine])
def test_each_end_counts_as_what_it_is(
    function: Any, stepping: Callable[..., Any], recording: Recording
) -> None:
    """Two calls end by the error, two are cancelled, one returns; nothing is in flight then."""
    step_through(stepping(function), LookupError(), 1)
    gc.collect()

    counts = recording.counts()
    assert calls(counts) == 5
    assert (counts.cancelled, counts.errors_by_type) == (2, {"LookupError": 2})
    words: Any = recording.recorders[0].words
    assert (words[layout.E_ACTIVE], words[layout.E_TAKEN]) == (0, 0)


def test_a_step_within_a_step_is_refused(
    stepping: Callable[..., Any], recording: Recording
) -> None:
    """What runs already cannot be stepped, thrown at or closed by itself; it goes on, one call."""
    refused = []

    def function() -> Any:
        # Python 3.12.1 itself may crash where a generator closes itself
        closes = [] if sys.version_info[:2] == (3, 12) else [made.close]
        for step in (lambda: next(made), lambda: made.throw(KeyError), *closes):
            with pytest.raises(ValueError, match="already executing"):
                step()
            refused.append(step)
        yield 1

    made = stepping(function)()

    assert list(made) == [1]
    assert len(refused) >= 2
    assert (recording.calls(), recording.counts().errors) == (1, 0)


@pytest.mark.parametrize("function", [generator, coroutine])
def test_one_in_a_cycle_is_collected(
    function: Any, stepping: Callable[..., Any], recording: Recording
) -> None:
    """One that only a cycle holds is cancelled when the collector finds it."""
    holder: list[Any] = []
    made = stepping(function)(None, holder)
    holder.append(made)
    made.send(None)
    weak = weakref.ref(made)
    del made, holder
    gc.collect()

    assert weak() is None
    assert (recording.calls(), recording.counts().cancelled) == (1, 1)


def test_a_fork_within_a_generator(recording: Recording, stepping: Callable[..., Any]) -> None:
    """In the child it goes on, and is not counted there."""

    def forking() -> Any:
        child = os.fork()
        if not child:
            EPOCH.number += 1
            recording.after_fork()
        yield child

    probe = stepping(forking)
    (child,) = probe()
    if not child:
        os._exit(0)

    assert os.waitpid(child, 0)[1] == 0
    assert recording.calls() == 1


def test_classes_of_exceptions_are_not_kept(recording: Recording) -> None:
    """Classes that are made and dropped go as without tach, and each counts as itself."""

    def function(error: type[Exception]) -> None:
        raise error

    probe = recording.probe(function)
    names = [f"Error{number % 7}" for number in range(700)]
    weak = []
    for name in names:
        error = type(name, (Exception,), {})
        weak.append(weakref.ref(error))
        with suppress(Exception):
            probe(error)
        del error
        if len(weak) % 3 == 0:
            gc.collect()  # the next class may come to lie where this one was
    gc.collect()

    assert {each() for each in weak} == {None}
    assert recording.counts().errors_by_type == {f"Error{number}": 100 for number in range(7)}


# What is counted


def test_the_layout_is_that_of_the_segment(recording: Recording) -> None:
    """Every constant that is written in C is that of tach.layout."""
    module: Any = probes.compiled()

    written = module.LAYOUT
    assert written == {name: getattr(layout, name) for name in written}
    assert len(written) == 21


def test_durations_are_exact(recording: Recording) -> None:
    """Sum, least, greatest and every bucket are those of the durations, of whatever length."""
    module: Any = probes.compiled()
    series = module.Series(recording.recorder())
    edges = [(1 << bits) + step for bits in range(56) for step in (-1, 0, 1)]
    generator = random.Random(1)
    durations = [0, *edges, 1 << 58, *(int(generator.lognormvariate(12, 4)) for _ in range(2000))]
    generator.shuffle(durations)
    for elapsed in durations:
        series.count(elapsed)

    counts = recording.counts()
    assert counts.pairs == Histogram.of(durations).pairs
    assert (counts.total, counts.low, counts.high) == (sum(durations), 0, max(durations))


def test_a_recursion_is_as_deep_as_bare_and_counted_to_the_last_call(recording: Recording) -> None:
    """The program may go as deep as without tach, and not one of these calls is lost."""
    made = 0

    def function(call: Any) -> None:
        nonlocal made
        made += 1
        call(call)

    with pytest.raises(RecursionError):
        function(function)
    bare = made
    made = 0
    probe = recording.probe(function)
    with pytest.raises(RecursionError):
        probe(probe)
    counts = recording.counts()

    # what Python 3.12 allows of calls that come by way of C is less
    assert abs(made - bare) <= (300 if sys.version_info[:2] == (3, 12) else 1)
    # one that could begin no more is a call as well
    assert made <= calls(counts) <= made + 1
    assert counts.errors_by_type == {"RecursionError": calls(counts)}
    assert sys.getrecursionlimit() > 900
    assert recording.troubles == []


def test_calls_that_run_at_once_have_a_slot_each(recording: Recording) -> None:
    """Slots tell when each running call began, also of those that Python code counts; all end."""
    recorder = recording.recorder()
    inside = threading.Semaphore(0)
    go_on = threading.Event()

    def function() -> None:
        inside.release()
        go_on.wait()

    probe = recording.probes.counting(function, recorder, True, True)
    threads = [threading.Thread(target=probe) for _ in range(layout.SLOTS + 3)]
    running: list[list[int]] = [[], []]
    for number, thread in enumerate(threads):
        thread.start()
        inside.acquire()
        if number == 4:
            recorder.enter(11, running[0])
            recorder.enter(12, running[1])
    words: Any = recorder.words
    taken = words[layout.E_SLOTS : layout.E_SLOTS + layout.SLOTS].tolist()
    active = words[layout.E_ACTIVE], words[layout.E_PEAK], words[layout.E_CROWD]
    slots = [each[0] for each in running]
    go_on.set()
    for thread in threads:
        thread.join()
    for each in running:
        recorder.leave(each)

    assert slots == [layout.E_SLOTS + 5, layout.E_SLOTS + 6]
    assert taken[5:7] == [11, 12]
    assert len(set(taken)) == layout.SLOTS
    assert 0 not in taken
    assert active == (layout.SLOTS + 5, layout.SLOTS + 5, 5)
    assert words[layout.E_ACTIVE : layout.E_ACTIVE + 1].tolist() == [0]
    assert words[layout.E_CROWD : layout.E_SLOTS + layout.SLOTS].tolist() == [0] * 22
    assert words[layout.E_TAKEN] == 0
    assert recording.calls() == layout.SLOTS + 3


def test_a_fork_inside_a_call_that_is_in_flight(recording: Recording) -> None:
    """In the child nothing is in flight that began in the parent."""
    recorder = recording.recorder()

    def function() -> int:
        child = os.fork()
        if not child:
            recording.after_fork()
        return child

    probe = recording.probes.counting(function, recorder, True, True)
    if not (child := probe()):
        status = 1
        try:
            assert recorder.words is None
            recorder.begin()
            assert recorder.words[layout.E_ACTIVE] == recorder.words[layout.E_TAKEN] == 0
            status = 0
        finally:
            os._exit(status)

    assert os.waitpid(child, 0)[1] == 0
    assert recorder.words is not None
    assert recorder.words[layout.E_ACTIVE] == recorder.words[layout.E_TAKEN] == 0
    assert recording.calls() == 1


def test_a_call_within_a_call_within_the_collector(recording: Recording) -> None:
    """A target that makes garbage whose finalisers call the target: every call counts."""
    made = 0

    class Dying:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            probe(0)

    def function(depth: int) -> None:
        nonlocal made
        made += 1
        if depth:
            Dying()
            gc.collect()
            probe(depth - 1)

    probe = recording.probe(function)
    probe(20)

    assert made == 41
    assert recording.calls() == made


# A measurement


def test_a_measurement_is_told_all(recording: Recording) -> None:
    """It gets the arguments before the call; afterwards what it made of them, time and outcome."""
    noting = Noting()
    error = LookupError()

    def function(fails: bool, **kwargs: Any) -> Any:
        assert len(noting.entered) == len(noting.left) + 1
        if fails:
            raise error
        return kwargs

    probe = measured(recording, function, noting)
    result = probe(False, self=1)
    with pytest.raises(LookupError) as caught:
        probe(True)

    assert caught.value is error
    assert noting.entered == [((False,), {"self": 1}), ((True,), {})]
    assert [(call, taken > 0, *told) for call, taken, *told in noting.left] == [
        (noting, True, result, None),
        (noting, True, None, error),
    ]


def test_what_a_measurement_raises_is_of_the_program(recording: Recording) -> None:
    """What a signal handler raises in a measurement goes on, in the context of the call's error."""
    error = LookupError()

    class Raising(Silent):
        def leave(self, *told: Any) -> None:
            assert sys.exc_info()[1] is told[3]
            raise KeyboardInterrupt

    def function(fails: bool) -> None:
        if fails:
            raise error

    probe = measured(recording, function, Raising())
    for fails, context in ((False, None), (True, error)):
        with pytest.raises(KeyboardInterrupt) as caught:
            probe(fails)
        assert caught.value.__context__ is context
    assert sys.exc_info() == (None, None, None)


# What the program sees


class Owner:
    def method(self, number: int = 1) -> int:
        """Its text."""
        return number

    __call__ = method


def looks(function: Any, probe: Any) -> dict[str, Any]:
    """What somebody who looks at the probe of the function finds."""
    found: dict[str, Any] = {
        name: getattr(probe, name)
        for name in (*dir(function), "__class__", "__wrapped__", "nothing")
        if name not in ("__call__", "__get__", "__reduce_ex__") and hasattr(probe, name)
    }
    found = {
        name: value.__name__ if callable(value) and hasattr(value, "__self__") else value
        for name, value in found.items()
    }
    probe.attribute = 1
    probe.__wrapped__ = found
    found["set"] = vars(function).pop("attribute"), vars(function).pop("__wrapped__") is found
    found["dir"] = dir(probe)
    found["equal"] = probe == function, function == probe, hash(probe) == hash(function)
    found["copies"] = copy.copy(probe) is probe, copy.deepcopy(probe) is probe
    found["pickle"] = pickle.dumps(probe)
    found["gets"] = hasattr(type(probe), "__get__")
    found["unprobed"] = unprobed(probe)[0]
    found["names"] = type(probe).__name__
    return found


def test_it_looks_as_the_pure_one_does(tmp_path: Path, recording: Recording) -> None:
    """Whoever looks at a probe sees the same, whichever it is."""
    pure = Recording(tmp_path, "pure")
    for binds in (True, False):
        function = Owner.method
        seen = [
            looks(function, each.probes.counting(function, each.recorder(), binds))
            for each in (pure, recording)
        ]
        assert seen[0] == seen[1]


def test_a_call_of_a_method_makes_no_object_for_it(recording: Recording) -> None:
    """The interpreter calls methods straight away; callables that do not bind stay as they are."""
    binding = recording.probes.counting(Owner.method, recording.recorder())
    other = recording.probes.counting(Owner(), recording.recorder(), False)
    owner = type("Owner", (), {"method": binding, "other": other})()

    assert type(binding).__flags__ & METHOD_DESCRIPTOR
    assert not type(other).__flags__ & METHOD_DESCRIPTOR
    assert owner.other is other
    assert owner.method(5) == owner.other(5) == 5


def test_one_that_is_disabled_measures_no_more(make: Callable[..., Any]) -> None:
    """Its calls pass on, what it is about included."""
    probe = make(lambda *args, **kwargs: (args, kwargs))
    probes.disable(probe)

    assert probe(1, x=2) == ((1,), {"x": 2})


def test_a_disabled_one_counts_nothing(recording: Recording) -> None:
    """Neither calls nor errors are counted any more."""
    probe = recording.probe(lambda: 1)
    probe()
    probes.disable(probe)
    probe()

    assert recording.calls() == 1


# Whether it is used


def chosen(executable: str = sys.executable, **variables: str) -> str:
    """Which implementation a process chooses."""
    code = "from tach.agent import patching; print(patching.implementation())"
    kept = {name: value for name, value in os.environ.items() if name != "TACH_PURE"}
    return subprocess.run(
        [executable, "-c", code],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_tach_pure_forces_the_pure_one(recording: Recording) -> None:
    """TACH_PURE=1 in the environment, and nothing else, keeps it away."""
    assert [chosen(), chosen(TACH_PURE="0"), chosen(TACH_PURE="1")] == [
        "compiled",
        "compiled",
        "pure",
    ]


def test_a_proxy_that_is_written_in_python_has_pure_probes(recording: Recording) -> None:
    """Where wrapt is without its extension the probes are pure ones, and say so."""
    code = (
        "from tach.agent import patching, proxy; patching.Patcher(proxy.object_proxy());"
        "print(patching.implementation())"
    )
    kept = {name: value for name, value in os.environ.items() if name != "TACH_PURE"}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "WRAPT_DISABLE_EXTENSIONS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout.strip() == "pure"


INTERPRETERS = next((n for n in ("_interpreters", "_xxsubinterpreters") if find_spec(n)), None)


@pytest.mark.skipif(INTERPRETERS is None, reason="this Python cannot start sub-interpreters")
def test_sub_interpreters_have_pure_probes(tmp_path: Path, recording: Recording) -> None:
    """In a sub-interpreter the compiled one refuses, and the pure one is used."""
    told = tmp_path / "told"
    inner = (
        "from tach.agent import probes\n"
        f"open({str(told)!r}, 'a').write(probes.implementation() + ' ')\n"
    )
    code = (
        f"import {INTERPRETERS} as interpreters\n"
        "from tach.agent import probes\n"
        "assert probes.implementation() == 'compiled'\n"
        f"interpreters.run_string(interpreters.create(), {inner!r})\n"
    )
    kept = {name: value for name, value in os.environ.items() if name != "TACH_PURE"}
    path = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", code], env={**kept, "PYTHONPATH": path}, check=True)

    assert told.read_text() == "pure "


@pytest.mark.parametrize(
    "variables", [{"TACH_PURE": "1"}, {"CC": "false"}, {}], ids=["unwanted", "impossible", "here"]
)
def test_it_is_built_where_that_can_be_done(
    variables: dict[str, str], tmp_path: Path, recording: Recording
) -> None:
    """Without a compiler, or with TACH_PURE=1, the build succeeds and leaves out what is in C."""
    pytest.importorskip("setuptools", reason="pip install setuptools")
    project = tmp_path / "project"
    project.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    for name in ("bin", "tach"):
        shutil.copytree(ROOT / name, project / name, ignore=ignored)
    kept = {name: value for name, value in os.environ.items() if name not in ("TACH_PURE", "CC")}
    ended = subprocess.run(
        [sys.executable, "setup.py", "build", "--build-lib", "built"],
        cwd=project,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        check=True,
    )

    for module in ("tach/agent/_probe", "tach/_buckets"):
        assert len(list((project / "built").glob(f"{module}*.so"))) == (not variables)
    assert (project / "built" / "tach" / "agent" / "probe.py").exists()
    assert not re.findall(r"\.[ch]:\d+:.*", ended.stderr)  # a warning of the compiler


def owning(recording: Recording, name: str, function: Any) -> Any:
    """A probe of the function, which tells apart whose time it is."""
    module = types.ModuleType("a_module")
    vars(module)["function"] = function
    meter = Meter(recording.recorder(), EPOCH, owning=Owning(probes.compiled(), name, callers=True))
    Patcher(recording.proxy, recording.probes).patch(module, "function", meter)
    return module.function


def test_references_of_nested_calls_are_exact(recording: Recording) -> None:
    """Frames, accounts and callers leave no reference behind, whatever the calls do."""
    error, thing = LookupError("kept"), object()

    def inner(value: Any, fails: bool) -> Any:
        if fails:
            raise error
        return value

    def outer(value: Any, fails: bool = False, depth: int = 3) -> Any:
        if depth:
            return probe(value, fails, depth - 1)
        return measured(value, fails)

    measured = owning(recording, "inner", inner)
    probe = owning(recording, "outer", outer)
    everything = (error, thing, inner, outer, measured, probe)

    def run(times: int) -> None:
        for _ in range(times):
            assert probe(thing) is thing
            with pytest.raises(LookupError):
                probe(thing, True)
            error.__traceback__ = error.__context__ = None

    assert_no_reference_stays(run, everything)


def test_an_account_goes_with_its_probe(recording: Recording) -> None:
    """Nothing of a probe is left when nobody has it any more, callers included."""
    inner = owning(recording, "inner", lambda: None)
    outer = owning(recording, "outer", inner.__call__)
    outer()
    gone = weakref.ref(inner)
    del inner, outer
    recording.recorders.clear()
    gc.collect()

    assert gone() is None


def test_frames_that_do_not_end_in_order(recording: Recording) -> None:
    """Whoever goes although others are on top of it takes the stack down, not the process."""
    compiled = probes.compiled()
    assert compiled is not None
    one, other = compiled.Account("one"), compiled.Account("other")
    for _ in range(1000):
        below, above = compiled.Frame(one), compiled.Frame(other)
        below.resume()
        above.resume()
        del below
        last = compiled.Frame(one)
        last.resume()
        above.pause()
        last.pause()
        assert (above.caller, above.nested) == ("one", False)
        assert last.caller is None


def test_many_threads_begin_at_once(recording: Recording) -> None:
    """Each call of a series that all threads are the first to need is counted."""
    barrier = threading.Barrier(150)
    probe = recording.probe(lambda: 1)

    def call() -> None:
        barrier.wait()
        probe()

    threads = [threading.Thread(target=call) for _ in range(barrier.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recording.calls() == barrier.parties


def test_stacks_of_threads_are_apart(recording: Recording) -> None:
    """Each thread has a stack of its own, whose memory goes with it."""
    compiled = probes.compiled()
    assert compiled is not None
    account = compiled.Account("one")
    callers = []

    def begin() -> None:
        frame, within = compiled.Frame(account), compiled.Frame(account)
        frame.resume()
        within.resume()
        callers.append((frame.caller, within.caller, frame.nested, within.nested))
        within.pause()
        frame.pause()

    around = compiled.Frame(account)
    around.resume()
    for _ in range(50):
        thread = threading.Thread(target=begin)
        thread.start()
        thread.join()
    around.pause()

    assert callers == [(None, "one", False, True)] * 50
