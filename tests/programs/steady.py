"""Calls a target in bursts for as long as it is told: steady.py BURSTS CALLS_A_BURST PAUSE."""

from __future__ import annotations

import sys
import time

import targets

bursts, calls, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
for _ in range(bursts):
    for _ in range(calls):
        targets.function()
    print(".", flush=True)
    time.sleep(pause)
print("done", flush=True)
