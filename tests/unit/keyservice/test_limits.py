"""The table `[limits]`: bounds of its values, and what one of several workers has of it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sealserve.keyservice.limits import Limits


@pytest.mark.parametrize(
    "table",
    [
        pytest.param({"max_sessions": 0}, id="no session"),
        pytest.param({"max_sessions": 65537}, id="more than can be"),
        pytest.param({"max_sessions": 1.5}, id="half a session"),
        pytest.param({"max_sessions_per_source": 0}, id="no source"),
        pytest.param({"connections_per_second_per_source": 0}, id="a rate of nothing"),
        pytest.param({"connections_per_second_per_source": float("inf")}, id="no rate at all"),
        pytest.param({"releases_per_second_per_identity": float("nan")}, id="a rate of no number"),
        pytest.param({"releases_burst_per_identity": -1}, id="a burst below zero"),
        pytest.param({"max_waiting_decisions": 0}, id="no decision"),
        pytest.param({"drain_seconds": -1}, id="a drain before its time"),
        pytest.param({"handshake_seconds": 0}, id="no time for a handshake"),
        pytest.param({"session_seconds": 3601}, id="more than an hour"),
        pytest.param({"max_session": 10}, id="an unknown key"),
    ],
)
def test_a_value_out_of_bounds_is_an_error(table):
    with pytest.raises(ValidationError):
        Limits.model_validate(table)


def test_the_places_of_a_source_leave_others_theirs():
    limits = Limits()
    assert limits.max_sessions >= 4 * limits.max_sessions_per_source


@pytest.mark.parametrize("workers", [2, 8, 64])
def test_workers_share_counts_and_rates_with_room_for_uneven_shares(workers):
    whole = Limits()
    share = whole.shared_by(workers)
    assert whole.max_sessions / workers < share.max_sessions < whole.max_sessions
    assert share.connections_per_second_per_source * workers == pytest.approx(200)
    assert share.handshake_seconds == whole.handshake_seconds


def test_one_worker_has_the_whole_and_none_has_more():
    assert Limits().shared_by(1) == Limits()
    assert Limits(max_sessions=3).shared_by(2).max_sessions == 3
