"""What a measured program has let go is freed as it is without tach."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from differential import METERS
from recording import Recording

from tach.agent.meter import Meter
from tach.agent.patching import Patcher

SOURCE = """
def call(error):
    try:
        raise error
    finally:
        del error

def generate(error):
    try:
        raise error
    finally:
        del error
    yield

def pause(*ignored):
    yield

async def run(error):
    try:
        raise error
    finally:
        del error

def forget(thing):
    del thing
    yield
"""


@pytest.fixture(params=("pure", "compiled"))
def recording(tmp_path: Path, request: pytest.FixtureRequest) -> Recording:
    """Probes of each sort in turn."""
    return Recording(tmp_path, request.param)


def module() -> ModuleType:
    """SOURCE, executed anew."""
    made = ModuleType("program")
    exec(SOURCE, vars(made))
    return made


def patched(recording: Recording, name: str, meter: str) -> ModuleType:
    """The same with one function measured."""
    made = module()
    counting = Meter(recording.recorder(), **METERS[meter])
    assert Patcher(recording.proxy, recording.probes).patch(made, name, counting)
    return made


def use(function: Any, error: Exception, how: str) -> None:
    """Have the function raise the error."""
    made = function(error)
    if how == "throw":
        made.send(None)
        made.throw(error)
    elif how:
        made.send(None)


def referrers(program: ModuleType, name: str, how: str) -> list[str]:
    """The classes of what refers to an exception that was an argument and has been caught."""
    error = LookupError()
    try:
        use(getattr(program, name), error, how)
    except LookupError:
        pass
    else:
        raise AssertionError("it was not raised")
    return sorted(type(each).__name__ for each in gc.get_referrers(error))


@pytest.mark.parametrize("meter", sorted(METERS))
@pytest.mark.parametrize(
    ("name", "how"), [("call", ""), ("generate", "send"), ("run", "send"), ("pause", "throw")]
)
def test_a_traceback_holds_no_arguments(
    recording: Recording, name: str, how: str, meter: str
) -> None:
    """An exception that came through a probe is held by nobody who does not hold it without."""
    measured = referrers(patched(recording, name, meter), name, how)

    assert measured == referrers(module(), name, how)
    assert recording.calls() == 1


@pytest.mark.parametrize("meter", [each for each in METERS if "companions" not in METERS[each]])
def test_a_generator_lets_its_arguments_go(recording: Recording, meter: str) -> None:
    """What a generator has let go is freed while it is paused."""

    class Thing:
        pass

    thing = Thing()
    weak = weakref.ref(thing)
    paused = patched(recording, "forget", meter).forget(thing)
    del thing
    next(paused)

    assert weak() is None
    paused.close()
    assert recording.calls() == 1
