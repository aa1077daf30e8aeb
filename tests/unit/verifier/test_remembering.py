"""What the verifier remembers from quote to quote, and what it asks each time all the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sealserve.errors import VerificationError
from sealserve.evidence.quote import parse_quote, serialize_quote
from sealserve.lab import pki as lab_pki
from sealserve.lab.faults import Faults
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.world import World
from sealserve.verifier import (
    Claims,
    Code,
    load_trust_root,
    pki,
    platform_of,
    verify,
    verify_collateral,
    verify_quote,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
REPORT = EnclaveIdentity(bytes(32), bytes(32)).report(bytes(64))


@pytest.fixture(scope="module")
def world() -> World:
    return World.create(now=NOW)


def verified(quote: bytes, world: World, now: datetime = NOW) -> Claims:
    collateral = verify_collateral(world.collateral(), world.root_ca_pem, now)
    return verify_quote(quote, collateral, now)


def chains_remembered() -> int:
    return pki._verify_signatures.cache_info().currsize


def test_a_strangers_chains_take_no_memory(world: World) -> None:
    verified(world.quote(REPORT), world)
    before = chains_remembered()
    root = load_trust_root(world.root_ca_pem)
    for _ in range(5):
        stranger = World.create(now=NOW)
        with pytest.raises(VerificationError) as caught:
            platform_of(stranger.quote(REPORT), root, NOW)
        assert caught.value.code == Code.PCK_CHAIN
        with pytest.raises(VerificationError):
            verify_collateral(stranger.collateral(), root, NOW)
    assert chains_remembered() == before


def test_a_chain_that_is_spelt_in_another_way_is_remembered_as_the_same(world: World) -> None:
    quote = parse_quote(world.quote(REPORT))
    spaced = replace(quote, certification_data=quote.certification_data.replace(b"\n", b" \n"))
    platform_of(serialize_quote(quote), world.root_ca_pem, NOW)
    before = pki._verify_signatures.cache_info()
    platform_of(serialize_quote(spaced), world.root_ca_pem, NOW)
    after = pki._verify_signatures.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (0, 1)


def test_a_chain_that_is_remembered_under_one_root_is_not_verified_under_another(
    world: World,
) -> None:
    quote = world.quote(REPORT)
    verified(quote, world)
    with pytest.raises(VerificationError) as caught:
        platform_of(quote, World.create(now=NOW).root_ca_pem, NOW)
    assert caught.value.code == Code.PCK_CHAIN


def test_the_dates_of_a_chain_that_is_remembered_are_checked_again(world: World) -> None:
    quote = world.quote(REPORT)
    verified(quote, world)
    for moment in (NOW - timedelta(days=1), NOW + timedelta(days=8 * 365)):
        with pytest.raises(VerificationError) as caught:
            platform_of(quote, world.root_ca_pem, moment)
        assert caught.value.code == Code.PCK_CHAIN_VALIDITY


def test_a_platform_that_is_remembered_can_be_revoked(world: World) -> None:
    quote = world.quote(REPORT)
    verified(quote, world)
    crl = lab_pki.issue_crl(
        world.authorities.platform_ca, NOW, revoked=[world.authorities.pck.certificate]
    )
    collateral = replace(world.collateral(), pck_crl=crl)
    with pytest.raises(VerificationError) as caught:
        verify(quote, collateral, trust_root=world.root_ca_pem, now=NOW)
    assert caught.value.code == Code.REVOKED


def test_a_ca_that_is_remembered_can_be_revoked(world: World) -> None:
    verified(world.quote(REPORT), world)
    root_ca = world.authorities.root_ca
    crl = lab_pki.issue_crl(root_ca, NOW, revoked=[world.authorities.platform_ca.certificate])
    with pytest.raises(VerificationError) as caught:
        verify_collateral(replace(world.collateral(), root_ca_crl=crl), world.root_ca_pem, NOW)
    assert caught.value.code == Code.REVOKED


def test_a_level_that_is_remembered_is_that_of_its_own_tcb_info() -> None:
    world = World.create(now=NOW)
    quote = world.quote(REPORT)
    early = verify_collateral(world.collateral(update="early"), world.root_ca_pem, NOW)
    standard = verify_collateral(world.collateral(), world.root_ca_pem, NOW)
    found = [verify_quote(quote, each, NOW).standing for each in (standard, early, standard)]
    assert found[0] == found[2]
    assert found[0].tcb_status != found[1].tcb_status


def test_a_damaged_chain_is_not_taken_for_the_one_that_is_remembered(world: World) -> None:
    quote = world.quote(REPORT)
    verified(quote, world)
    at = quote.rindex(b"-----BEGIN") - 200
    damaged = quote[:at] + bytes([quote[at] ^ 1]) + quote[at + 1 :]
    with pytest.raises(VerificationError):
        platform_of(damaged, world.root_ca_pem, NOW)


def test_faults_of_a_platform_are_found_whoever_was_verified_before(world: World) -> None:
    verified(world.quote(REPORT), world)
    expired = World.create(now=NOW, faults=Faults.EXPIRED_PCK)
    with pytest.raises(VerificationError) as caught:
        platform_of(expired.quote(REPORT), expired.root_ca_pem, NOW)
    assert caught.value.code == Code.PCK_CHAIN_VALIDITY
