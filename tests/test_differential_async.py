"""Coroutines and asynchronous generators under asyncio, trio and anyio, measured and bare."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from differential import METERS, Measured, World, raised
from recording import Recording


@pytest.fixture(params=["pure", "compiled"])
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Recording:
    """Probes of this test's own."""
    return Recording(tmp_path, request.param)


# What a program does with `ticks`, of callables.py; each returns what can be compared


async def in_tasks(ticks: Any, log: list[Any]) -> Any:
    """Many tasks at once."""
    tasks = [asyncio.create_task(ticks(number, log), name=f"t{number}") for number in range(4)]
    names = [(task.get_name(), task.get_coro().__name__) for task in tasks]
    return names, await asyncio.gather(*tasks)


async def in_a_gather_that_fails(ticks: Any, log: list[Any]) -> Any:
    """One of several raises."""
    both = await asyncio.gather(ticks(2, log), ticks("x", log), return_exceptions=True)
    return [repr(each) for each in both]


async def cancelled(ticks: Any, log: list[Any]) -> Any:
    """A task that is cancelled while it waits."""
    task = asyncio.create_task(ticks(1000, log))
    while not log:
        await asyncio.sleep(0.001)
    task.cancel("enough")
    try:
        await task
    except asyncio.CancelledError as error:
        return raised(error)[:3], task.cancelled(), log[-1]


async def cancelled_before_its_start(ticks: Any, log: list[Any]) -> Any:
    """A task that is cancelled before it runs at all is no call."""
    task = asyncio.create_task(ticks(1000, log))
    task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task.cancelled(), log


async def with_a_timeout(ticks: Any, log: list[Any]) -> Any:
    """wait_for gives up."""
    try:
        await asyncio.wait_for(ticks(1000, log), 0.05)
    except asyncio.TimeoutError as error:
        return type(error).__name__, log[-1]


async def shielded(ticks: Any, log: list[Any]) -> Any:
    """A shielded call goes on where its waiter is cancelled."""
    inner = asyncio.ensure_future(ticks(3, log))
    outer = asyncio.ensure_future(asyncio.wait_for(asyncio.shield(inner), 0.001))
    with contextlib.suppress(asyncio.TimeoutError):
        await outer
    return await inner


async def in_an_executor_loop(ticks: Any, log: list[Any]) -> Any:
    """Another event loop in a thread."""
    return await asyncio.get_running_loop().run_in_executor(
        None, lambda: asyncio.run(ticks(2, log))
    )


async def kept_and_awaited_twice(ticks: Any, log: list[Any]) -> Any:
    """A coroutine is awaited once only."""
    made = ticks(1, log)
    first = await made
    try:
        await made
    except RuntimeError as error:
        return first, str(error)


async def awaited_by_two(ticks: Any, log: list[Any]) -> Any:
    """Two tasks cannot await the same coroutine at once."""
    made = ticks(3, log)

    async def wait() -> Any:
        return await made

    return sorted(
        map(repr, await asyncio.gather(*(wait() for _ in range(2)), return_exceptions=True))
    )


async def looked_at(ticks: Any, log: list[Any]) -> Any:
    """What inspect and asyncio say of a running one."""
    made = ticks(5, log)
    states = [inspect.getcoroutinestate(made)]
    task = asyncio.create_task(made)
    await asyncio.sleep(0.002)
    states.append(inspect.getcoroutinestate(made))
    stack = [frame.f_code.co_name for frame in task.get_stack()]
    await task
    states.append(inspect.getcoroutinestate(made))
    known = asyncio.iscoroutine(made), inspect.isawaitable(made), inspect.iscoroutine(made)
    return states, stack, known, asyncio.isfuture(made)


SCENES: dict[str, tuple[Callable[..., Any], int]] = {
    "tasks": (in_tasks, 4),
    "gather": (in_a_gather_that_fails, 2),
    "cancel": (cancelled, 1),
    "cancel early": (cancelled_before_its_start, 0),
    "timeout": (with_a_timeout, 1),
    "shield": (shielded, 1),
    "thread": (in_an_executor_loop, 1),
    "twice": (kept_and_awaited_twice, 1),
    "by two": (awaited_by_two, 1),
    "states": (looked_at, 1),
}


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug mode"])
@pytest.mark.parametrize("meter", METERS)
@pytest.mark.parametrize("scene", SCENES)
def test_asyncio(scene: str, meter: str, debug: bool, recording: Recording) -> None:
    """Tasks, cancellation, timeouts and what can be asked of them are the same; counts exact."""
    play, calls = SCENES[scene]
    measured = Measured(recording, "ticks", meter)
    found = [
        asyncio.run(play(world.module.ticks, []), debug=debug) for world in (World(), measured)
    ]

    assert found[1] == found[0]
    assert measured.calls == calls
    assert recording.troubles == []


