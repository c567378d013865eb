"""A script with eight threads: makes thumbnails of 200 images, of which ten are broken."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, as_completed

THREADS = 8
IMAGES = 200


class BrokenImage(ValueError):
    """The file is no image."""


def load(number: int) -> bytes:
    """The bytes of an image, from a slow disk."""
    time.sleep(0.002)
    if number % 20 == 0:
        raise BrokenImage(number)
    return bytes(100 * number)


def shrink(image: bytes) -> bytes:
    """What takes processor time."""
    return bytes(each ^ 0xFF for each in image[::10])


def thumbnail(number: int) -> int:
    """Make one thumbnail; returns its size."""
    return len(shrink(load(number)))


def main() -> None:
    """Make them all, whatever is broken."""
    made = 0
    with ThreadPoolExecutor(THREADS) as pool:
        for future in as_completed(pool.submit(thumbnail, each) for each in range(IMAGES)):
            made += future.exception() is None
    print(f"{made} of {IMAGES} thumbnails")


if __name__ == "__main__":
    main()
