"""What `dying` measures."""

from __future__ import annotations

import time


class Refused(Exception):
    """Every 20th."""


class Service:
    def serve(self, number: int) -> int:
        if number % 50 == 0:
            time.sleep(0.001)
        if number % 20 == 10:
            raise KeyError(number)
        if number % 20 == 0:
            raise Refused(number)
        return number
