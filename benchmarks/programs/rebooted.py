"""Calls a function at an even rate: rebooted.py RATE SECONDS."""

from __future__ import annotations

import sys
import time


def reboot(number: int) -> None:
    """What the bus is told of."""


def main(rate: int, seconds: int) -> None:
    """`rate` calls a second, for so many seconds."""
    began = time.monotonic()
    for number in range(rate * seconds):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        reboot(number)


if __name__ == "__main__":
    import rebooted  # by the name that the configuration says

    rebooted.main(*map(int, sys.argv[1:]))
