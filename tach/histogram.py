"""Log-linear histograms: exact count and sum, quantiles within 1 %, merged by adding.

A value of b bits (nanoseconds, say) falls into block b; each block has 128 equal buckets, so that a
bucket is at most 1/128 of its lower bound wide. Values below 128 share block 7, one bucket each.
A block is held as one int of 128 lanes of 64 bits: lanes only ever grow and never overflow, so
adding and subtracting whole blocks is one operation of the interpreter, 128 of ours.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping

LANES = 128
LANE_BYTES = 8
BLOCK_BYTES = LANES * LANE_BYTES
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
    if block == LOWEST_BLOCK:
        return lane, lane
    width = 1 << (block - 8)
    low = (LANES + lane) * width
    return low, low + width - 1


class Histogram:
    """The distribution of some whole numbers, times `scale` when read.

    `low` and `high` are the exact least and greatest value where they are known, else 0 and None:
    then the bounds of the outermost buckets stand in for them.
    """

    __slots__ = ("_counted", "blocks", "high", "low", "scale", "total")

    def __init__(
        self,
        blocks: Mapping[int, int] | None = None,
        total: int = 0,
        low: int = 0,
        high: int | None = None,
        scale: float = 1.0,
    ) -> None:
        self.blocks = {block: lanes for block, lanes in (blocks or {}).items() if lanes}
        self.total = total
        self.low = low
        self.high = high
        self.scale = scale
        self._counted: list[tuple[int, int, int]] | None = None

    def scaled(self, scale: float) -> Histogram:
        """The same distribution read in another unit (1e-6: nanoseconds as milliseconds)."""
        return Histogram(self.blocks, self.total, self.low, self.high, scale)

    @classmethod
    def of(cls, values: list[int], scale: float = 1.0) -> Histogram:
        """The histogram of some whole numbers, for tests and small sets."""
        blocks: dict[int, int] = {}
        for value in values:
            block, lane = bucket_of(value)
            blocks[block] = blocks.get(block, 0) + (1 << (lane * 64))
        return cls(blocks, sum(values), min(values, default=0), max(values, default=None), scale)

    def buckets(self) -> list[tuple[int, int, int]]:
        """(least value, greatest value, count) of each bucket with any, in order, unscaled."""
        if self._counted is None:
            self._counted = list(self._count())
        return self._counted

    def _count(self) -> Iterator[tuple[int, int, int]]:
        highest = (1 << 64) if self.high is None else self.high
        for block in sorted(self.blocks):
            lanes = array("Q", self.blocks[block].to_bytes(BLOCK_BYTES, "little"))
            for lane, count in enumerate(lanes):
                if count:
                    low, high = bucket_bounds(block, lane)
                    yield max(low, self.low), min(high, highest), count

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(count for _, _, count in self.buckets())

    @property
    def sum(self) -> float:
        """Their sum, exact, scaled."""
        return self.total * self.scale

    @property
    def mean(self) -> float:
        """Their mean, exact, scaled; 0.0 of nothing."""
        count = self.count
        return self.sum / count if count else 0.0

    @property
    def min(self) -> float:
        """The least value, scaled; 0.0 of nothing."""
        buckets = self.buckets()
        return buckets[0][0] * self.scale if buckets else 0.0

    @property
    def max(self) -> float:
        """The greatest value, scaled; 0.0 of nothing."""
        buckets = self.buckets()
        return buckets[-1][1] * self.scale if buckets else 0.0

    def quantile(self, fraction: float) -> float:
        """The value below which `fraction` (0 to 1) of the values lie, within 1 %, scaled."""
        return self.quantiles([fraction])[0]

    def quantiles(self, fractions: list[float]) -> list[float]:
        """`quantile` of each of `fractions`, which must ascend; one pass over the buckets."""
        buckets = self.buckets()
        if not buckets:
            return [0.0] * len(fractions)
        count = self.count
        found: list[float] = []
        rest = iter(buckets)
        low, high, here = next(rest)
        below = 0
        for fraction in fractions:
            rank = min(max(fraction * count, 0.0), float(count))
            while below + here < rank:
                below += here
                low, high, here = next(rest)
            found.append((low + (high - low) * (rank - below) / here) * self.scale)
        return found
