"""Functions and methods that do nothing, each to be measured in its own way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

PIECES = 1000
STEPS = range(PIECES)


def bare() -> None:
    """Not measured."""


def one() -> None:
    """Measured by one metric type."""


def three() -> None:
    """Measured by three metric types."""


def inflight() -> None:
    """Measured by four."""


def given(word: str) -> None:
    """Not measured."""


def named(word: str) -> None:
    """Measured by a name with the argument in it."""


def helped(word: str) -> None:
    """Measured by the name that `helper` finds."""


def helper(word: str) -> str:
    """Names a call of `helped`."""
    return word


async def bare_coroutine() -> None:
    """Not measured."""


async def one_coroutine() -> None:
    """Measured by one metric type."""


def bare_generator() -> Iterator[int]:
    """Not measured."""
    yield from STEPS


def one_generator() -> Iterator[int]:
    """Measured by one metric type."""
    yield from STEPS


class Subject:
    """The same as methods."""

    def bare(self) -> None:
        pass

    def one(self) -> None:
        pass

    def three(self) -> None:
        pass

    def inflight(self) -> None:
        pass


def decorated(decorate: Any) -> tuple[Any, Any]:
    """A function and an object with a method `call`, both with that decorator."""

    class Decorated:
        @decorate
        def call(self) -> None:
            pass

    @decorate
    def call() -> None:
        pass

    return call, Decorated()
