"""Calls a target in bursts: steady.py BURSTS CALLS_A_BURST PAUSE [FILE].

With FILE it goes on, beyond BURSTS, until FILE is there. Its last word is the number of its calls.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

import targets

least, calls, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
end = Path(sys.argv[4] if len(sys.argv) > 4 else sys.argv[0])
for bursts in itertools.count(1):
    for _ in range(calls):
        targets.function()
    print(".", flush=True)
    time.sleep(pause)
    if bursts >= least and end.exists():
        break
print(bursts * calls, flush=True)
