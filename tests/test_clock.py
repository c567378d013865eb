"""The clock of the compiled probe, which may read the processor's counter instead of asking."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

probe = pytest.importorskip("tach.agent._probe", reason="no compiled probe")
FAR = 20_000  # nanoseconds; what the two clocks may be apart


def readings(seconds: float) -> Iterator[tuple[int, int, int]]:
    """The probe's clock between two looks at the system's; with short pauses, for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(100):
            yield time.monotonic_ns(), probe.now(), time.monotonic_ns()
        time.sleep(0.003)


def test_it_is_the_monotonic_clock() -> None:
    """Whatever it reads lies between two looks at the system's clock."""
    apart = [max(before - read, read - after) for before, read, after in readings(0.5)]
    assert len(apart) > 1000
    assert max(apart) < FAR


def test_it_does_not_go_backwards() -> None:
    """Also where the length of a tick is measured anew, on whatever processor."""
    processors = sorted(os.sched_getaffinity(0))
    try:
        for processor in (*processors, *processors):
            os.sched_setaffinity(0, {processor})
            reads = [read for _, read, _ in readings(0.05)]
            assert all(one <= other for one, other in pairwise(reads))
    finally:
        os.sched_setaffinity(0, set(processors))


def test_after_a_long_pause_and_a_fork_it_is_right() -> None:
    """The length of a tick holds for a few milliseconds; what is older is not relied on."""
    probe.now()
    time.sleep(0.3)
    child = os.fork()
    if child == 0:
        before, read, after = time.monotonic_ns(), probe.now(), time.monotonic_ns()
        os._exit(not before - FAR < read < after + FAR)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    before, read, after = time.monotonic_ns(), probe.now(), time.monotonic_ns()
    assert before - FAR < read < after + FAR
