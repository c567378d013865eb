"""Work that burns, sleeps, burns, and measures itself: how long it ran, how long it waited."""

import time

measured = {"running": 0.0, "waiting": 0.0}  # of all, in milliseconds


def burn(milliseconds):
    """Use the processor for so long, whoever else wants it."""
    end = time.thread_time_ns() + milliseconds * 1_000_000
    while time.thread_time_ns() < end:
        pass


def note(began, left, back, ended):
    measured["running"] += (left - began + ended - back) / 1e6
    measured["waiting"] += (back - left) / 1e6


def work(sleep):
    began = time.monotonic_ns()
    burn(50)
    left = time.monotonic_ns()
    sleep(0.1)
    back = time.monotonic_ns()
    burn(50)
    note(began, left, back, time.monotonic_ns())


async def work_async(sleep):
    began = time.monotonic_ns()
    burn(50)
    left = time.monotonic_ns()
    await sleep(0.1)
    back = time.monotonic_ns()
    burn(50)
    note(began, left, back, time.monotonic_ns())


def outer(sleep, depth=2):
    """Calls itself around `work`."""
    burn(10)
    if depth:
        outer(sleep, depth - 1)
    else:
        work(sleep)
    sleep(0.02)
