"""What a call leaves behind, and what it sees of its caller: measured and bare."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from differential import CASES, METERS, Measured, World, outcome
from recording import Recording

from tach.agent.likeness import PASSED_OVER


@pytest.fixture(params=["pure", "compiled"])
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Recording:
    """Probes of this test's own."""
    return Recording(tmp_path, request.param)


@pytest.fixture
def frames(recording: Recording) -> int:
    """How many frames of tach a measured call of a function adds."""
    return int(recording.probes.implementation == "pure")


def run(expression: str) -> Callable[[World], Any]:
    """Evaluates it in a world."""
    return lambda world: world.see(expression)


def both(recording: Recording, target: str, do: Callable[[World], Any]) -> tuple[Any, Any]:
    """What comes of it in the bare world and in one with the target measured."""
    found = []
    for world in (World(), Measured(recording, target)):
        with world.entered():
            found.append(do(world))
    return found[0], found[1]


# Exceptions


def frames_of(error: BaseException) -> list[Any]:
    """The frames of its traceback, and of what led to it, without those of the test itself."""
    found = []
    for each in (error, error.__cause__, error.__context__):
        trace = traceback.extract_tb(each.__traceback__) if each is not None else []
        found += [(frame.filename, frame.lineno, frame.name, frame.line) for frame in trace]
    return found[next(place for place, frame in enumerate(found) if frame[0] == "<string>") :]


TRACES = {
    "nested": "nested(4)",
    "nested_generator": "list(nested_generator(4))",
    "nested_coroutine": "run(nested_coroutine(4))",
    "raises_from": "raises_from(ValueError('a'), KeyError('b'))",
    "Thing.method": "Last().method()",
    "Thing.__call__": "Thing()()",
    "Thing.exact": "Thing('a').exact",
    "Thing.__init__": "Thing(1, 2)",
    "cached": "cached([])",
    "from_c": "from_c('a')",
}


@pytest.mark.parametrize("target", TRACES)
def test_a_traceback_has_one_more_line_for_each_call(target: str, recording: Recording) -> None:
    """At most one frame of tach for each measured call, on one line, and nothing else differs."""

    def fail(world: World) -> BaseException:
        try:
            world.see(TRACES[target])
        except Exception as error:  # noqa: BLE001 - it is what is looked at
            return error
        raise AssertionError("it did not fail")

    bare, measured = both(recording, target, fail)
    old, new = frames_of(bare), frames_of(measured)
    own = [frame for frame in new if frame[0] == PASSED_OVER]

    assert [frame for frame in new if frame not in own] == old
    assert len(own) <= recording.calls()
    assert traceback.format_exception_only(measured) == traceback.format_exception_only(bare)
    assert all(frame[3] == "" for frame in own)
    if recording.probes.implementation == "compiled":
        assert own == []


def test_what_is_raised_is_the_very_same(recording: Recording) -> None:
    """An exception comes out itself, its cause and context as they were."""
    error, cause = ValueError("own"), KeyError("cause")
    measured = Measured(recording, "raises_from")

    with pytest.raises(ValueError, match="own") as caught:
        measured.module.raises_from(error, cause)

    assert caught.value is error
    assert error.__cause__ is cause
    assert (error.__context__, error.__suppress_context__) == (None, True)


def test_what_is_being_handled_is_seen(recording: Recording) -> None:
    """sys.exc_info() inside a measured call is that of its caller, and is left as it was."""
    measured = Measured(recording, "current")
    error = ValueError()
    assert measured.module.current() is None
    try:
        raise error
    except ValueError:
        assert measured.module.current() is error
        assert sys.exc_info()[1] is error
    assert sys.exc_info()[1] is None
    assert both(recording, "handles", run("handles(KeyError())"))[0] == (True, 1)


def test_the_context_of_what_is_raised_while_handling(recording: Recording) -> None:
    """What a measured call raises in an except block has that block's exception as its context."""
    measured = Measured(recording, "raises_while_handling")
    outer, inner = KeyError("outer"), ValueError("inner")

    def handle() -> None:
        try:
            raise outer
        except KeyError:
            measured.module.raises_while_handling(inner)

    with pytest.raises(ValueError, match="inner") as caught:
        handle()

    assert caught.value is inner
    assert inner.__context__ is outer
    assert outer.__context__ is None


# Callers


def warned(world: World, expression: str) -> Any:
    """Where the warnings point to."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        outcome(world.see, expression)
    return [(each.filename, each.lineno, each.category, str(each.message)) for each in said]


@pytest.mark.parametrize("level", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("target", "use"),
    [
        ("warns", "warns({})"),
        ("warns_in_steps", "list(warns_in_steps({}))"),
        ("warns_later", "run(warns_later({}))"),
    ],
)
def test_warnings_point_where_they_did(
    target: str, use: str, level: int, recording: Recording
) -> None:
    """A warning's stacklevel counts the program's frames, not tach's."""
    bare, measured = both(recording, target, lambda world: warned(world, use.format(level)))

    assert len(bare) == 1
    assert measured == bare


