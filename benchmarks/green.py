"""What it costs to know how long calls run and wait, in greenthreads and coroutines."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from report import Figure, Goal, Section, figure
from scratch import Scratch

ROUNDS = 60
LIBRARIES = ("eventlet", "gevent", "")
MODES = {
    "timing": ["timing"],
    "running": ["timing", "running"],
    "all": ["timing", "running", "waiting", "yields", "max_run"],
    "cpu": ["timing", "running", "cpu"],
}
TITLES = {
    ("eventlet", "yield"): "a yield under eventlet",
    ("gevent", "yield"): "a yield under gevent",
    ("", "await"): "a pause of a coroutine",
    ("", "generator"): "a step of a generator",
    ("", "call"): "a call, no greenthreads",
    ("eventlet", "call"): "a call under eventlet",
    ("gevent", "call"): "a call under gevent",
}
HEADER = ("", "bare", "not asked for", "running", "also max_run", "running, cpu")
MEANING = """\
Nanoseconds that a yield, a step or a call takes longer than in the bare program, in a call that is
measured by timing alone, with `running`, with `running`, `waiting`, `yields` and `max_run`, and
with `cpu`, for which each yield asks the kernel twice. The median over {rounds} rounds and their
middle half; the bare one is given as it is. In each round every program had its turn."""

Times = dict[tuple[str, str], list[dict[str, float]]]


def measure(scratch: Scratch, _port: int) -> Section:
    """Run the programs side by side, by turns."""
    programs = {
        (library, mode): start(scratch, library, mode)
        for library in LIBRARIES
        for mode in ("bare", *MODES)
    }
    times: Times = {key: [] for key in programs}
    try:
        for _ in range(scratch.rounds(ROUNDS)):
            for key, process in programs.items():
                times[key].append(turn(process))
    finally:
        for process in programs.values():
            process.communicate()
    return section(times)


def start(scratch: Scratch, library: str, mode: str) -> subprocess.Popen[str]:
    """The program with that library, measured in that way."""
    command = [scratch.python, "yielding.py", *([library] if library else [])]
    if mode == "bare":
        return scratch.start(*command)
    functions = ("yields", "generates", "awaits", "nothing")
    targets = {name: f"yielders:{name}" for name in functions}
    config = {
        "notifiers": {"console": {"type": "console", "file": f"{scratch.directory}/report"}},
        "defaults": {"metrics": MODES[mode]},
        "targets": targets,
    }
    return scratch.start(scratch.tach, scratch.config(f"{mode}.yaml", json.dumps(config)), *command)


def turn(process: subprocess.Popen[str]) -> dict[str, float]:
    """What one round of it took."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    found: dict[str, float] = json.loads(process.stdout.readline())
    return found


def section(times: Times) -> Section:
    """The table and the goals."""
    over = {
        (library, name): {mode: overhead(times, library, name, mode) for mode in MODES}
        for library, name in TITLES
    }
    rows: list[Any] = []
    for (library, name), title in TITLES.items():
        bare = figure([each[name] for each in times[library, "bare"]])
        cells = [each.text() for each in over[library, name].values()]
        rows.append((title, f"{bare.median:,.0f}", *cells))
    eventlet, gevent = over["eventlet", "yield"], over["gevent", "yield"]
    goals = [
        Goal("running, a yield under eventlet", eventlet["running"].median / 1000, 0.1, " us"),
        Goal("running, a yield under gevent", gevent["running"].median / 1000, 0.1, " us"),
        Goal("not asked for, under eventlet", eventlet["timing"].median / 1000, 0.05, " us"),
        Goal("not asked for, under gevent", gevent["timing"].median / 1000, 0.05, " us"),
    ]
    return Section("A yield", MEANING.format(rounds=len(times["", "bare"])), HEADER, rows, goals)


def overhead(times: Times, library: str, name: str, mode: str) -> Figure:
    """What it takes longer than the bare one of the same round."""
    pairs = zip(times[library, mode], times[library, "bare"], strict=True)
    return figure([mine[name] - bare[name] for mine, bare in pairs])
