"""Log-linear histograms: exact count and sum, quantiles within 1 %, merged by adding.

A value of b bits (nanoseconds, say) falls into block b; each block has 128 equal buckets, so that a
bucket is at most 1/128 of its lower bound wide. Values below 128 share block 7, one bucket each.
The counts are held as `tach.buckets` says, a bucket's number being block * 128 + lane.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence

from tach import buckets, pure_buckets

LANES = buckets.LANES
LOWEST_BLOCK = 7
HIGHEST_BLOCK = 55


def bucket_of(value: int) -> tuple[int, int]:
    """The block and the lane that count `value`, an int >= 0."""
    block = min(max(value.bit_length(), LOWEST_BLOCK), HIGHEST_BLOCK)
    if block == LOWEST_BLOCK:
        return block, value
    return block, min(value >> (block - 8), 2 * LANES - 1) - LANES


def bucket_bounds(block: int, lane: int) -> tuple[int, int]:
    """The least and the greatest whole value that the bucket counts."""
    return buckets.bounds(block * LANES + lane, 0, None)


@functools.lru_cache(16)
def _units(scale: float) -> float:
    """What to divide by; by a whole number that rounds right: 11 / 10 is 1.1, 11 * 0.1 is not."""
    return round(1 / scale) if scale <= 1 else 1 / scale


class Histogram:
    """The distribution of some whole numbers, times `scale` when read.

    `low` and `high` are the exact least and greatest value where they are known, else 0 and None:
    then the bounds of the outermost buckets stand in for them. The first bucket counts whatever is
    below 0 too, the last whatever is above it.
    """

    __slots__ = ("_count", "_units", "high", "low", "pairs", "scale", "total")

    def __init__(
        self,
        pairs: bytes = b"",
        total: int = 0,
        low: int = 0,
        high: int | None = None,
        scale: float = 1.0,
    ) -> None:
        self.pairs = pairs
        self.total = total
        self.low = low
        self.high = high
        self.scale = scale
        self._units = _units(scale)
        self._count: int | None = None

    def scaled(self, scale: float) -> Histogram:
        """The same distribution read in another unit (1e-6: nanoseconds as milliseconds)."""
        same = Histogram(self.pairs, self.total, self.low, self.high, scale)
        same._count = self._count
        return same

    def plus(self, other: Histogram) -> Histogram:
        """Both together; they must be of one scale."""
        if not self.pairs or not other.pairs:
            return self if self.pairs else other
        pairs = buckets.added((self.pairs, other.pairs))
        known = None not in (self.high, other.high)
        high = max(self.high or 0, other.high or 0) if known else None
        low = min(self.low, other.low)
        return Histogram(pairs, self.total + other.total, low, high, self.scale)

    def since(self, earlier: Histogram) -> Histogram:
        """What came on top of an earlier state; its least and greatest value are not known."""
        pairs = buckets.difference(self.pairs, earlier.pairs)
        return Histogram(pairs, self.total - earlier.total, scale=self.scale)

    @classmethod
    def of(cls, values: list[int], scale: float = 1.0) -> Histogram:
        """The histogram of some whole numbers, for tests and small sets."""
        counts = Counter(block * LANES + lane for block, lane in map(bucket_of, values))
        pairs = buckets.pack(counts)
        return cls(pairs, sum(values), min(values, default=0), max(values, default=None), scale)

    def buckets(self) -> list[tuple[int, int, int]]:
        """(least value, greatest value, count) of each bucket with any, in order, unscaled."""
        return [
            (*buckets.bounds(number, self.low, self.high), count)
            for number, count in buckets.unpack(self.pairs).items()
        ]

    @property
    def count(self) -> int:
        """How many values there are."""
        if self._count is None:
            self._count = buckets.count(self.pairs)
        return self._count

    @property
    def sum(self) -> float:
        """Their sum, exact, scaled."""
        return self.total / self._units

    @property
    def mean(self) -> float:
        """Their mean, exact, scaled; 0.0 of nothing."""
        count = self.count
        return self.sum / count if count else 0.0

    @property
    def min(self) -> float:
        """The least value, scaled; 0.0 of nothing."""
        return self._bounds(self.pairs[: buckets.PAIR])[0] / self._units

    @property
    def max(self) -> float:
        """The greatest value, scaled; 0.0 of nothing."""
        return self._bounds(self.pairs[-buckets.PAIR :])[1] / self._units

    def _bounds(self, pair: bytes) -> tuple[int, int]:
        for number in buckets.unpack(pair):
            return buckets.bounds(number, self.low, self.high)
        return 0, 0

    def quantile(self, fraction: float) -> float:
        """The value below which `fraction` (0 to 1) of the values lie, within 1 %, scaled."""
        return self.quantiles([fraction])[0]

    def quantiles(self, fractions: Sequence[float]) -> list[float]:
        """`quantile` of each of `fractions`, which must ascend; one pass over the buckets."""
        question = *self._known(), tuple(fractions)
        try:
            return buckets.quantiles(*question)
        except OverflowError:  # numbers that only Python's are enough for
            return pure_buckets.quantiles(*question)

    def lines(self, fractions: tuple[float, ...], before: str, after: tuple[str, ...]) -> str:
        """A line for each quantile, with six decimals, of at least 0: `before`, it, its `after`."""
        question = *self._known(), fractions, before, after
        try:
            return buckets.lines(*question)
        except OverflowError:
            return pure_buckets.lines(*question)

    def _known(self) -> tuple[bytes, int, int | None, float]:
        return self.pairs, self.low, self.high, self._units
