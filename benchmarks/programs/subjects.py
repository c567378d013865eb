"""Functions and methods that do nothing, each to be measured in its own way."""

from __future__ import annotations

from typing import Any


def bare() -> None:
    """Not measured."""


def one() -> None:
    """Measured by one metric type."""


def three() -> None:
    """Measured by three metric types."""


class Subject:
    """The same as methods."""

    def bare(self) -> None:
        pass

    def one(self) -> None:
        pass

    def three(self) -> None:
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
