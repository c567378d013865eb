"""Functions of each kind for the tests to measure; they keep no state."""

from __future__ import annotations

import builtins


class Own(Exception):
    """An exception that is not built in."""


def function(number: int = 1) -> int:
    return number + 1


def recursive(depth: int) -> int:
    return recursive(depth - 1) + 1 if depth else 0


def fails(name: str = "ValueError") -> None:
    """Raise the built-in exception of that name, or `Own`."""
    raise Own(name) if name == "Own" else getattr(builtins, name)(name)


class Base:
    def method(self, number: int = 1) -> int:
        return number + 1

    def inherited(self) -> str:
        return type(self).__name__

    @classmethod
    def class_method(cls) -> str:
        return cls.__name__

    @staticmethod
    def static_method(number: int = 1) -> int:
        return number + 1

    class Nested:
        def method(self) -> str:
            return "nested"


class Child(Base):
    def method(self, number: int = 1) -> int:
        return super().method(number) + 1
