"""Forks workers that call functions of `many` each second: busy.py WORKERS CALLS.

Each line of its input is a number: so many of the functions are called from then on, CALLS times
a second each, in each worker. It prints "ready" when every worker has called every function once.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
import time

import many

workers, calls = int(sys.argv[1]), int(sys.argv[2])
functions = [getattr(many, f"f{number}") for number in range(1000)]
active = memoryview(mmap.mmap(-1, 4096)).cast("L")
ready = memoryview(mmap.mmap(-1, 4096))


def work(number: int) -> None:
    """Be a worker."""
    for function in functions:
        function()
    ready[number] = 1
    while True:
        time.sleep(1)
        for function in functions[: active[0]]:
            for _ in range(calls):
                function()


children = []
for number in range(workers):
    child = os.fork()
    if not child:
        work(number)
    children.append(child)
while sum(ready[:workers]) < workers:
    time.sleep(0.05)
print("ready", flush=True)
for line in sys.stdin:
    active[0] = int(line)
for child in children:
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
