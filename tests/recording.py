"""Probes outside of any run: what they record in a directory, and what the sender reads there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tach.agent import probes, proxy
from tach.agent.files import SegmentFile
from tach.agent.recorder import Recorder
from tach.agent.segment import Segment
from tach.histogram import Histogram
from tach.sender.counts import NOTHING, Counts
from tach.sender.segments import SegmentReader


class Recording:
    """A process's segment in `directory`, and what has gone wrong with it.

    Its probes are of the implementation "compiled" or "pure"; by default that which is used.
    """

    def __init__(self, directory: Path, implementation: str = probes.implementation()) -> None:
        self.directory = directory
        self.troubles: list[str] = []
        self.proxy = proxy.object_proxy()
        compiled = probes.compiled() if implementation == "compiled" else None
        self.probes = probes.Probes(self.proxy, compiled)
        if self.probes.implementation != implementation:
            pytest.skip("the compiled probe is not there")
        self._file = SegmentFile(str(directory), 1234)
        self.segment = Segment(self._file, "a program")
        self.recorders: list[Recorder] = []

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def recorder(self, target: int = 0, ignore: tuple[str, ...] = ()) -> Recorder:
        """What records target number `target`."""
        recorder = Recorder(self.segment, target, ignore, self.troubles.append)
        self.recorders.append(recorder)
        return recorder

    def probe(self, function: Callable[..., Any], target: int = 0, *ignore: str) -> Any:
        """A probe around the function."""
        return self.probes.counting(function, self.recorder(target, ignore))

    def after_fork(self) -> None:
        """What a session does in a forked child."""
        self._file.after_fork(5678)
        self.segment.after_fork()
        for recorder in self.recorders:
            recorder.after_fork()

    def counts(self, target: int = 0) -> Counts:
        """What all segments of the directory together say of the target."""
        counts = NOTHING
        for file in sorted(self.directory.glob("*.segment")):
            if file.stat().st_size:
                reader = SegmentReader(str(file))
                for series in reader.find_new():
                    if series.target == target:
                        counts = counts.plus(reader.counts(series))
                reader.close()
        return counts

    def calls(self, target: int = 0) -> int:
        """How many calls of the target ended."""
        return calls(self.counts(target))


def calls(counts: Counts) -> int:
    """How many calls the counts tell of."""
    return Histogram(counts.pairs).count
