"""Forks workers that call functions of `many` each second: busy.py WORKERS FUNCTIONS.

Each line of its input is SERIES CALLS: so many of the functions are called from then on, so many
times a second each, in each worker. It prints "ready" when every worker has called every function.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
import time

import many

workers = int(sys.argv[1])
functions = [getattr(many, f"f{number}") for number in range(int(sys.argv[2]))]
load = memoryview(mmap.mmap(-1, 4096)).cast("L")
ready = memoryview(mmap.mmap(-1, 4096))


def work(number: int) -> None:
    """Be a worker."""
    for function in functions:
        function()
    ready[number] = 1
    while True:
        time.sleep(1)
        series, calls = load[0], load[1]
        for function in functions[:series]:
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
    load[0], load[1] = map(int, line.split())
for child in children:
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
