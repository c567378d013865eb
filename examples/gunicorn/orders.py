"""What the views call. The functions measured are here, not the views: see tach.yaml."""

from __future__ import annotations

import time


class SoldOut(Exception):
    """There is nothing left."""


class Book:
    """The orders of one worker process."""

    def __init__(self) -> None:
        self._open: list[int] = []

    def place(self, number: int) -> None:
        """Take an order; SoldOut for every tenth."""
        self._charge()
        if number % 10 == 0:
            raise SoldOut(number)
        self._open.append(number)

    def _charge(self) -> None:
        time.sleep(0.005)  # somebody else's server; eventlet and gevent serve others meanwhile

    def list_open(self) -> list[int]:
        """All orders, in the order in which they came."""
        return list(self._open)