# Asynchronous generators


async def left_early(ticking: Any) -> Any:
    """A loop that is left, and a generator that the loop has to end."""
    got = []
    async for each in ticking(5):
        got.append(each)
        if each == 2:
            break
    kept = ticking(3)
    got.append(await kept.__anext__())
    return got, inspect.isasyncgen(kept), kept


async def closed(ticking: Any) -> Any:
    """contextlib's aclosing, and a context manager made of it."""
    async with contextlib.aclosing(ticking(5)) as each:
        first = await anext(each)
    manager = contextlib.asynccontextmanager(ticking)
    async with manager(1) as entered:
        pass
    try:
        async with manager(1):
            raise KeyError("inside")
    except KeyError as error:
        return first, entered, await anext(each, "none"), raised(error)[:3]


@pytest.mark.parametrize("play", [left_early, closed])
def test_asynchronous_generators_under_asyncio(play: Any, recording: Recording) -> None:
    """What the event loop ends at the end counts too."""
    measured = Measured(recording, "ticking")
    found = [asyncio.run(play(world.module.ticking))[:2] for world in (World(), measured)]

    assert found[1] == found[0]
    assert measured.calls == (2 if play is left_early else 3)


def test_hooks_of_asynchronous_generators(recording: Recording) -> None:
    """sys.set_asyncgen_hooks: both are called as often, with a generator equal to the one known."""

    def hooked(world: World) -> Any:
        seen: list[Any] = []
        old = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(
            lambda each: seen.append(("first", each.__name__)),
            lambda each: seen.append(("last", each.__name__)),
        )
        try:
            made = world.module.async_generator(1)
            with contextlib.suppress(StopIteration):
                made.__anext__().send(None)
            del made
        finally:
            sys.set_asyncgen_hooks(*old)
        return seen

    bare = hooked(World())

    assert bare == [("first", "async_generator"), ("last", "async_generator")]
    assert hooked(Measured(recording, "async_generator")) == bare


def test_steps_that_nobody_awaits(recording: Recording) -> None:
    """The warnings about them are the same."""

    def forget(world: World) -> Any:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            made = world.module.async_generator(1)
            made.asend(None)
            made.aclose()
            del made
        return [(str(each.message), each.lineno, each.filename) for each in said]

    assert forget(Measured(recording, "async_generator")) == forget(World())


# Other runtimes


def under_trio(world: World) -> Any:
    """A nursery, a cancelled scope, a generator that is left."""
    import trio

    got: list[Any] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(world.module.sleeps, trio.sleep, number, got)
        with trio.move_on_after(0.05) as scope:
            await world.module.sleeps(trio.sleep, 1000, got)
        got.append(scope.cancelled_caught)

    trio.run(main)
    return sorted(map(str, got))


def under_anyio(world: World) -> Any:
    """A task group and a scope that is cancelled."""
    import anyio

    got: list[Any] = []

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(world.module.sleeps, anyio.sleep, number, got)
        with anyio.move_on_after(0.05) as scope:
            await world.module.sleeps(anyio.sleep, 1000, got)
        got.append(scope.cancelled_caught)

    anyio.run(main)
    return sorted(map(str, got))


@pytest.mark.parametrize("play", [under_trio, under_anyio])
@pytest.mark.parametrize("meter", METERS)
def test_other_runtimes(play: Any, meter: str, recording: Recording) -> None:
    """Nurseries, task groups and scopes that are cancelled do the same; counts are exact."""
    if find_spec(play.__name__.rpartition("_")[2]) is None:
        pytest.skip("pip install trio anyio")
    measured = Measured(recording, "sleeps", meter)

    assert play(measured) == play(World())
    assert recording.counts().cancelled == 1
    assert measured.calls == 4
