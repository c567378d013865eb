"""What a measured call costs, by what is asked for. For other tools see comparison.py."""

from __future__ import annotations

import json
from statistics import median

from report import Figure, Goal, Section, figure
from scratch import Scratch

ROUNDS = 60
KINDS = ("function", "method", "coroutine", "step")
TITLES = {
    "one": "tach, one metric type",
    "three": "tach, three metric types",
    "inflight": "tach, with inflight too",
    "named": "tach, one series for each value of an argument",
    "helped": "tach, named by a helper, whose own time is not taken off",
    "pure": "tach, not compiled",
    "off": "tach, disabled: what was kept of it after tach.uninstall()",
}
MEANING = """\
Nanoseconds a call takes longer than the bare one, which takes {function:.0f} (function) and
{method:.0f} (method); of a coroutine that is awaited ({coroutine:.0f}), and of a step of a
generator ({step:.0f}): the median over {rounds} rounds and their middle half. In each round each
of them had its turn, all in the same process. The last column is the function's in proportion to
tach's with one metric type."""
CONFIG = """\
notifiers: {{statsd: {{type: statsd, port: {port}}}}}
defaults: {{metrics: [timing]}}
targets:
  one: subjects:one
  one.method: subjects:Subject.one
  one.coroutine: subjects:one_coroutine
  one.generator: subjects:one_generator
  three: {{function: "subjects:three", metrics: [timing, count, exceptions]}}
  three.method: {{function: "subjects:Subject.three", metrics: [timing, count, exceptions]}}
  named.{{args.word}}: subjects:named
  helped: {{function: subjects:helped, helper: "subjects:helper"}}
  inflight: {{function: "subjects:inflight", metrics: [timing, count, exceptions, inflight]}}
  inflight.method:
    {{function: "subjects:Subject.inflight", metrics: [timing, count, exceptions, inflight]}}
"""

# What is bare beside it, if not `bare`.
BARE = {"named": "given", "helped": "given", "off": "bare after"}

Times = dict[str, dict[str, list[float]]]


def measure(scratch: Scratch, port: int) -> Section:
    """Run them all; `port` is one of UDP that takes whatever is sent."""
    config = scratch.config("calls.yaml", CONFIG.format(port=port))
    rounds = scratch.rounds(ROUNDS)
    command = (scratch.tach, config, scratch.python, "calling.py", str(rounds))
    times: Times = json.loads(scratch.run(*command))
    over = {name: {kind: overhead(times, name, kind) for kind in times[name]} for name in TITLES}
    one = over["one"]["function"].median
    rows = [
        (title, *(text(over[name].get(kind)) for kind in KINDS), ratio(over[name], one))
        for name, title in TITLES.items()
    ]
    bare = {kind: median(values) for kind, values in times["bare"].items()}
    goals = [
        *(
            Goal(f"a {kind} over the bare one", over["one"][kind].median, 75, " ns")
            for kind in KINDS[:2]
        ),
        Goal("inflight", over["inflight"]["function"].median - one, 10, " ns more"),
        Goal("a name of arguments", (over["named"]["function"].median - one) / 1000, 1, " us more"),
        Goal(
            "a helper, beside its own time",
            (over["helped"]["function"].median - one - median(times["helper"]["function"])) / 1000,
            1.5,
            " us more",
        ),
        Goal("a coroutine over the bare one", over["one"]["coroutine"].median, 250, " ns"),
        Goal("a step of a generator over the bare one", over["one"]["step"].median, 60, " ns"),
        Goal("not compiled", over["pure"]["function"].median / 1000, 0.75, " us"),
        Goal("disabled", over["off"]["function"].median, 30, " ns"),
    ]
    return Section(
        "A call",
        MEANING.format(**bare, rounds=rounds),
        ("", *KINDS, "ratio"),
        rows,
        goals,
    )


def overhead(times: Times, name: str, kind: str) -> Figure:
    """What the contender takes longer than the bare call of the same round."""
    bare = "given" if name in ("named", "helped") else "bare"
    pairs = zip(times[name][kind], times[bare][kind], strict=True)
    return figure([mine - bare for mine, bare in pairs])


def text(found: Figure | None) -> str:
    """The figure, if there is one."""
    return found.text() if found else ""


def ratio(over: dict[str, Figure], one: float) -> str:
    """The function's overhead as a multiple of `one`."""
    return f"{over['function'].median / one:.2f}"
