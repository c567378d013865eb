"""A service of one process that is as busy as it can be, with some 20,000 measured calls a second.

Its argument is a file in which it counts its calls.
"""

import mmap
import sys

WORK = 500  # additions: what a call does, some 25 microseconds of them
FUNCTIONS = 40


def make(number):
    """A function that works for a while."""

    def handle():
        total = 0
        for each in range(WORK):
            total += each ^ number
        return total

    return handle


for place in range(FUNCTIONS):
    globals()[f"handle_{place}"] = make(place)
    globals()[f"handle_{place}"].__name__ = globals()[f"handle_{place}"].__qualname__ = (
        f"handle_{place}"
    )


def main(path):
    """Call all of them, for ever."""
    with open(path, "r+b") as file:
        counter = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
    names = [f"handle_{place}" for place in range(FUNCTIONS)]
    space = globals()
    while True:
        for name in names:
            space[name]()
        counter[0] += FUNCTIONS


if __name__ == "__main__":
    main(sys.argv[1])
