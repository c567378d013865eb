"""Calls functions in threads of several processes until the file STOP is there; tells how often.

A signal handler does so too, and short-lived children that are forked meanwhile.

usage: edited.py DIRECTORY PROCESSES THREADS
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections import Counter

import edited_targets as targets

directory, processes, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
RAW = {
    **{name: vars(targets)[name] for name in vars(targets) if callable(vars(targets)[name])},
    **{f"Base.{name}": each for name, each in vars(targets.Base).items()},
    **{f"Derived.{name}": each for name, each in vars(targets.Derived).items()},
}
counts = []
handled = []


def stopped():
    return os.path.exists(os.path.join(directory, "STOP"))


def call_all(mine):
    """Every function once, or thereabouts."""
    derived = targets.Derived()
    for kind in "xyz":
        mine["named." + kind] += 1
        targets.named(kind)
    for name in ("always", "renamed", "changing", "flipping", "twice", "wild_a", "wild_b", "busy"):
        mine[name] += 1
        getattr(targets, name)()
    mine["failing"] += 1
    try:
        targets.failing()
    except KeyError:
        pass
    mine["generating"] += 1
    list(targets.generating())
    mine["awaiting"] += 1
    asyncio.run(targets.awaiting())
    mine["inherited"] += 1
    derived.inherited()
    mine["own"] += 1
    derived.own()
    mine["static"] += 1
    derived.static()


def work():
    mine = Counter()
    counts.append(mine)
    while not stopped():
        for _ in range(5):
            call_all(mine)
        time.sleep(0.001)


def call_in_handler(*_):
    handled.append(None)  # one step: another signal may come in between
    targets.always()


def fork():
    while not stopped():
        child = os.fork()
        if not child:
            for _ in range(3):
                targets.always()
            os._exit(0)
        os.waitpid(child, 0)
        counts[0]["always"] += 3
        time.sleep(0.03)


def run():
    counts[:] = [Counter()]
    handled.clear()
    signal.signal(signal.SIGALRM, call_in_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.004, 0.004)
    workers = [threading.Thread(target=fork)]
    workers += [threading.Thread(target=work) for _ in range(threads)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    signal.setitimer(signal.ITIMER_REAL, 0)
    now = {
        **{name: vars(targets)[name] for name in RAW if "." not in name},
        **{f"Base.{name}": each for name, each in vars(targets.Base).items()},
        **{f"Derived.{name}": each for name, each in vars(targets.Derived).items()},
    }
    told = {
        "counts": sum(counts, Counter(always=len(handled))),
        "other": sorted(name for name in {*RAW, *now} if now.get(name) is not RAW.get(name)),
    }
    with open(os.path.join(directory, f"{os.getpid()}.counts"), "w") as file:
        json.dump(told, file)


children = []
for _ in range(processes - 1):
    child = os.fork()
    if not child:
        run()
        os._exit(0)
    children.append(child)
run()
for child in children:
    os.waitpid(child, 0)
