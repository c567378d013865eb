"""Clocks and a pause as they are before the program can patch them."""

from __future__ import annotations

from time import monotonic_ns, sleep

__all__ = ["monotonic_ns", "sleep"]
