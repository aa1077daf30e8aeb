"""The parts of the simulation follow the real ones, and what is known of queues."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.attester import quoted
from sealserve.deploy.kubernetes import server as rendered
from sealserve.errors import OverloadedError
from sealserve.keyservice.limits import Limits
from sealserve.keyservice.store import appender, pool
from sealserve.lab.simulation import capacity, keyservice, rules
from sealserve.lab.simulation.engine import Clock, Line, Pace, Shared
from sealserve.lab.simulation.parameters import Parameters
from sealserve.lab.simulation.rules import BackOff, Pauses
from sealserve.serving.flags import Flags
from sealserve.serving.opening import keys

GIVEN = Parameters()
Serve = Callable[..., None]


def test_what_is_ours_is_as_the_real_parts_have_it() -> None:
    assert GIVEN.first_pause_seconds == keys.FIRST_PAUSE
    assert GIVEN.longest_pause_seconds == keys.LONGEST_PAUSE
    assert GIVEN.attempt_seconds == keys.ATTEMPT_SECONDS
    assert GIVEN.key_timeout_seconds == Flags().key_service_timeout_seconds
    assert GIVEN.quote_deadline_seconds == quoted.QUOTE_SECONDS
    assert GIVEN.batch_records == appender.BATCH
    assert GIVEN.pace_seconds == appender.PACE_SECONDS
    assert GIVEN.crowd_sessions == appender.CROWD
    assert GIVEN.limits == Limits()
    assert GIVEN.startup_seconds == rendered._START_SECONDS
    assert capacity.POOL == pool.POOL
    assert OverloadedError("").retry_after == keyservice.BUSY_SECONDS


def test_the_pauses_of_the_simulation_are_those_of_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    """The real loop, with its clock and its sleep in our hands, until its deadline."""
    now, slept = [0.0], []
    monkeypatch.setattr(keys.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(keys.random, "uniform", lambda low, high: low + 0.7 * (high - low))

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    def ask(*_: object) -> object:
        now[0] += 0.25
        raise keys.OverloadedError("busy", retry_after=3.0 if len(slept) == 2 else 0.0)

    monkeypatch.setattr(keys.time, "sleep", sleep)
    monkeypatch.setattr(keys, "_ask", ask)
    monkeypatch.setattr(keys, "parse_source", lambda _: None)
    monkeypatch.setattr(keys, "make_certificate", lambda _: None)
    ca = tmp_path / "ca.pem"  # type: ignore[operator]
    ca.touch()
    with pytest.raises(keys.OverloadedError):
        keys.keys_by_attestation(keys.Attestation("lab:x", "localhost:1", ca))
    pauses, time, ours = Pauses(0.5, 15.0, 120.0), 0.25, []
    while (pause := pauses.next(time, 3.0 if len(ours) == 2 else 0.0, 0.7)) is not None:
        ours.append(pause)
        time += pause + 0.25
    assert len(ours) > 5
    assert ours == pytest.approx(slept)


def test_kubelet_starts_at_once_then_doubles_up_to_five_minutes_and_forgets() -> None:
    back_off, now, waits = BackOff(10.0, 300.0), 0.0, []
    for _ in range(8):
        waits.append(back_off.wait(now))
        now += waits[-1] + 5
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    assert back_off.wait(now + 601) == 0  # it had run for more than twice the longest
    assert back_off.wait(now + 602) == 10
    back_off.forget()
    assert back_off.wait(now + 603) == 0


def test_a_pace_lets_its_burst_through_and_then_its_rate() -> None:
    pace = Pace(20.0, 30)
    turns = [pace.take(0.0) for _ in range(70)]
    assert turns[:30] == pytest.approx([0.0] * 30)
    assert turns[30:] == pytest.approx([(number + 1) / 20 for number in range(40)])
    assert pace.take(100.0) == 100.0


@given(
    rate=st.floats(0.1, 100),
    burst=st.integers(1, 20),
    gaps=st.lists(st.floats(0, 5), min_size=1, max_size=60),
)
def test_a_pace_never_lets_through_more_than_burst_and_rate(
    rate: float, burst: int, gaps: list[float]
) -> None:
    pace, now, turns = Pace(rate, burst), 0.0, []
    for gap in gaps:
        now += gap
        turns.append(pace.take(now))
        assert turns[-1] >= now
    for first in range(len(turns)):
        for last in range(first, len(turns)):
            seconds = turns[last] - turns[first]
            assert last - first + 1 <= burst + rate * seconds + 1e-6


def sojourns(clock: Clock, serve: Serve, seconds: float, rate: float, jobs: int) -> list[float]:
    """Of jobs that come by chance (Poisson), each of so many seconds."""
    random, now, found = Random(7), 0.0, []

    def arrive() -> None:
        began = clock.now
        serve(seconds, lambda: found.append(clock.now - began))

    for _ in range(jobs):
        now += random.expovariate(rate)
        clock.at(now, arrive)
    clock.run(float("inf"))
    assert len(found) == jobs
    return found


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.8])
def test_a_line_waits_as_long_as_pollaczek_and_khinchine_say(busy: float) -> None:
    """M/D/1: the mean wait is s * busy / (2 * (1 - busy))."""
    clock = Clock()
    line = Line(clock, 1)
    found = sojourns(clock, line.serve, 0.01, busy / 0.01, 20_000)
    wait = sum(found) / len(found) - 0.01
    assert wait == pytest.approx(0.01 * busy / (2 * (1 - busy)), rel=0.1)
    assert line.busy_seconds == pytest.approx(200)


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.8])
def test_a_core_that_is_shared_takes_as_long_as_processor_sharing_does(busy: float) -> None:
    """M/G/1-PS: the mean time in it is s / (1 - busy), whatever the jobs are."""
    clock = Clock()
    found = sojourns(clock, Shared(clock, 1.0).serve, 0.01, busy / 0.01, 20_000)
    assert sum(found) / len(found) == pytest.approx(0.01 / (1 - busy), rel=0.1)


@pytest.mark.parametrize("kind", [Line, Shared])
@given(
    jobs=st.lists(st.floats(0.01, 10), min_size=1, max_size=30),
    servers=st.integers(1, 5),
)
def test_no_line_and_no_core_does_more_than_it_can(
    kind: Callable[..., Line | Shared], jobs: list[float], servers: int
) -> None:
    clock, ends = Clock(), []
    serve = kind(clock, servers).serve
    for seconds in jobs:
        serve(seconds, lambda seconds: ends.append((clock.now, seconds)), seconds)
    clock.run(float("inf"))
    assert len(ends) == len(jobs)
    last = max(end for end, _ in ends)
    assert last >= max(sum(jobs) / servers, max(jobs)) * (1 - 1e-9)
    assert last <= sum(jobs) * (1 + 1e-9)
    assert all(end >= seconds * (1 - 1e-9) for end, seconds in ends)


def test_equal_jobs_on_shared_cores_end_together() -> None:
    clock, ends = Clock(), []
    cores = Shared(clock, 2.0)
    for _ in range(6):
        cores.serve(1.0, lambda: ends.append(clock.now))
    clock.run(float("inf"))
    assert ends == pytest.approx([3.0] * 6)


def test_a_job_that_nobody_wants_any_more_costs_nothing() -> None:
    clock, done = Clock(), []
    line = Line(clock, 1)
    line.serve(1.0, done.append, 1)
    line.serve(1.0, done.append, 2, wanted=lambda: False)
    line.serve(1.0, done.append, 3)
    clock.run(float("inf"))
    assert (done, clock.now, line.busy_seconds) == ([1, 3], 2.0, 2.0)


def test_a_pause_varies_by_a_quarter() -> None:
    assert rules.JITTER == 0.25
    pauses = [Pauses(4.0, 15.0, 100.0).next(0.0, None, chance) for chance in (0.0, 0.5, 1.0)]
    assert pauses == pytest.approx([3.0, 4.0, 5.0])
