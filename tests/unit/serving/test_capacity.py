"""Processors and flags into threads and streams."""

from __future__ import annotations

import os

import pytest

from sealserve.errors import ConfigError
from sealserve.serving.capacity import Capacity, available_processors, cgroup_limit, plan


@pytest.mark.parametrize(
    ("flags", "threads", "streams"),
    [
        pytest.param({}, 8, 1, id="automatic"),
        pytest.param({"session": 4}, 4, 4, id="session-sets-both"),
        pytest.param({"intra_op": 4}, 4, 1, id="intra"),
        pytest.param({"inter_op": 2}, 8, 2, id="inter"),
        pytest.param({"intra_op": 4, "inter_op": 2}, 4, 2, id="both"),
        pytest.param({"session": 3, "intra_op": 4}, 4, 1, id="intra-wins-over-session"),
        pytest.param({"intra_op": 64, "inter_op": 64}, 8, 8, id="no-more-than-there-are"),
        pytest.param({"intra_op": 2, "inter_op": 8}, 2, 2, id="a-stream-has-a-thread"),
    ],
)
def test_flags_become_threads_and_streams(
    flags: dict[str, int], threads: int, streams: int
) -> None:
    assert plan(8, **flags) == Capacity(threads, streams)


@pytest.mark.parametrize("flags", [{"session": 1, "intra_op": 1, "inter_op": 1}, {"session": -1}])
def test_flags_that_the_stock_server_refuses_are_refused(flags: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        plan(8, **flags)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("max 100000", None),
        ("-1 100000", None),
        ("200000 100000\n", 2),
        ("150000 100000", 2),
        ("1000 100000", 1),
    ],
)
def test_a_containers_quota_is_rounded_up(text: str, limit: int | None) -> None:
    assert cgroup_limit(text) == limit


def test_there_are_processors_and_no_more_than_we_may_use() -> None:
    assert 1 <= available_processors() <= len(os.sched_getaffinity(0))
