"""Calls `targets.function` until the file STOP is there; prints how many calls were measured.

A call is measured if what is called is no plain function any more. After LIMIT measured calls it
says so and calls no more. Nothing else that can be seen may change meanwhile: what does is printed.

usage: attachable.py loop|threads|forks|asyncio STOP [LIMIT]
"""

import asyncio
import os
import signal
import sys
import threading
import time
import types

import targets

how, stop = sys.argv[1:3]
limit = int(sys.argv[3]) if sys.argv[3:] else sys.maxsize
measured = []
known = {}


async def coroutine():
    return 1


def stopped():
    return os.path.exists(stop)


def call():
    """Call it once; whether that was measured."""
    function = targets.function
    function()
    return type(function) is not types.FunctionType


def work():
    count = 0
    while not stopped():
        if count < limit:
            count += call()
            if count == limit:
                print("counted", flush=True)
        time.sleep(0.0005)
    measured.append(count)


async def work_in_loop():
    count = 0
    while not stopped():
        function = targets.coroutine
        await function()
        count += type(function) is not types.FunctionType
        await asyncio.sleep(0.0005)
    measured.append(count)


def work_in_threads():
    others = [threading.Thread(target=work) for _ in range(3)]
    for each in others:
        each.start()
    work()
    for each in others:
        each.join()
    # the kernel's part of a thread may end a little later
    give_up = time.monotonic() + 10
    while len(os.listdir("/proc/self/task")) > known["tasks"] and time.monotonic() < give_up:
        time.sleep(0.001)


def work_in_children():
    count = 0
    while not stopped():
        was_measured = call()
        count += was_measured
        if was_measured and count < 100:
            child = os.fork()
            if not child:
                call()
                os._exit(0)
            os.waitpid(child, 0)
            count += 1
    measured.append(count)


def descriptors():
    """The open files; tach's memory, of which mmap keeps a number before 3.13, is none of them."""
    found = []
    for each in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{each}"
        if int(each) < 200 and os.path.lexists(path) and ".segment" not in os.readlink(path):
            found.append(each)
    return sorted(found)


def seen():
    """What a program may know of itself."""
    try:
        children = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        children = "none"
    return {
        "arguments": sys.argv,
        "children": children,
        "descriptors": descriptors(),
        "environment": dict(os.environ),
        "handlers": [signal.getsignal(each) for each in signal.valid_signals()],
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "names": sorted(vars(sys.modules["__main__"])),
        "path": list(sys.path),
        "tasks": len(os.listdir("/proc/self/task")),
        "threads": threading.active_count(),
        "traced": (sys.gettrace(), sys.getprofile()),
        "warnings": len(sys.warnoptions),
    }


targets.coroutine = coroutine
coroutine.__module__ = "targets"
known = seen()
print("ready", flush=True)
if how == "asyncio":
    asyncio.run(work_in_loop())
elif how == "forks":
    work_in_children()
elif how == "threads":
    work_in_threads()
else:
    work()
now = seen()
print(sum(measured), [name for name in known if known[name] != now[name]])
