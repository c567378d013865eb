"""What the service does: `handle`, and 199 functions that it calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

NUMBER = 199
SOURCE = "def f{number}():\n    pass\n"

exec("".join(SOURCE.format(number=number) for number in range(NUMBER)))
NAMES = ("handle", *(f"f{number}" for number in range(NUMBER)))


def handle(functions: Iterable[Any]) -> str:
    """Serve a request."""
    for function in functions:
        function()
    return "done"
