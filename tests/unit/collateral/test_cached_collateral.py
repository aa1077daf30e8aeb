"""In memory: verified once, renewed once for all who wait, and beside its use while it is good."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from sealserve.collateral import cached
from sealserve.collateral.cached import CachedCollateral
from sealserve.errors import CollateralError, VerificationError
from sealserve.lab.authorities import FMSPC
from sealserve.lab.faults import Faults
from sealserve.lab.world import World
from sealserve.verifier import Platform

ONE, OTHER = Platform("SGX", FMSPC, "platform"), Platform("TDX", FMSPC, "platform")
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def run(make_shared):
    """The result of `scenario(cache)` in an event loop of its own."""

    def run(scenario, **options):
        async def main():
            cache = CachedCollateral(make_shared(**options))
            try:
                return await scenario(cache)
            finally:
                cache.close()

        return asyncio.run(main())

    return run


async def quiet(cache):
    """Once nothing is being renewed, beside its use or otherwise."""
    while cache._renewals:
        await asyncio.sleep(0.001)


def test_the_source_is_asked_once_for_a_platform(run, source, now):
    async def scenario(cache):
        first = await cache.get(ONE, now + SECOND)
        return first is await cache.get(ONE, now + 29 * MINUTE)

    assert run(scenario)
    assert source.asked == [ONE]


def test_those_who_come_during_a_fetch_share_its_answer(run, source, now):
    async def scenario(cache):
        return await asyncio.gather(*(cache.get(ONE, now) for _ in range(50)))

    answers = run(scenario)
    assert len(source.asked) == 1
    assert all(answer is answers[0] for answer in answers)


def test_those_who_wait_share_a_failure(run, source, now):
    source.go_down()

    async def scenario(cache):
        return await asyncio.gather(
            *(cache.get(ONE, now) for _ in range(3)), return_exceptions=True
        )

    assert all(isinstance(error, CollateralError) for error in run(scenario))
    assert len(source.asked) == 1


def test_a_source_that_stalls_stops_nobody_who_needs_another_platform(run, source, now):
    source.stalled["SGX"] = threading.Event()

    async def scenario(cache):
        waiting = [asyncio.create_task(cache.get(ONE, now)) for _ in range(100)]
        other = await cache.get(OTHER, now)
        assert not any(task.done() for task in waiting)
        source.stalled["SGX"].set()
        await asyncio.gather(*waiting)
        return other.tee

    assert run(scenario) == "TDX"
    assert len(source.asked) == 2


def test_one_who_goes_away_does_not_end_the_fetch_for_the_others(run, source, now):
    source.stalled["SGX"] = threading.Event()

    async def scenario(cache):
        first, second = (asyncio.create_task(cache.get(ONE, now)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        source.stalled["SGX"].set()
        return await second

    assert run(scenario)
    assert len(source.asked) == 1


def test_from_half_its_age_it_is_renewed_beside_its_use_and_nobody_waits(run, source, now):
    async def scenario(cache):
        held = await cache.get(ONE, now)
        source.stalled["SGX"] = threading.Event()
        for _ in range(10):
            assert await cache.get(ONE, now + 31 * MINUTE) is held
        source.stalled.pop("SGX").set()
        await quiet(cache)
        return held, await cache.get(ONE, now + 32 * MINUTE)

    held, renewed = run(scenario)
    assert renewed is not held
    assert len(source.asked) == 2


def test_an_outage_beside_its_use_goes_unnoticed_while_it_is_good(run, source, now):
    async def scenario(cache):
        held = await cache.get(ONE, now)
        source.go_down()
        for minutes in (31, 61, 121):
            assert await cache.get(ONE, now + minutes * MINUTE) is held
            await quiet(cache)

    run(scenario)
    assert len(source.asked) == 4


def test_during_the_pause_after_a_failure_nobody_is_asked_and_nobody_waits(run, source, now):
    async def scenario(cache):
        held = await cache.get(ONE, now)
        source.go_down()
        for _ in range(20):
            assert await cache.get(ONE, now + HOUR) is held

    run(scenario)
    assert len(source.asked) == 2


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(HOUR, id="at the maximum age"),
        pytest.param(-2 * MINUTE, id="before it was fetched"),
    ],
)
def test_what_reached_its_age_is_asked_for_before_its_use(run, source, now, later):
    async def scenario(cache):
        held = await cache.get(ONE, now)
        return held is await cache.get(ONE, now + later)

    assert not run(scenario)
    assert len(source.asked) == 2


def test_what_has_run_out_is_asked_for_whatever_age_is_allowed(run, source, world, now):
    async def scenario(cache):
        held = await cache.get(ONE, now)
        source.world = world.renew(now=now + timedelta(days=29))
        later = held.valid_until + SECOND
        return (await cache.get(ONE, later)).valid_until > later

    assert run(scenario, max_age=timedelta(days=365))
    assert len(source.asked) == 2


def test_what_has_little_life_left_is_renewed_beside_its_use_and_not_all_the_time(run, source, now):
    async def scenario(cache):
        held = await cache.get(ONE, now)
        late = held.valid_until - (held.valid_until - held.valid_from) / 5
        await cache.get(ONE, late)
        await quiet(cache)
        for minutes in range(10):
            await cache.get(ONE, late + minutes * MINUTE)

    run(scenario, max_age=timedelta(days=365))
    assert len(source.asked) == 2


def test_past_its_end_it_serves_for_the_grace_that_is_granted_now(run, source, now):
    """Each request has the grace of its moment: what was granted before is forgotten."""

    async def scenario(cache):
        end = (await cache.get(ONE, now)).valid_until
        source.go_down()
        with pytest.raises(CollateralError):
            await cache.get(ONE, end + HOUR)
        granted = await cache.get(ONE, end + HOUR, 2 * HOUR)
        assert granted.valid_until == end
        assert granted.usable_until == end + 2 * HOUR
        assert await cache.get(ONE, end + HOUR, 3 * HOUR) is granted
        with pytest.raises(CollateralError):
            await cache.get(ONE, end + HOUR)
        with pytest.raises(CollateralError):
            await cache.get(ONE, end + HOUR, MINUTE)

    run(scenario)


def test_what_is_to_be_renewed_is_asked_for_before_its_next_use(run, source, now):
    async def scenario(cache):
        held = await cache.get(ONE, now)
        cache.renew()
        assert await cache.get(ONE, now) is not held

    run(scenario)
    assert len(source.asked) == 2


def test_what_is_to_be_renewed_is_at_hand_where_that_fails(run, source, now):
    async def scenario(cache):
        held = await cache.get(ONE, now)
        source.go_down()
        cache.renew()
        assert await cache.get(ONE, now) is held

    run(scenario)
    assert len(source.asked) == 2


def test_a_fetch_under_way_serves_those_who_wait_alone(run, source, now):
    source.stalled["SGX"] = threading.Event()

    async def scenario(cache):
        waiting = asyncio.create_task(cache.get(ONE, now))
        while not source.asked:
            await asyncio.sleep(0.001)
        cache.renew()
        source.stalled.pop("SGX").set()
        assert (await waiting).valid_until > now
        assert await cache.get(ONE, now) is not await waiting

    run(scenario)


def test_collateral_that_does_not_verify_is_not_kept(run, source, world, now):
    async def scenario(cache):
        source.world = World.create(now=now, faults=Faults.TAMPERED_TCB_INFO)
        (error,) = await asyncio.gather(cache.get(ONE, now), return_exceptions=True)
        source.world = world
        await cache.get(ONE, now + MINUTE)
        return error

    assert isinstance(run(scenario), VerificationError)


def test_the_number_of_platforms_that_are_kept_is_bounded(run, make_shared, now, monkeypatch):
    monkeypatch.setattr(cached, "MAX_PLATFORMS", 1)

    async def scenario(cache):
        first = await cache.get(ONE, now)
        other = await cache.get(OTHER, now)
        assert await cache.get(OTHER, now) is other
        assert await cache.get(ONE, now) is not first

    run(scenario)


def test_in_a_long_outage_the_service_is_asked_beside_the_use_of_what_there_is(run, source, now):
    async def scenario(cache):
        held = await cache.get(ONE, now)
        source.go_down()
        assert await cache.get(ONE, now + HOUR) is held
        source.stalled["SGX"] = threading.Event()
        for minutes in range(1, 5):  # a silence, and nobody waits for its end
            assert await cache.get(ONE, now + HOUR + minutes * MINUTE) is held
        while len(source.asked) < 3:
            await asyncio.sleep(0.001)
        source.stalled["SGX"].set()

    run(scenario)
    assert len(source.asked) == 3
