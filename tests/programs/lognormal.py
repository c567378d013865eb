"""Makes calls of known durations: lognormal.py MU SIGMA, the parameters in log nanoseconds.

For each number on a line of its input it makes that many calls, whose durations are the evenly
spaced quantiles of the distribution in random order, and prints their sum, least and greatest.
"""

from __future__ import annotations

import math
import random
import sys
from statistics import NormalDist

import tach.agent.clock as probe_clock

# The probe takes its clock when the first module with a target is imported, and keeps it.
real = probe_clock.monotonic_ns
probe_clock.monotonic_ns = lambda: sys.modules["timed"].now
import timed

probe_clock.monotonic_ns = real

logarithms = NormalDist(*map(float, sys.argv[1:]))
for line in sys.stdin:
    calls = int(line)
    durations = [round(math.exp(logarithms.inv_cdf((i + 0.5) / calls))) for i in range(calls)]
    random.Random(0).shuffle(durations)
    for duration in durations:
        timed.work(duration)
    print(sum(durations), min(durations), max(durations), flush=True)
