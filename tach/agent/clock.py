"""Clocks and a pause as they are before the program can patch them."""

from __future__ import annotations

from time import gmtime, monotonic_ns, sleep, strftime, thread_time_ns, time

__all__ = ["gmtime", "monotonic_ns", "sleep", "strftime", "thread_time_ns", "time"]
