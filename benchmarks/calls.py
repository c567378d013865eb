"""What a measured call costs, beside other ways to measure it."""

from __future__ import annotations

import json
from statistics import median

from report import Figure, Goal, Section, figure
from scratch import Scratch

ROUNDS = 60
TITLES = {
    "one": "tach, one metric type",
    "three": "tach, three metric types",
    "cprofile": "cProfile",
    "wrapt": "wrapt.FunctionWrapper doing nothing",
    "prometheus": "prometheus_client Histogram.time()",
    "statsd": "statsd decorator, to a UDP socket",
}
MEANING = """\
Nanoseconds a call takes longer than the bare one, which takes {function:.0f} (function) and
{method:.0f} (method): the median over {rounds} rounds and their middle half. In each round every
contender had its turn in the same process. The last column is the function's in proportion to
tach's with one metric type."""
CONFIG = """\
notifiers: {{statsd: {{type: statsd, port: {port}}}}}
defaults: {{metrics: [timing]}}
targets:
  one: subjects:one
  one.method: subjects:Subject.one
  three: {{function: "subjects:three", metrics: [timing, count, exceptions]}}
  three.method: {{function: "subjects:Subject.three", metrics: [timing, count, exceptions]}}
"""

Times = dict[str, dict[str, list[float]]]


def measure(scratch: Scratch, port: int) -> Section:
    """Run the contenders; `port` is one of UDP that takes whatever is sent."""
    config = scratch.config("calls.yaml", CONFIG.format(port=port))
    command = (scratch.tach, config, scratch.python, "contenders.py", str(ROUNDS))
    times: Times = json.loads(scratch.run(*command))
    over = {name: {kind: overhead(times, name, kind) for kind in times[name]} for name in TITLES}
    one = over["one"]["function"].median
    rows = [
        (title, *(each.text() for each in over[name].values()), ratio(over[name], one))
        for name, title in TITLES.items()
    ]
    bare = {kind: median(values) for kind, values in times["bare"].items()}
    goals = [
        Goal("a function over the bare one", one / 1000, 0.75, " us"),
        Goal(
            "in proportion to the statsd decorator",
            one / over["statsd"]["function"].median,
            1 / 8,
            "",
        ),
    ]
    return Section(
        "A call",
        MEANING.format(**bare, rounds=ROUNDS),
        ("", "function", "method", "ratio"),
        rows,
        goals,
    )


def overhead(times: Times, name: str, kind: str) -> Figure:
    """What the contender takes longer than the bare call of the same round."""
    pairs = zip(times[name][kind], times["bare"][kind], strict=True)
    return figure([mine - bare for mine, bare in pairs])


def ratio(over: dict[str, Figure], one: float) -> str:
    """The function's overhead as a multiple of `one`."""
    return f"{over['function'].median / one:.2f}"
