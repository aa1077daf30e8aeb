from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.client.load import LoadReport, percentile
from sealserve.errors import UsageError

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=300).map(sorted)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        pytest.param([7.0], 50, 7.0, id="one value"),
        pytest.param([1.0, 2.0], 50, 1.0, id="the lower of two"),
        pytest.param([15.0, 20.0, 35.0, 40.0, 50.0], 30, 20.0, id="thirty of five"),
        pytest.param([15.0, 20.0, 35.0, 40.0, 50.0], 40, 20.0, id="exactly on a rank"),
        pytest.param([float(n) for n in range(1, 101)], 99, 99.0, id="99 of a hundred"),
        pytest.param([float(n) for n in range(1, 101)], 99.5, 100.0, id="between ranks"),
        pytest.param([1.0, 9.0], 100, 9.0, id="the greatest"),
    ],
)
def test_percentiles_are_of_nearest_rank(
    values: list[float], percent: float, expected: float
) -> None:
    assert percentile(values, percent) == expected


@given(VALUES, st.integers(1, 100))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(
    values: list[float], percent: int
) -> None:
    found = percentile(values, percent)
    needed = math.ceil(len(values) * percent / 100)
    assert found in values
    assert sum(value <= found for value in values) >= needed
    assert sum(value < found for value in values) < needed


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 101)])
def test_a_percentile_of_nothing_is_refused(values: list[float], percent: float) -> None:
    with pytest.raises(UsageError):
        percentile(values, percent)


def test_a_report_counts_answers_and_errors_apart() -> None:
    report = LoadReport(2, 10, 2.0, [0.1, 0.2, 0.3], {"serving.unavailable": 5})
    assert report.requests == 8
    assert report.throughput == 1.5
    assert report.percentile(100) == 0.3


def test_a_run_without_an_answer_has_no_latencies() -> None:
    report = LoadReport(1, 5, 2.0, [], {"serving.unavailable": 5})
    assert report.throughput == 0
    assert report.percentile(50) is None
