"""What soak.py runs under tach: soaking.py CALLS EXCEPTIONS FORKS.

For each of those it prints what has been done ("calls 1000") and how much memory is in use then, in
bytes, ten times; at its end, by how much the reference counts of what took part have grown.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import soaked

STEPS = 10
WARM_UP = 3.0  # seconds, in which the sender sends for the first time
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """The memory of this process that is in use."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE


def say(what: str, done: int) -> None:
    """Print a line, with one write: so that no process has it to print again."""
    os.write(1, f"{what} {done} {resident()}\n".encode())


def call(number: int) -> None:
    """Call functions, methods and generators."""
    function, method, generator = soaked.function, soaked.Owner().method, soaked.generator
    for _ in range(number // 4):
        function(soaked.THING, keyword=soaked.THING)
        method(soaked.THING)
        function(soaked.THING)
        for _each in generator(soaked.THING):
            pass


def fail(number: int) -> None:
    """Call what raises."""
    for _ in range(number):
        with suppress(LookupError):
            soaked.fails(soaked.ERROR)
        soaked.ERROR.__traceback__ = None


def soak(what: str, run: Callable[[int], None], times: int) -> None:
    """Run it so many times, and say so in between."""
    for step in range(1, STEPS + 1):
        run(times // STEPS)
        say(what, times // STEPS * step)


def breed(number: int) -> None:
    """Children that call something and end."""
    for _ in range(number):
        child = os.fork()
        if not child:
            soaked.function(soaked.THING)
            os._exit(0)
        os.waitpid(child, 0)


def main(calls: int, exceptions: int, forks: int) -> None:
    """All of it, and what is left of references."""
    everything = (*soaked.EVERYTHING, LookupError)
    call(1000)
    fail(1000)
    breed(10)
    time.sleep(WARM_UP)
    gc.collect()
    before = [sys.getrefcount(each) for each in everything]
    soak("calls", call, calls)
    soak("exceptions", fail, exceptions)
    soak("forks", breed, forks)
    gc.collect()
    after = [sys.getrefcount(each) for each in everything]
    grown = [one - other for one, other in zip(after, before, strict=True)]
    say(f"references {sum(map(abs, grown))}", 0)


main(*map(int, sys.argv[1:]))