@pytest.mark.parametrize("level", [1, 2, 3])
def test_logging_finds_the_caller(
    level: int, recording: Recording, frames: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A record names the program's own line; on Python 3.10 a stacklevel counts tach's frame."""

    def log(world: World) -> Any:
        caplog.clear()
        world.see(f"logs({level})")
        return [(each.pathname, each.lineno, each.funcName) for each in caplog.records]

    with caplog.at_level(logging.WARNING, "callables"):
        bare, measured = both(recording, "logs", log)

    if sys.version_info < (3, 11) and level > 1 and frames:
        assert measured != bare
        assert level > 2 or measured[0][0] == PASSED_OVER
    else:
        assert measured == bare


def test_who_looks_at_frames_sees_tach(recording: Recording, frames: int) -> None:
    """sys._getframe and inspect.stack show one frame of the pure probe, none of the compiled."""
    assert both(recording, "caller", run("caller()"))[1] == ("call" if frames else "<module>")
    bare, measured = both(recording, "stack", run("stack()"))

    assert measured[:-1].count("call") == bare[:-1].count("call") + frames
    assert [name for name in measured if name != "call"] == [
        name for name in bare if name != "call"
    ]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="what is not deprecated does not warn")
def test_a_deprecated_throw_is_said_to_be_tach_s(recording: Recording, frames: int) -> None:
    """The warning of `throw` with three arguments points to the pure probe, which calls it."""

    def throw(world: World) -> str:
        return warned(world, "generator(1).throw(ValueError, ValueError(), None)")[0][0]

    place = PASSED_OVER if frames else "<string>"
    assert both(recording, "generator", throw) == ("<string>", place)


# Depth


def test_a_recursion_gets_half_as_deep(recording: Recording, frames: int) -> None:
    """With the pure probe a recursive target gets half as deep, up to Python 3.11 a third.

    With the compiled one as deep as bare; Python 3.12 has a limit of its own for C, some 800.
    """
    measured = Measured(recording, "depth")
    bare = World().module.depth(0)
    found = measured.module.depth(0)

    part = 1 if not frames else 1 / 3 if sys.version_info < (3, 12) else 1 / 2
    if not frames and sys.version_info[:2] == (3, 12):
        bare = min(bare, found)
        assert found > 500
    assert bare > sys.getrecursionlimit() * 0.5
    assert found / bare == pytest.approx(part, rel=0.05)
    assert recording.troubles == []


# What is left behind


@pytest.mark.parametrize("meter", METERS)
def test_no_garbage_is_left(meter: str, recording: Recording) -> None:
    """The collector finds nothing after measured calls that it does not find after bare ones."""
    found: list[dict[str, int]] = [{}, {}]
    gc.collect()
    gc.freeze()  # what is there already is not to be looked at each time
    for kind, (target, _, uses, _) in CASES.items():
        for place, world in enumerate((World(), Measured(recording, target, meter))):
            with world.entered():
                use_all(world, uses)  # classes are made, and caches filled
                gc.collect()
                use_all(world, uses)
                found[place][kind] = gc.collect()
    gc.unfreeze()

    # these make cycles with a traceback, which has tach's frame in it
    known = {kind for kind in CASES if kind.endswith("that raises")}
    assert {kind for kind in CASES if found[1][kind] > found[0][kind]} <= known


def use_all(world: World, uses: tuple[str, ...]) -> None:
    """Evaluate them, whatever comes of it."""
    for use in uses:
        outcome(world.see, use)


def test_an_argument_is_held_until_the_call_ends(recording: Recording) -> None:
    """Since Python 3.11 a bare call lets go of an argument that it deletes; a measured one later.

    What was given to a generator or coroutine is let go as it is without tach.
    """
    bare, measured = both(recording, "forgets", run("forgets(Kept())"))

    assert bare == (sys.version_info < (3, 11))
    assert measured is True


def test_a_coroutine_knows_where_it_was_made(recording: Recording, frames: int) -> None:
    """Its origin, which asyncio's debug mode shows, has a frame of the pure probe in front."""

    def origin(world: World) -> Any:
        sys.set_coroutine_origin_tracking_depth(5)
        try:
            made = world.see("coroutine(1)")
        finally:
            sys.set_coroutine_origin_tracking_depth(0)
        found = made.cr_origin
        made.close()
        return found

    bare, measured = both(recording, "coroutine", origin)

    assert [frame[0] == PASSED_OVER for frame in measured[:2]] == [bool(frames), False]
    assert measured[frames:] == bare[: len(bare) - frames]


@pytest.mark.filterwarnings("ignore:'asyncio.iscoroutinefunction' is deprecated")
def test_nobody_awaited_it(recording: Recording) -> None:
    """The warning that a coroutine was never awaited is the same."""

    def forget(world: World) -> Any:
        return warned(world, "coroutine(1) and None")

    bare, measured = both(recording, "coroutine", forget)

    assert len(bare) == 1
    assert measured == bare
    assert asyncio.iscoroutinefunction(World().module.coroutine)
