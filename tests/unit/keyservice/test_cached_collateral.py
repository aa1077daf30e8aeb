"""Collateral is verified once, fetched once for all who wait, and never older than allowed."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from sealserve.errors import CollateralError, VerificationError
from sealserve.keyservice.collateral import MAX_PLATFORMS, CachedCollateral, CollateralFolder
from sealserve.lab.faults import Faults
from sealserve.lab.world import World
from sealserve.verifier import Platform, load_trust_root

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
WORLD = World.create(now=NOW)
ROOT = load_trust_root(WORLD.root_ca_pem)
ONE, OTHER = Platform("SGX", bytes(6), "platform"), Platform("SGX", bytes(5) + b"\1", "platform")


class Source:
    """A collateral service that counts, fails and stalls on demand."""

    def __init__(self, world=WORLD):
        self.world = world
        self.asked = []
        self.down = False
        self.stalled = {}

    def collateral(self, fmspc, ca):
        self.asked.append((fmspc, ca))
        if fmspc in self.stalled:
            assert self.stalled[fmspc].wait(30)
        if self.down:
            raise CollateralError("nobody there")
        return self.world.collateral()


@pytest.fixture
def source():
    return Source()


def run(source, scenario, *, max_age=timedelta(hours=1)):
    """The result of `scenario(cache)` in an event loop of its own."""

    async def main():
        cache = CachedCollateral(source, ROOT, max_age=max_age)
        try:
            return await scenario(cache)
        finally:
            cache.close()

    return asyncio.run(main())


def test_the_source_is_asked_once_for_a_platform(source):
    async def scenario(cache):
        first = await cache.get(ONE, NOW)
        return first is await cache.get(ONE, NOW + timedelta(minutes=59))

    assert run(source, scenario)
    assert source.asked == [(ONE.fmspc, "platform")]


def test_those_who_come_during_a_fetch_share_its_answer(source):
    async def scenario(cache):
        return await asyncio.gather(*(cache.get(ONE, NOW) for _ in range(50)))

    answers = run(source, scenario)
    assert len(source.asked) == 1
    assert all(answer is answers[0] for answer in answers)


def test_those_who_wait_share_a_failure_and_the_next_tries_again(source):
    source.down = True

    async def scenario(cache):
        errors = await asyncio.gather(
            *(cache.get(ONE, NOW) for _ in range(3)), return_exceptions=True
        )
        source.down = False
        await cache.get(ONE, NOW)
        return errors

    assert all(isinstance(error, CollateralError) for error in run(source, scenario))
    assert len(source.asked) == 2


def test_a_source_that_stalls_stops_nobody_who_needs_another_platform(source):
    source.stalled[ONE.fmspc] = threading.Event()

    async def scenario(cache):
        waiting = [asyncio.create_task(cache.get(ONE, NOW)) for _ in range(100)]
        other = await cache.get(OTHER, NOW)
        assert not any(task.done() for task in waiting)
        source.stalled[ONE.fmspc].set()
        await asyncio.gather(*waiting)
        return other

    assert run(source, scenario)
    assert len(source.asked) == 2


def test_one_who_goes_away_does_not_end_the_fetch_for_the_others(source):
    source.stalled[ONE.fmspc] = threading.Event()

    async def scenario(cache):
        first, second = (asyncio.create_task(cache.get(ONE, NOW)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        source.stalled[ONE.fmspc].set()
        return await second

    assert run(source, scenario)
    assert len(source.asked) == 1


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(NOW + timedelta(hours=1), id="at the maximum age"),
        pytest.param(NOW - timedelta(seconds=1), id="before it was fetched"),
    ],
)
def test_what_is_too_old_is_fetched_again_and_an_outage_does_not_keep_it_alive(source, later):
    async def scenario(cache):
        await cache.get(ONE, NOW)
        source.down = True
        await cache.get(ONE, later)

    with pytest.raises(CollateralError):
        run(source, scenario)
    assert len(source.asked) == 2


def test_what_has_run_out_is_fetched_again_whatever_age_is_allowed(source):
    async def scenario(cache):
        held = await cache.get(ONE, NOW)
        source.world = WORLD.renew(now=NOW + timedelta(days=29))
        later = held.valid_until + timedelta(seconds=1)
        return (await cache.get(ONE, later)).valid_until > later

    assert run(source, scenario, max_age=timedelta(days=365))
    assert len(source.asked) == 2


def test_what_is_forgotten_is_fetched_again(source):
    async def scenario(cache):
        await cache.get(ONE, NOW)
        cache.forget()
        await cache.get(ONE, NOW)

    run(source, scenario)
    assert len(source.asked) == 2


def test_a_fetch_under_way_is_forgotten_too_and_serves_those_who_wait_alone(source):
    source.stalled[ONE.fmspc] = threading.Event()

    async def scenario(cache):
        waiting = asyncio.create_task(cache.get(ONE, NOW))
        while not source.asked:
            await asyncio.sleep(0)
        cache.forget()
        source.stalled.pop(ONE.fmspc).set()
        assert (await waiting).valid_until > NOW
        await cache.get(ONE, NOW)
        await cache.get(ONE, NOW)

    run(source, scenario)
    assert len(source.asked) == 2


def test_collateral_that_does_not_verify_is_not_kept():
    source = Source(World.create(now=NOW, faults=Faults.TAMPERED_TCB_INFO))

    async def scenario(cache):
        return await asyncio.gather(cache.get(ONE, NOW), return_exceptions=True)

    (error,) = run(source, scenario)
    assert isinstance(error, VerificationError)


def test_the_number_of_platforms_that_are_kept_is_bounded(source):
    platforms = [
        Platform("SGX", number.to_bytes(6), "processor") for number in range(MAX_PLATFORMS + 1)
    ]

    async def scenario(cache):
        for platform in platforms:
            await cache.get(platform, NOW)
        asked = len(source.asked)
        await cache.get(platforms[-1], NOW)
        assert len(source.asked) == asked
        await cache.get(platforms[0], NOW)
        assert len(source.asked) == asked + 1

    run(source, scenario)


def test_a_folder_is_read_each_time(tmp_path):
    WORLD.save(tmp_path)
    folder = CollateralFolder(tmp_path / "collateral")
    assert folder.collateral(bytes(6), "platform") == WORLD.collateral()
    (tmp_path / "collateral" / "pck.crl").unlink()
    with pytest.raises(CollateralError, match=r"pck\.crl"):
        folder.collateral(bytes(6), "platform")
