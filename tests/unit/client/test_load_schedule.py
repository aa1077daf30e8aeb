"""When requests are due, and how a plan is shared."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.client.load import Plan, Shot, Step, ramp
from sealserve.client.load.schedule import arrivals, constant_gaps, poisson_gaps
from sealserve.client.service import find_service
from sealserve.errors import UsageError

STEPS = st.lists(
    st.builds(Step, load=st.floats(1, 200), seconds=st.floats(0.1, 5)), min_size=1, max_size=4
)


def plan(loop: Any = "open", load: float = 100, seconds: float = 1.0, **options: Any) -> Plan:
    service = find_service("127.0.0.1:1", dangerously_plaintext=True)
    steps = {"steps": (Step(load, seconds),)}
    return Plan(service, Shot("grpc", "/a.B/C", b""), loop, **(steps | options))


@given(STEPS)
def test_constant_arrivals_are_as_many_as_the_load_says_in_order_and_in_their_steps(
    steps: list[Step],
) -> None:
    due = list(arrivals(steps, constant_gaps()))
    assert abs(len(due) - sum(step.load * step.seconds for step in steps)) <= 1 + 1e-6
    assert all(one[0] <= other[0] for one, other in pairwise(due))
    begins = [sum(step.seconds for step in steps[:index]) for index in range(len(steps) + 1)]
    assert all(begins[step] - 1e-9 <= moment <= begins[step + 1] + 1e-9 for moment, step in due)


def test_constant_arrivals_are_evenly_apart() -> None:
    due = [moment for moment, _ in arrivals([Step(4, 2.0)], constant_gaps())]
    assert due == [0.125, 0.375, 0.625, 0.875, 1.125, 1.375, 1.625, 1.875]


def test_poisson_arrivals_have_the_mean_and_the_spread_of_their_kind() -> None:
    due = [moment for moment, _ in arrivals([Step(1000, 20.0)], poisson_gaps(1))]
    gaps = [later - earlier for earlier, later in pairwise(due)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(0.001, rel=0.05)
    assert deviation == pytest.approx(mean, rel=0.05)


def test_the_same_seed_gives_the_same_arrivals_and_another_others() -> None:
    one, again, other = (list(islice(poisson_gaps(seed), 5)) for seed in (1, 1, 2))
    assert one == again != other


@given(st.integers(1, 7))
def test_processes_together_have_the_arrivals_of_one(processes: int) -> None:
    whole = [moment for moment, _ in plan().due()]
    shared = plan(processes=processes, connections=processes).parts()
    together = sorted(moment for part in shared for moment, _ in part.due())
    assert together == pytest.approx(whole)


@given(st.integers(1, 8), st.integers(8, 100), st.integers(8, 64))
def test_parts_add_up_to_the_plan(processes: int, requests: int, clients: int) -> None:
    whole = plan("closed", clients, requests=requests, connections=clients, processes=processes)
    parts = whole.parts()
    assert len(parts) == processes
    assert sum(part.requests or 0 for part in parts) == requests
    assert sum(part.connections for part in parts) == clients
    assert sum(part.steps[0].load for part in parts) == clients


def test_an_open_loop_may_end_after_a_number_of_requests() -> None:
    assert len(list(plan(requests=7).due())) == 7


def test_a_ramp_goes_from_one_load_to_the_other() -> None:
    assert ramp(100, 300, 3, seconds=6) == (Step(100, 2), Step(200, 2), Step(300, 2))
    assert [step.load for step in ramp(9, 1, 5, seconds=5)] == [9, 7, 5, 3, 1]


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.5, 60.0])
def test_rows_fit_their_step(seconds: float) -> None:
    made = plan(steps=ramp(1, 2, 2, seconds=2 * seconds))
    assert made.interval <= 1.0
    assert made.interval * made.rows_of_a_step == pytest.approx(seconds)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"load": 0}, id="no rate"),
        pytest.param({"load": 1e9}, id="a rate beyond all"),
        pytest.param({"loop": "closed", "load": 5000}, id="too many clients"),
        pytest.param({"seconds": 1e9}, id="years"),
        pytest.param({"seconds": float("nan")}, id="no time at all"),
        pytest.param({"requests": 0}, id="no request"),
        pytest.param({"requests": 5, "steps": ramp(1, 2, 2, seconds=1)}, id="counted steps"),
        pytest.param({"connections": 0}, id="no connection"),
        pytest.param({"connections": 5000}, id="too many connections"),
        pytest.param({"processes": 0}, id="no process"),
        pytest.param({"processes": 100, "connections": 100}, id="too many processes"),
        pytest.param({"processes": 2, "connections": 1}, id="a process without a connection"),
        pytest.param(
            {"loop": "closed", "load": 1, "processes": 2, "connections": 2},
            id="a process without a client",
        ),
        pytest.param(
            {"processes": 2, "connections": 2, "requests": 1}, id="a process without a request"
        ),
    ],
)
def test_a_plan_without_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        plan(**options)


@pytest.mark.parametrize("steps", [1, 0, 101])
def test_a_ramp_has_a_sensible_number_of_steps(steps: int) -> None:
    with pytest.raises(UsageError):
        ramp(1, 2, steps, seconds=1)


def test_a_plan_shows_no_key() -> None:
    assert "private_key" not in repr(plan())
