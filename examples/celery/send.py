"""Sends 40 tasks and waits for their results."""

from __future__ import annotations

import tasks

NUMBERS = range(20)


def main() -> None:
    """Send, wait, and tell how many failed."""
    results = [task.delay(number) for number in NUMBERS for task in (tasks.resize, tasks.notify)]
    for each in results:
        each.get(timeout=60, propagate=False)
    print(f"{sum(each.failed() for each in results)} of {len(results)} failed")


if __name__ == "__main__":
    main()
