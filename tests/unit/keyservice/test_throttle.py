"""Token buckets: exact in the small, bounded in the large."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.keyservice.throttle import KEYS, Buckets, source_of


def test_a_burst_is_granted_and_the_next_has_to_wait():
    buckets = Buckets(rate=2, burst=3)
    assert [buckets.take("a", 100.0) for _ in range(3)] == [None, None, None]
    assert 0 < buckets.take("a", 100.0) <= 0.5


def test_whoever_waits_as_long_as_told_is_granted():
    buckets = Buckets(rate=0.1, burst=1)
    assert buckets.take("a", 5.0) is None
    wait = buckets.take("a", 5.0)
    assert buckets.take("a", 5.0 + wait) is None


def test_being_refused_costs_nothing():
    buckets = Buckets(rate=1, burst=1)
    assert buckets.take("a", 0.0) is None
    assert all(buckets.take("a", 0.1) for _ in range(1000))
    assert buckets.take("a", 1.0) is None


def test_one_key_does_not_take_from_another():
    buckets = Buckets(rate=1, burst=1)
    assert buckets.take("a", 0.0) is None
    assert buckets.take("b", 0.0) is None


@given(
    rate=st.floats(0.01, 1e6),
    burst=st.integers(1, 65536),
    start=st.floats(0, 1e9),
    gaps=st.lists(st.floats(0, 10), max_size=50),
)
def test_no_more_than_the_burst_and_what_came_back_is_granted(rate, burst, start, gaps):
    buckets, now, granted = Buckets(rate, burst), start, 0
    for gap in gaps:
        now += gap
        granted += buckets.take("a", now) is None
    assert granted <= burst + 1 + rate * (now - start) * 1.001
    assert granted >= min(len(gaps), burst)


def test_the_memory_for_a_hundred_thousand_sources_is_bounded():
    tracemalloc.start()
    try:
        buckets = Buckets(rate=1, burst=10)
        for number in range(100_000):
            buckets.take(source_of(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"), 0.0)
        assert len(buckets) == KEYS
        assert tracemalloc.get_traced_memory()[0] < 24 << 20
    finally:
        tracemalloc.stop()


def test_beyond_the_capacity_the_quietest_is_forgotten_and_the_busiest_is_not():
    buckets = Buckets(rate=0.001, burst=1, capacity=10)
    assert buckets.take("flood", 0.0) is None
    for number in range(1000):
        assert buckets.take(number, 0.0) is None
        assert buckets.take("flood", 0.0) is not None
    assert len(buckets) == 10


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param("192.0.2.1", "192.0.2.2", False, id="two IPv4 addresses"),
        pytest.param("2001:db8::1", "2001:db8::ffff:0:0:2", True, id="two hosts of a /64"),
        pytest.param("2001:db8:0:1::1", "2001:db8:0:2::1", False, id="two /64s"),
        pytest.param("::ffff:192.0.2.1", "192.0.2.1", True, id="IPv4 in IPv6"),
        pytest.param("::ffff:192.0.2.1", "::ffff:192.0.2.2", False, id="two IPv4 in IPv6"),
        pytest.param("fe80::1%eth0", "fe80::1", True, id="an interface"),
        pytest.param("", "a.socket", True, id="no addresses"),
        pytest.param("", "0.0.0.0", False, id="none and the zero address"),
    ],
)
def test_what_counts_as_one_source(one, other, same):
    assert (source_of(one) == source_of(other)) is same


def test_what_costs_more_than_there_is_passes_by_one_token_and_the_rest_is_owed():
    buckets = Buckets(rate=1, burst=2)
    assert buckets.take("one", 0, 5) is None
    assert buckets.take("one", 3, 5) == pytest.approx(0.5)
    assert buckets.take("one", 4) is None
    assert buckets.take("other", 4) is None
