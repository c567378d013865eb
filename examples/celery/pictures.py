"""The work itself, which knows nothing of celery."""

from __future__ import annotations

import time


def resize(number: int) -> int:
    """Returns the new size; ValueError for every tenth picture."""
    time.sleep(0.002)
    if number % 10 == 0:
        raise ValueError(number)
    return number * 2
