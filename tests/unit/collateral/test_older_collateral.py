"""What was held once is not undone by what is older, though it is signed and still valid."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from sealserve.collateral.evaluations import EvaluationMemory
from sealserve.collateral.key import CollateralKey
from sealserve.endorsements.collateral import Collateral
from sealserve.errors import CollateralError, VerificationError
from sealserve.lab.authorities import FMSPC
from sealserve.lab.faults import NO_FAULTS, Faults
from sealserve.lab.issuing import issue_all
from sealserve.verifier import Code, Evaluations, Platform

SGX = Platform("SGX", FMSPC, "platform")
KEY = CollateralKey.of(SGX, "standard")
NO_GRACE, HOUR, DAY = timedelta(0), timedelta(hours=1), timedelta(days=1)
GRACES = pytest.mark.parametrize("grace", [NO_GRACE, 10 * DAY], ids=["no grace", "a grace"])
PARTS = ["pck_crl", "root_ca_crl", "tcb_info", "qe_identity"]


def issued(world, now, faults=NO_FAULTS) -> Collateral:
    return issue_all(world.authorities, faults, now).collateral["SGX", "standard"]


def revokes(held, world) -> bool:
    serial = world.authorities.pck.certificate.serial_number
    return held.verified.revocation.pck_crl.names(serial)


@pytest.fixture
def serve(source):
    """What the source answers from now on."""

    def serve(collateral):
        source.collateral = lambda platform: collateral

    return serve


@pytest.fixture
def revoked(make_shared, serve, world, now):
    """Held by a process and in the folder: collateral whose CRL revokes the PCK."""
    serve(issued(world, now, Faults.REVOKED_PCK))
    return make_shared().obtain(SGX, now)


@pytest.fixture
def older_crl(world, now):
    """All is new but the PCK CRL, which is from before the revocation, and valid."""
    before = issued(world, now - 5 * DAY)
    return dataclasses.replace(issued(world, now + 2 * HOUR), pck_crl=before.pck_crl)


@GRACES
@pytest.mark.parametrize("in_memory", [True, False], ids=["in memory", "on disk"])
def test_a_revocation_is_not_undone_by_an_older_crl(
    make_shared, serve, world, now, revoked, older_crl, grace, in_memory, caplog
):
    serve(older_crl)
    later = now + 2 * HOUR
    held = make_shared().obtain(SGX, later, grace, revoked if in_memory else None)
    assert revokes(held, world)
    assert held.renew_from > later, "put off"
    assert "older than what is at hand" in caplog.text
    assert revokes(make_shared().obtain(SGX, later, grace), world), "nor in the folder"


@GRACES
def test_nor_once_something_else_that_came_with_it_has_ended(make_shared, serve, world, now, grace):
    """Who serves collateral could wait for that."""
    short = issued(world, now - 29 * DAY)
    fresh = issued(world, now, Faults.REVOKED_PCK)
    serve(dataclasses.replace(fresh, tcb_info=short.tcb_info))
    make_shared().obtain(SGX, now)
    later = now + 15 * DAY
    before = issued(world, now - 5 * DAY)
    serve(dataclasses.replace(issued(world, later), pck_crl=before.pck_crl))
    with pytest.raises(VerificationError) as caught:
        make_shared().obtain(SGX, later, grace)
    assert caught.value.code == Code.COLLATERAL_ROLLBACK


@pytest.mark.parametrize("part", PARTS)
def test_each_part_counts_by_itself(make_shared, serve, world, now, part):
    serve(issued(world, now))
    held = make_shared().obtain(SGX, now)
    before = issued(world, now - DAY)
    serve(dataclasses.replace(issued(world, now + HOUR), **{part: getattr(before, part)}))
    assert make_shared().obtain(SGX, now + HOUR, present=held).verified is held.verified
    with pytest.raises(VerificationError, match="older than what is at hand"):
        make_shared().fetch(SGX, now + HOUR)


@GRACES
@pytest.mark.parametrize("age", [29 * DAY, 35 * DAY], ids=["nearly expired", "expired"])
def test_what_ends_sooner_does_not_displace_what_is_newer(
    make_shared, serve, world, now, grace, age
):
    serve(issued(world, now))
    held = make_shared().obtain(SGX, now)
    serve(issued(world, now + HOUR - age))
    later = make_shared().obtain(SGX, now + HOUR, grace, held)
    assert later.verified.valid_until == held.verified.valid_until


def test_what_is_in_memory_is_not_displaced_by_what_another_process_put_in_the_folder(
    make_shared, serve, world, folder, now
):
    serve(issued(world, now))
    held = make_shared().obtain(SGX, now)
    folder.forget(KEY)
    serve(issued(world, now - 32 * DAY))
    ended = make_shared().obtain(SGX, now + HOUR, 10 * DAY)
    assert ended.verified.valid_until < now, "it has nothing else"
    kept = make_shared().obtain(SGX, now + HOUR, 10 * DAY, held)
    assert kept.verified is held.verified


def test_the_same_again_is_not_older(make_shared, serve, world, now):
    serve(issued(world, now))
    held = make_shared().obtain(SGX, now)
    assert make_shared().obtain(SGX, now + HOUR, present=held).fetched_at >= now + HOUR


def test_numbers_of_what_is_put_off_are_not_remembered(
    make_shared, serve, world, folder, now, revoked, older_crl
):
    early = issue_all(world.authorities, NO_FAULTS, now + HOUR).collateral["SGX", "early"]
    serve(dataclasses.replace(early, pck_crl=older_crl.pck_crl))
    make_shared().obtain(SGX, now + 2 * HOUR, present=revoked)
    assert EvaluationMemory(folder.path).highest(KEY).tcb_info == 17


class TestAnotherProcessHasSeenMore:
    """A renewal fails, and what is in memory is older than the memory that all share."""

    @pytest.fixture
    def held(self, make_shared, source, now):
        return make_shared().obtain(SGX, now)

    def test_what_that_process_brought_is_used_though_it_is_not_young(
        self, make_shared, source, held, now
    ):
        source.update = "early"
        make_shared().obtain(SGX, now + 2 * HOUR)
        source.go_down()
        later = make_shared().obtain(SGX, now + 4 * HOUR, present=held)
        assert later.verified.tcb_info.evaluation_data_number == 18

    def test_without_it_nothing_is(self, make_shared, source, folder, held, now, caplog):
        EvaluationMemory(folder.path).remember(KEY, Evaluations(18, 18), "another process")
        source.go_down()
        with pytest.raises(CollateralError, match="nobody there"):
            make_shared().obtain(SGX, now + HOUR, present=held)
        assert "event=collateral_outrun" in caplog.text
