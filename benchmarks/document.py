"""The page that the benchmarks write: a head, and sections that can be replaced one by one."""

from __future__ import annotations

import datetime
import os
import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from report import Section

HEAD = """\
# What tach costs

Each section tells the command that makes it, and when and where it was made last. The figures of
another machine differ; the proportions hardly do. What others do on the machine makes all of them
worse: the load average is that of the minute before.
"""
MARK = re.compile(r"^<!-- make bench (\w+) -->\n", re.MULTILINE)
FOOT = """\
*`make bench ARGS="--only {name} --write"` on {date}: Python {python},
{cores} cores of {cpu}, clock source {clock}, load average {load:.1f}.*"""


class Document:
    """The sections of a page by their names."""

    def __init__(self, file: Path) -> None:
        self._file = file
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        _, *parts = MARK.split(text)
        self._sections = dict(zip(parts[::2], parts[1::2], strict=True))
        self._load, *_ = os.getloadavg()

    def put(self, name: str, section: Section) -> None:
        """Have this section in the page, in the place of what it had by that name."""
        foot = FOOT.format(
            name=name,
            date=datetime.date.today().isoformat(),
            python=platform.python_version(),
            cores=os.cpu_count(),
            cpu=cpu(),
            clock=clock_source(),
            load=self._load,
        )
        self._sections[name] = f"\n{section.text()}\n\n{foot}\n"
        if section.picture:
            section.picture.draw(self._file.parent / section.picture.name)

    def write(self, order: Iterable[str]) -> None:
        """Write the page, its sections in that order, those of other names left out."""
        self._file.write_text(page(self._sections, order), encoding="utf-8")


def page(sections: Mapping[str, str], order: Iterable[str]) -> str:
    """The text of the page."""
    marked = [
        f"<!-- make bench {name} -->\n{sections[name].rstrip()}\n"
        for name in order
        if name in sections
    ]
    return "\n".join([HEAD, *marked])


def cpu() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def clock_source() -> str:
    """What the kernel tells the time by: `tsc` is the one that the compiled probe reads itself."""
    file = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    return file.read_text().strip() if file.exists() else "unknown"
