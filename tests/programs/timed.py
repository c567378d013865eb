"""A target that takes as long as it is told, by the clock of `lognormal`."""

from __future__ import annotations

now = 0


def work(nanoseconds: int) -> None:
    global now
    now += nanoseconds
