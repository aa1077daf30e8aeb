"""Load over real TLS: what is counted, from which moment, how it spreads, how it ends."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from sealserve.client.load import Plan, Report, Row, Step, make_shot, ramp, run_load
from sealserve.client.load.plan import WARM_UP_REQUESTS
from sealserve.client.service import find_service
from sealserve.errors import ServingError

NAME = "models.example.com"
ONE = np.ones((1, 4, 4, 1), np.float32)

MakePlan = Callable[..., Plan]


@pytest.fixture
def plan(world: Any) -> MakePlan:
    """A plan towards a target, by default a closed loop of one client."""

    def make(target: str, model: str = "double", *, load: float = 1, **options: Any) -> Plan:
        service = find_service(
            target,
            ca=world.authority.certificate_pem,
            certificate=world.client.certificate_pem,
            private_key=world.client.key_pem,
            server_name=NAME,
        )
        seconds = options.pop("seconds", 1.0)
        defaults: dict[str, Any] = {"loop": "closed", "steps": (Step(load, seconds),)}
        shot = make_shot("grpc", model, {"input": ONE})
        return Plan(service, shot, **(defaults | {"timeout": 20.0} | options))

    return make


def test_as_many_requests_are_counted_as_were_asked_for_and_the_warm_up_is_not(
    start_replica: Any, plan: MakePlan
) -> None:
    replica = start_replica()
    rows: list[Row] = []
    report = run_load(plan(replica.address, load=3, requests=23, connections=3), rows.append)
    assert (report.requests, report.answered, report.total.errors) == (23, 23, {})
    assert report.warm_up == 3 * WARM_UP_REQUESTS
    assert len(replica.requests) == 23 + report.warm_up
    assert sum(row.answered for row in rows) == 23


def test_failures_after_the_warm_up_are_counted_by_their_code(
    start_replica: Any, plan: MakePlan
) -> None:
    replica = start_replica()
    replica.fails_from = WARM_UP_REQUESTS + 4
    report = run_load(plan(replica.address, requests=10))
    assert report.answered == 4
    assert report.total.errors == {"serving.internal": 6}


def test_a_request_that_is_not_served_is_not_sent_again(start_replica: Any, plan: MakePlan) -> None:
    replica = start_replica()
    with pytest.raises(ServingError):
        run_load(plan(replica.address, "fails-UNAVAILABLE", requests=5))
    assert len(replica.requests) == 1


@pytest.mark.parametrize("processes", [1, 2])
def test_a_service_that_fails_from_the_start_is_not_measured(
    processes: int, start_replica: Any, plan: MakePlan
) -> None:
    shape = {"load": 2, "requests": 9, "connections": 2, "processes": processes}
    with pytest.raises(ServingError) as refused:
        run_load(plan(start_replica().address, "fails-INTERNAL", **shape))
    assert refused.value.code == "serving.internal"
    with pytest.raises(ServingError) as absent:
        run_load(plan("127.0.0.1:1", **shape))
    assert absent.value.code == "serving.unavailable"


def test_every_connection_is_one_of_its_own(start_replica: Any, plan: MakePlan) -> None:
    replica = start_replica()
    run_load(plan(replica.address, load=8, requests=16, connections=4))
    assert len(replica.peers) == 4


def test_several_targets_have_their_share(start_replica: Any, plan: MakePlan) -> None:
    replicas = [start_replica() for _ in range(2)]
    target = ",".join(replica.address for replica in replicas)
    run_load(plan(target, load=2, requests=40, connections=2))
    assert all(len(replica.requests) > WARM_UP_REQUESTS for replica in replicas)


def test_processes_share_one_load_and_make_one_report(start_replica: Any, plan: MakePlan) -> None:
    replica = start_replica()
    rows: list[Row] = []
    report = run_load(
        plan(replica.address, load=4, requests=101, connections=4, processes=2), rows.append
    )
    assert (report.requests, report.answered) == (101, 101)
    assert report.warm_up == 4 * WARM_UP_REQUESTS
    assert len(replica.peers) == 4
    assert sum(row.answered for row in report.rows) == 101


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """Whatever started the tests: a shell lets its background jobs ignore SIGINT."""
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, found)


@pytest.mark.usefixtures("heeds_interrupts")
@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupted_run_reports_what_was_measured_by_then(
    processes: int, start_replica: Any, plan: MakePlan
) -> None:
    rows: list[Row] = []

    def interrupt(row: Row) -> None:
        rows.append(row)
        if len(rows) == 3:
            signal.raise_signal(signal.SIGINT)

    shape = {"steps": ramp(2, 2, 100, seconds=40), "connections": 2, "processes": processes}
    report = run_load(plan(start_replica().address, **shape), interrupt)
    assert report.interrupted
    assert 3 <= len(report.rows) == len(rows) < 100
    assert report.answered == sum(row.answered for row in rows) > 0
    assert report.seconds == pytest.approx(len(rows) * report.plan.interval)


def test_an_interruption_before_anything_was_measured_is_one(
    start_replica: Any, plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sealserve.client.load.running.run_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_load(plan(start_replica().address))


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("poisson", [False, True])
def test_an_open_loop_sends_what_is_due_and_no_more(
    processes: int, poisson: bool, start_replica: Any, plan: MakePlan
) -> None:
    shape = {"loop": "open", "load": 200, "connections": 2, "poisson": poisson}
    report = run_load(plan(start_replica().address, processes=processes, **shape))
    due = [request for part in report.plan.parts() for request in part.due()]
    assert report.requests + report.unsent == len(due)
    assert report.lateness.count == report.requests
    if not poisson:
        assert len(due) == 200


def stalled(replica: Any, plan: MakePlan, **shape: Any) -> Report:
    """A run on a server that answers 40 requests a second, if it can."""
    replica.pause = 0.1
    replica.requests.clear()
    return run_load(plan(replica.address, "slow", connections=1, **shape))


def test_an_open_loop_charges_a_slow_server_for_all_that_it_kept_waiting(
    start_replica: Any, plan: MakePlan
) -> None:
    replica = start_replica()
    closed = stalled(replica, plan, load=4, seconds=0.5)
    opened = stalled(replica, plan, loop="open", load=200, seconds=0.5)
    # 100 requests were due within half a second: the last of them waits for all before it.
    assert opened.requests == 100
    assert opened.latency(100) > 15 * replica.pause
    assert opened.latency(50) > 5 * replica.pause
    assert closed.requests < opened.requests


def test_what_is_under_way_has_a_bound_and_waiting_for_room_is_part_of_the_time(
    start_replica: Any, plan: MakePlan
) -> None:
    replica = start_replica()
    report = stalled(replica, plan, loop="open", load=200, seconds=0.5, max_in_flight=4)
    assert report.unsent > 0
    assert report.requests + report.unsent == 100
    assert report.lateness.percentile(100) > 2 * replica.pause * 1e9
    assert report.latency(100) > 3 * replica.pause


def test_a_ramp_has_a_result_for_each_step(start_replica: Any, plan: MakePlan) -> None:
    steps = (Step(20, 0.5), Step(60, 0.5), Step(100, 0.5))
    report = run_load(plan(start_replica().address, loop="open", steps=steps))
    assert [step.load for step in report.steps] == [20, 60, 100]
    counts = [step.outcome.latencies.count for step in report.steps]
    assert counts[:2] == [10, 30]
    assert sum(counts) == report.answered == 90 - report.unsent


def test_a_closed_loop_can_grow_too(start_replica: Any, plan: MakePlan) -> None:
    replica = start_replica()
    steps = (Step(1, 0.4), Step(4, 0.4))
    report = stalled(replica, plan, steps=steps)
    few, many = (step.outcome.latencies.count for step in report.steps)
    assert 0 < few < many
