from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tach import buckets
from tach.histogram import HIGHEST_BLOCK, LANES, Histogram, bucket_bounds, bucket_of

# What the highest block still tells apart.
VALUES = st.integers(0, (1 << HIGHEST_BLOCK) - 1)
SOME = st.lists(VALUES, min_size=1, max_size=200)


@given(VALUES)
def test_a_value_lies_within_the_bounds_of_its_bucket(value: int) -> None:
    """A value is counted by the bucket whose bounds hold it, at most 1/128 of it wide."""
    low, high = bucket_bounds(*bucket_of(value))
    assert low <= value <= high
    assert (high - low) * LANES <= low


def test_buckets_cover_the_numbers_without_gap_or_overlap() -> None:
    """The next bucket begins where one ends, from 0 to the top of the highest block."""
    bounds = [bucket_bounds(7, lane) for lane in range(LANES)]
    bounds += [bucket_bounds(block, lane) for block in range(8, 56) for lane in range(LANES)]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == (1 << HIGHEST_BLOCK) - 1
    assert all(after[0] == before[1] + 1 for before, after in pairwise(bounds))


def test_a_value_above_the_highest_block_is_counted_in_its_last_bucket() -> None:
    """No value is too great to be counted."""
    assert bucket_of(1 << 70) == (HIGHEST_BLOCK, LANES - 1)


# A sum of them is below 2^53, where a float is exact.
@given(st.lists(st.integers(0, 1 << 45), min_size=1, max_size=200))
def test_count_sum_mean_least_and_greatest_are_exact(values: list[int]) -> None:
    """What can be exact is exact."""
    histogram = Histogram.of(values)
    assert histogram.count == len(values)
    assert histogram.sum == sum(values)
    assert histogram.mean == sum(values) / len(values)
    assert (histogram.min, histogram.max) == (min(values), max(values))


@given(SOME, st.floats(0, 1))
def test_a_quantile_is_within_one_percent_of_a_value_of_that_rank(
    values: list[int], fraction: float
) -> None:
    """A quantile is off by less than 1 % from the value at its rank, on one side of it or other."""
    values.sort()
    found = Histogram.of(values).quantile(fraction)
    rank = fraction * len(values)
    below = values[max(int(rank - 1e-9) - 1, 0)]
    above = values[min(int(rank + 1e-9), len(values) - 1)]
    assert below * 0.99 <= found <= above * 1.01


@given(SOME, st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_quantiles_ascend_and_stay_between_least_and_greatest(
    values: list[int], fractions: list[float]
) -> None:
    """More of the calls are never faster."""
    histogram = Histogram.of(values)
    found = histogram.quantiles(sorted(fractions))
    assert found == sorted(found)
    assert found[0] >= histogram.min
    assert found[-1] <= histogram.max
    assert found == [histogram.quantile(fraction) for fraction in sorted(fractions)]


@given(SOME, SOME)
def test_adding_buckets_merges_histograms(one: list[int], other: list[int]) -> None:
    """Two histograms are merged by adding their buckets, and told apart by subtracting them."""
    first, second, both = Histogram.of(one), Histogram.of(other), Histogram.of(one + other)
    assert buckets.added((first.pairs, second.pairs)) == both.pairs
    assert buckets.difference(both.pairs, first.pairs) == second.pairs
    assert both.since(first).pairs == second.pairs
    assert both.since(first).total == second.total


def test_an_empty_histogram_is_all_zero() -> None:
    """Nothing counted reads as 0, without an error."""
    nothing = Histogram.of([])
    assert (nothing.count, nothing.sum, nothing.mean, nothing.min, nothing.max) == (0, 0, 0, 0, 0)
    assert nothing.quantiles([0.5, 0.99]) == [0.0, 0.0]


def test_scaled_reads_the_same_values_in_another_unit() -> None:
    """Nanoseconds are read as milliseconds; the original stays as it is."""
    nanoseconds = Histogram.of([1_000_000, 3_000_000])
    milliseconds = nanoseconds.scaled(1e-6)
    assert milliseconds.count == 2
    assert milliseconds.sum == pytest.approx(4.0)
    assert milliseconds.mean == pytest.approx(2.0)
    assert (milliseconds.min, milliseconds.max) == pytest.approx((1.0, 3.0))
    assert milliseconds.quantile(1.0) == pytest.approx(3.0)
    assert nanoseconds.sum == 4_000_000


def test_without_known_extremes_the_bounds_of_the_buckets_stand_in() -> None:
    """A delta of totals knows no extremes: its outermost buckets give them, within 1 %."""
    known = Histogram.of([100_000, 900_000])
    delta = Histogram(known.pairs, known.total)
    assert 99_000 <= delta.min <= 100_000
    assert 900_000 <= delta.max <= 909_000


@given(SOME, SOME)
def test_two_together(some: list[int], others: list[int]) -> None:
    """The sum of two histograms is that of all their values."""
    both, whole = Histogram.of(some).plus(Histogram.of(others)), Histogram.of(some + others)

    assert (both.buckets(), both.sum, both.min, both.max) == (
        whole.buckets(),
        whole.sum,
        whole.min,
        whole.max,
    )
