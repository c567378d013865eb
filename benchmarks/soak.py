"""Whether memory stays what it is: soak.py [--calls N] [--exceptions N] [--forks N].

`make soak` calls it. A program calls, fails and forks that often under tach; its memory and the
sender's are to be at the end what they were after the first tenth, its reference counts the same.
Exit status 1 where they are not.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections import defaultdict

from report import Goal, Section
from scratch import Scratch
from sender import find_senders, memory, wait_for_end

SLACK = 1.0  # MB: what the allocator and the interpreter do by themselves
CONFIG = """\
notifiers: {{statsd: {{type: statsd, port: {port}}}}}
targets:
  function: soaked:function
  generator: soaked:generator
  fails: soaked:fails
  method: {{function: soaked:Owner.method, metrics: [timing, count, inflight, own]}}
"""
MEANING = """\
Memory in MB, of the program and of its sender (guard and sender together, what they have
allocated), after the first tenth and at the end of so many calls (functions, methods, generators),
exceptions and forks, one after the other."""
HEADER = ("", "how many", "program, first", "last", "sender, first", "last")

Sizes = dict[str, list[tuple[int, float, float]]]  # how many so far, the program, the sender


def main() -> int:
    """Soak, print, and say whether anything has grown."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000_000, help="%(default)s")
    parser.add_argument("--exceptions", type=int, default=100_000, help="%(default)s")
    parser.add_argument("--forks", type=int, default=40_000, help="%(default)s")
    options = parser.parse_args()
    counts = [str(each) for each in (options.calls, options.exceptions, options.forks)]
    with Scratch() as scratch, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))  # nobody reads: what does not fit in is lost
        sizes, references = soak(scratch, sink.getsockname()[1], counts)
    section = report(sizes, references)
    print(section.text())
    return any(goal.value > goal.limit for goal in section.goals)


def soak(scratch: Scratch, port: int, counts: list[str]) -> tuple[Sizes, int]:
    """The sizes during the run, and by how much reference counts have grown."""
    config = scratch.config("soak.yaml", CONFIG.format(port=port))
    program = scratch.start(scratch.tach, config, scratch.python, "soaking.py", *counts)
    assert program.stdout is not None
    sizes: Sizes = defaultdict(list)
    references = -1
    with program:
        senders = None
        for line in program.stdout:
            what, done, size = line.split()[0], int(line.split()[1]), int(line.split()[-1])
            if what == "references":
                references = done
                continue
            senders = senders or find_senders(scratch)
            sizes[what].append((done, size / 1e6, memory(senders).anonymous / 1e6))
    assert program.returncode == 0, f"the program failed: {program.returncode}"
    wait_for_end(scratch)
    return sizes, references


def report(sizes: Sizes, references: int) -> Section:
    """The table and the goals."""
    rows: list[tuple[str, ...]] = []
    goals = [Goal("growth of reference counts", references, 0, "")]
    for what, each in sizes.items():
        (_, program, sender), *_, (done, at_last, senders) = each
        figures = [f"{size:.1f}" for size in (program, at_last, sender, senders)]
        rows.append((what, f"{done:,}", *figures))
        goals.append(Goal(f"growth of the program, {what}", at_last - program, SLACK, " MB"))
        goals.append(Goal(f"growth of the sender, {what}", senders - sender, SLACK, " MB"))
    return Section("Soak", MEANING, HEADER, rows, goals)


if __name__ == "__main__":
    sys.exit(main())
