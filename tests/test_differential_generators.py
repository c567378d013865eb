"""Generators, coroutines and asynchronous generators, driven in every order, measured and bare."""

from __future__ import annotations

import gc
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from differential import METERS, Measured, World, outcome, told
from hypothesis import given, settings
from hypothesis import strategies as some
from recording import Recording

from tach.agent import probes

ERRORS = (ValueError, KeyError, StopIteration, StopAsyncIteration, GeneratorExit, RuntimeError)
values = some.one_of(some.none(), some.integers(0, 9))
plain = some.tuples(
    some.sampled_from(("yield", "yield", "catch", "stubborn", "finally", "chain", "return")),
    some.integers(0, 9),
)
raising = some.tuples(
    some.just("raise"), some.builds(lambda each: each("own"), some.sampled_from(ERRORS))
)


def scripts(*more: str) -> some.SearchStrategy[Any]:
    """Scripts of generators that also do `more`, and delegate to others."""
    steps = [plain, raising, *(some.tuples(some.just(each), some.just(0)) for each in more)]
    inner = some.lists(some.one_of(*steps), max_size=3)
    outer = some.one_of(*steps, some.tuples(some.just("from"), inner))
    return some.lists(outer, max_size=5)


errors = some.sampled_from(ERRORS).flatmap(
    lambda kind: some.sampled_from([(kind,), (kind("thrown"),)])
)
operations = some.lists(
    some.one_of(
        some.tuples(some.just("next"), some.just(())),
        some.tuples(some.just("send"), some.tuples(values)),
        some.tuples(some.just("throw"), errors),
        some.tuples(some.just("close"), some.just(())),
        some.tuples(some.just("state"), some.just(())),
    ),
    max_size=8,
)
steps = some.lists(
    some.tuples(
        some.sampled_from(("__anext__", "asend", "asend", "athrow", "aclose")),
        values,
        errors,
        some.lists(
            some.one_of(some.just("send"), some.just("next"), some.just("close"), errors),
            max_size=3,
        ),
    ),
    max_size=6,
)
IMPLEMENTATIONS = ["pure", "compiled"] if probes.compiled() else ["pure"]
some_meter = some.sampled_from(sorted(METERS))
some_probes = some.sampled_from(IMPLEMENTATIONS)
many = settings(max_examples=200, deadline=None)


@contextmanager
def complaints() -> Iterator[list[Any]]:
    """What is warned of, and what comes up where nobody can catch it."""
    found: list[Any] = []
    hook = sys.unraisablehook
    sys.unraisablehook = lambda each: found.append((each.exc_type, str(each.exc_value)))
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            yield found
            gc.collect(0)
        found += [(each.category, told(str(each.message))) for each in said]
    finally:
        sys.unraisablehook = hook


def states(each: Any, prefix: str) -> Any:
    """What it says of itself."""
    names = ("running", "code", "yieldfrom", "await")
    seen = [outcome(getattr, each, f"{prefix}_{name}")[:2] for name in names]
    return [*seen, getattr(each, f"{prefix}_frame") is None]


def drive(world: World, name: str, prefix: str, script: Any, operations: Any) -> Any:
    """All that comes of a generator or coroutine, and how many began."""
    begun = world.module.BEGUN
    begun[:] = [0]
    me: list[Any] = []
    log = []
    with world.entered(), complaints() as complained:
        each = getattr(world.module, name)(script, me)
        me.append(each)
        for operation, args in operations:
            if operation == "state":
                log.append(states(each, prefix))
            elif operation == "next":
                log.append(outcome(each.__next__) if prefix == "gi" else outcome(each.send, None))
            else:
                log.append(outcome(getattr(each, operation), *args))
        me.clear()
        del each
    return log, complained, begun[0], len(begun) - 1


def compare(target: str, meter: str, implementation: str, drive: Any) -> None:
    """Drive both worlds; they do the same, and the calls are as many as have begun."""
    with tempfile.TemporaryDirectory() as directory:
        bare = drive(World("scripts"))
        recording = Recording(Path(directory), implementation)
        measured = Measured(recording, target, meter, "scripts")
        found = drive(measured)
        assert found == bare
        assert measured.calls == bare[-1]
        assert recording.troubles == []


@many
@given(scripts("reenter"), operations, some_meter, some_probes)
def test_generators(script: Any, operations: Any, meter: str, made: str) -> None:
    """Values, exceptions and their contexts, states, warnings and counts are those of bare ones."""
    compare(
        "scripted", meter, made, lambda world: drive(world, "scripted", "gi", script, operations)
    )


@many
@given(scripts("reenter", "await again"), operations, some_meter, some_probes)
def test_coroutines(script: Any, operations: Any, meter: str, made: str) -> None:
    """The same of coroutines, those that were never awaited included."""
    compare(
        "scripted_coroutine",
        meter,
        made,
        lambda world: drive(world, "scripted_coroutine", "cr", script, operations),
    )


def drive_async(world: World, script: Any, steps: Any) -> Any:
    """All that comes of an asynchronous generator whose steps may overlap."""
    begun = world.module.BEGUN
    begun[:] = [0]
    log: list[Any] = []
    kept = []
    with world.entered(), complaints() as complained:
        each = world.module.scripted_async(script, None)
        for name, value, error, moves in steps:
            args = {"asend": (value,), "athrow": error}.get(name, ())
            step = getattr(each, name)(*args)
            kept.append(step)
            for move in moves:
                if move in ("send", "next"):
                    log.append(outcome(step.send, None) if move == "send" else outcome(next, step))
                elif move == "close":
                    log.append(outcome(step.close))
                else:
                    log.append(outcome(step.throw, *move))
                log.append(states(each, "ag"))
        each = step = None
        kept.clear()
    return log, complained, begun[0], len(begun) - 1


@many
@given(scripts("wait"), steps, some_meter, some_probes)
def test_asynchronous_generators(script: Any, steps: Any, meter: str, made: str) -> None:
    """The same of asynchronous generators, whose steps are awaited or not, and may overlap."""
    compare("scripted_async", meter, made, lambda world: drive_async(world, script, steps))
