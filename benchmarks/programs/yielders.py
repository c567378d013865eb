"""Functions that yield, to be measured or not."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any


def yields(sleep: Callable[[float], Any], number: int) -> None:
    """As a greenthread."""
    for _ in range(number):
        sleep(0)


def generates(number: int) -> Generator[int, None, None]:
    """As a generator."""
    yield from range(number)


async def awaits(number: int) -> None:
    """As a coroutine."""
    for _ in range(number):
        await PAUSE


def nothing() -> None:
    """Not at all."""


class Pause:
    """What makes a coroutine pause, without any event loop."""

    def __await__(self) -> Any:
        return PAUSES


class Pauses:
    """Its iterator, which pauses once and has no state but that."""

    def __init__(self) -> None:
        self.paused = False

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> None:
        self.paused = not self.paused
        if not self.paused:
            raise StopIteration


PAUSE, PAUSES = Pause(), Pauses()
