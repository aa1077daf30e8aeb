"""Histograms: the error they promise, the memory they take, how they add up."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.client.load.histogram import MAX_VALUE, PART_BITS, RELATIVE_ERROR, Histogram
from sealserve.errors import UsageError

VALUES = st.lists(st.integers(0, MAX_VALUE), min_size=1, max_size=200)
POWERS = MAX_VALUE.bit_length() - PART_BITS  # of two, that are divided; what is below is one more
MAX_PARTS = (POWERS + 1) << PART_BITS
PERCENTS = st.floats(0, 100, exclude_min=True)


def histogram(values: list[int]) -> Histogram:
    made = Histogram()
    for value in values:
        made.record(value)
    return made


def nearest_rank(values: list[int], percent: float) -> int:
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


@given(VALUES, PERCENTS)
def test_a_percentile_is_never_too_low_and_hardly_too_high(
    values: list[int], percent: float
) -> None:
    found = histogram(values).percentile(percent)
    exact = nearest_rank(values, percent)
    assert found is not None
    assert exact <= found <= exact * (1 + RELATIVE_ERROR)


@given(VALUES)
def test_the_least_the_greatest_and_the_mean_are_exact(values: list[int]) -> None:
    made = histogram(values)
    assert (made.least, made.greatest, made.percentile(100)) == (
        min(values),
        max(values),
        max(values),
    )
    assert made.mean == sum(values) / len(values)


@given(VALUES, VALUES)
def test_two_histograms_added_are_one_of_all_values(one: list[int], other: list[int]) -> None:
    together = histogram(one)
    together.add(histogram(other))
    assert together == histogram(one + other)


def test_small_values_are_exact() -> None:
    values = list(range(512))
    made = histogram(values)
    assert [made.percentile(100 * (n + 1) / 512) for n in values] == values


def test_memory_has_a_bound_whatever_is_recorded() -> None:
    source = random.Random(0)
    made = histogram([source.randrange(1 << source.randrange(1, 60)) for _ in range(100_000)])
    assert len(made.parts) <= MAX_PARTS
    assert max(made.parts) < MAX_PARTS


@pytest.mark.parametrize(
    ("value", "counted"),
    [(-5, 0), (MAX_VALUE + 1, MAX_VALUE), (1 << 80, MAX_VALUE)],
)
def test_what_is_out_of_range_counts_as_the_nearest_within(value: int, counted: int) -> None:
    assert histogram([value]).percentile(100) == counted


def test_nothing_has_no_percentile_and_no_mean() -> None:
    assert (Histogram().percentile(50), Histogram().mean) == (None, None)


@pytest.mark.parametrize("percent", [0, -1, 100.5])
def test_a_percentage_out_of_range_is_refused(percent: float) -> None:
    with pytest.raises(UsageError):
        histogram([1]).percentile(percent)
