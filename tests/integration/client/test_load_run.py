"""Load over real TLS: what is counted, how it spreads, how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sealserve.client import Client, predict_request
from sealserve.client.load import WARM_UP, run_load
from sealserve.errors import ServingError, Unavailable, UsageError

NAME = "models.example.com"
ONE = np.ones((1, 4, 4, 1), np.float32)


def _request(model: str = "double") -> bytes:
    return predict_request(model, {"input": ONE}).SerializeToString()


@pytest.fixture
def connect(world: Any) -> Callable[[str], Callable[[], Client]]:
    def to(target: str) -> Callable[[], Client]:
        return lambda: Client(
            target,
            ca=world.authority.certificate_pem,
            certificate=world.client.certificate_pem,
            private_key=world.client.key_pem,
            server_name=NAME,
            timeout=20.0,
        )

    return to


def test_as_many_requests_are_counted_as_were_asked_for_and_the_warm_up_is_not(
    start_replica: Any, connect: Any
) -> None:
    replica = start_replica()
    told: list[int] = []
    report = run_load(
        connect(replica.address), _request(), repeat=23, concurrency=3, on_progress=told.append
    )
    assert (report.requests, len(report.latencies), report.errors) == (23, 23, {})
    assert report.warm_up == 3 * WARM_UP
    assert len(replica.requests) == 23 + report.warm_up
    assert list(report.latencies) == sorted(report.latencies)
    assert told[-1] == 23


def test_failures_after_the_warm_up_are_counted_by_their_code(
    start_replica: Any, connect: Any
) -> None:
    replica = start_replica()
    replica.fails_from = WARM_UP + 4
    report = run_load(connect(replica.address), _request(), repeat=10, concurrency=1)
    assert len(report.latencies) == 4
    assert report.errors == {"serving.internal": 6}


def test_a_service_that_fails_from_the_start_is_not_measured(
    start_replica: Any, connect: Any
) -> None:
    with pytest.raises(ServingError):
        run_load(
            connect(start_replica().address), _request("fails-INTERNAL"), repeat=9, concurrency=2
        )
    with pytest.raises(Unavailable):
        run_load(connect("127.0.0.1:1"), _request(), repeat=9, concurrency=2)


def test_every_worker_has_a_connection_of_its_own(start_replica: Any, connect: Any) -> None:
    replica = start_replica()
    run_load(connect(replica.address), _request(), repeat=8, concurrency=4)
    assert len(replica.peers) == 4


@pytest.mark.parametrize(("repeat", "concurrency"), [(0, 1), (1, 2), (10, 0), (5000, 2000)])
def test_a_run_without_sense_is_refused(repeat: int, concurrency: int, connect: Any) -> None:
    with pytest.raises(UsageError):
        run_load(connect("127.0.0.1:1"), b"", repeat=repeat, concurrency=concurrency)
