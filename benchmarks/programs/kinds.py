"""What is measured: one of each kind of function that does nothing, and one of each that lasts."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

STEPS = range(10_000)
LASTS = 0.02  # seconds


class Pauses:
    """What makes a coroutine pause so many times, without any event loop."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __await__(self) -> Iterator[None]:
        return itertools.repeat(None, self._number)


PAUSE, PAUSES = Pauses(1), Pauses(len(STEPS))


def function() -> None:
    """Does nothing."""


async def coroutine() -> None:
    """Does nothing."""


async def pausing() -> None:
    """Pauses."""
    await PAUSES


def generator() -> Iterator[int]:
    """Yields."""
    yield from STEPS


def lasting_function() -> None:
    """Lasts."""
    time.sleep(LASTS)


async def lasting_coroutine() -> None:
    """Lasts, once it has been resumed."""
    await PAUSE
    time.sleep(LASTS)


def lasting_generator() -> Iterator[None]:
    """Lasts, once it has been resumed."""
    yield
    time.sleep(LASTS)


class Subject:
    """The methods."""

    def method(self) -> None:
        """Does nothing."""

    def lasting_method(self) -> None:
        """Lasts."""
        time.sleep(LASTS)


subject = Subject()
FUNCTIONS = (
    "function",
    "coroutine",
    "pausing",
    "generator",
    "lasting_function",
    "lasting_coroutine",
    "lasting_generator",
)
METHODS = ("method", "lasting_method")
