"""An eventlet service whose calls are told to a bus: bus_service.py CALLS [PAUSE].

Every 10th call raises. Between tens of calls it rests for PAUSE seconds, so that there is time to
disturb it.
"""

from __future__ import annotations

import warnings

warnings.simplefilter("ignore", DeprecationWarning)

import eventlet

eventlet.monkey_patch()

import sys
from contextlib import suppress

import bus_targets


def main() -> None:
    calls, pause = int(sys.argv[1]), float((*sys.argv[2:], "0")[0])
    context = bus_targets.Context()
    pool = eventlet.GreenPool(20)
    for number in range(calls):
        pool.spawn_n(one, context, number)
        if number % 10 == 9:
            print(number, flush=True)
            eventlet.sleep(pause)
    pool.waitall()
    print("done", flush=True)


def one(context: bus_targets.Context, number: int) -> None:
    with suppress(bus_targets.Refused):
        bus_targets.Manager().reboot(context, bus_targets.Instance(number))


main()
