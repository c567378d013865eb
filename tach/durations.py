"""Durations and sizes as people write them: `500ms`, `10s`, `64KiB`."""

from __future__ import annotations

DURATION = "a duration such as 500ms, 10s, 5m, 1h or 1d"
SIZE = "a whole number or a size such as 64KiB, 1MiB or 1GB"
LONGEST = 365 * 86400.0

SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "": 1,
}
LONGEST_NUMBER = 30


def seconds(text: str) -> float:
    """The seconds that `text` says; a number without a unit is seconds already.

    ValueError, its message beginning with "expected" or "must", if it is no duration or longer
    than a year.
    """
    number, unit = _split(text)
    if unit not in SECONDS or not is_number(number):
        raise ValueError(f"expected {DURATION}")
    # Divided, as 3 / 1000 is the float nearest to 0.003, and 3 * 0.001 is not.
    found = float(number) / 1000 if unit == "ms" else float(number) * SECONDS[unit]
    if found > LONGEST:
        raise ValueError("must be at most 365d")
    return found


def size(text: str) -> int:
    """The whole number that `text` says, in bytes if it has a unit; ValueError as in `seconds`."""
    number, unit = _split(text)
    if unit not in BYTES or not is_whole(number):
        raise ValueError(f"expected {SIZE}")
    return int(number) * BYTES[unit]


def is_whole(text: str) -> bool:
    """Whether `text` is a whole number in decimal, such as 10 or -3."""
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_NUMBER


def is_number(text: str) -> bool:
    """Whether `text` is a number in decimal, such as 10, -3 or 0.25."""
    whole, point, fraction = text.partition(".")
    return is_whole(whole) and (not point or (is_whole(fraction) and fraction[0] != "-"))


def _split(text: str) -> tuple[str, str]:
    number = text.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    return number, text[len(number) :]
