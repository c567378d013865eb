"""Makes 100 calls of 1 to 100 ms, by an injected clock, within one step: one_step.py STEP.

Prints when that step began, and ends when it is over.
"""

from __future__ import annotations

import sys
import time

import tach.agent.clock as probe_clock

# The probe takes its clock when the first module with a target is imported, and keeps it.
real = probe_clock.monotonic_ns
probe_clock.monotonic_ns = lambda: sys.modules["timed"].now
import timed

probe_clock.monotonic_ns = real

step = int(sys.argv[1])
time.sleep(step - time.time() % step + 0.2)
print(int(time.time()) // step * step, flush=True)
for milliseconds in range(1, 101):
    timed.work(milliseconds * 1_000_000)
time.sleep(step)
