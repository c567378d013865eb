"""Calls targets as it is told: each line of its input is TIMES NAME; it answers with the line."""

from __future__ import annotations

import sys
from contextlib import suppress

import targets

for line in sys.stdin:
    times, name = line.split()
    function = getattr(targets, name)
    for _ in range(int(times)):
        with suppress(ValueError):
            function()
    print(line, end="", flush=True)
