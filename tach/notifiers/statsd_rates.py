"""Sample rates that add up to the exact count, and numbers as statsd reads them."""

from __future__ import annotations

# Any count below 2^64 can be written as that many powers of two: see `rates`.
FEWEST_LINES = 64
USUAL_PERCENTILES = (0.5, 0.75, 0.9, 0.95, 0.99)


def rates(count: int, most: int) -> list[int]:
    """The k of each line's rate 1/2^k, such that the 2^k add up to exactly `count`.

    With the least k for which the lines are at most `most`, there are q = floor(count / 2^k) lines
    of rate 1/2^k. They lack the remainder r = count mod 2^k, which is less than 2^k: one more line
    of rate 1/2^j for each bit j that is set in r, together q + popcount(r) lines. The next k
    replaces q by ceil(q / 2), so the number of lines never grows with k; the fewest are
    popcount(count) <= 64. The additional lines, at most k, are spread evenly among the others, so
    that neither end of the distribution has more than its share of them.
    """
    k = next(k for k in range(count.bit_length()) if _line_count(count, k) <= most)
    remainder = count & ((1 << k) - 1)
    rest = [j for j in reversed(range(k)) if remainder >> j & 1]
    exponents = [k] * _line_count(count, k)
    for i, j in enumerate(rest):
        exponents[(2 * i + 1) * len(exponents) // (2 * len(rest))] = j
    return exponents


def _line_count(count: int, k: int) -> int:
    return (count >> k) + (count & ((1 << k) - 1)).bit_count()


def rate_text(exponent: int) -> str:
    """The rate 1/2^exponent as it stands in a line."""
    # As many decimals as the exponent are exact, and an exponent form would be misread.
    return f"|@{2.0**-exponent:.{exponent}f}" if exponent else ""


def plain_number(value: float) -> str:
    """As people write it: whole ones without a point."""
    return str(int(value)) if value == int(value) else repr(float(value))
