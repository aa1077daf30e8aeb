"""Collateral used past its dates, without its CRLs, or after newer was seen: by request only."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sealserve.errors import VerificationError
from sealserve.lab.faults import Faults
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.world import World
from sealserve.verifier import (
    Code,
    Evaluations,
    check_not_rolled_back,
    verify,
    verify_collateral,
    verify_quote,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ENCLAVE = EnclaveIdentity(mr_enclave=b"\x01" * 32, mr_signer=b"\x02" * 32)
REPORT_DATA = bytes(range(64))
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def world() -> World:
    return World.create(now=NOW)


def test_a_grace_lets_statements_and_crls_be_used_longer_and_the_claims_say_so(
    world: World,
) -> None:
    end = NOW - timedelta(hours=1) + 30 * DAY
    late = end + DAY
    quote, root = world.quote(ENCLAVE.report(REPORT_DATA)), world.root_ca_pem
    claims = verify(quote, world.collateral(), trust_root=root, now=late, grace=DAY)
    assert claims.standing.collateral_valid_until == end < claims.verified_at
    for grace in (timedelta(0), DAY - timedelta(seconds=1)):
        with pytest.raises(VerificationError) as caught:
            verify(quote, world.collateral(), trust_root=root, now=late, grace=grace)
        assert caught.value.code == Code.CRL_VALIDITY


def test_collateral_kept_under_a_grace_is_usable_to_its_end_and_no_longer(world: World) -> None:
    end = NOW - timedelta(hours=1) + 30 * DAY
    quote = world.quote(ENCLAVE.report(REPORT_DATA))
    kept = verify_collateral(world.collateral(), world.root_ca_pem, NOW, grace=DAY)
    assert (kept.valid_until, kept.usable_until) == (end, end + DAY)
    assert verify_quote(quote, kept, end + DAY)
    with pytest.raises(VerificationError) as caught:
        verify_quote(quote, kept, end + DAY + timedelta(seconds=1))
    assert caught.value.code == Code.COLLATERAL_VALIDITY


def test_no_grace_extends_a_certificate(world: World) -> None:
    century = 36500 * DAY
    kept = verify_collateral(world.collateral(), world.root_ca_pem, NOW, grace=century)
    certificates = [world.authorities.tcb_signer, world.authorities.platform_ca]
    ends = [each.certificate.not_valid_after_utc for each in certificates]
    assert kept.usable_until == min(ends)
    with pytest.raises(VerificationError) as caught:
        verify_collateral(
            world.collateral(),
            world.root_ca_pem,
            kept.usable_until + timedelta(seconds=1),
            grace=century,
        )
    assert caught.value.code in {Code.TCB_CHAIN_VALIDITY, Code.CRL_CHAIN_VALIDITY}


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        pytest.param(Faults.REVOKED_PCK, Code.REVOKED, id="revoked-pck"),
        pytest.param(Faults.REVOKED_TCB_SIGNER, Code.REVOKED, id="revoked-signer"),
        pytest.param(Faults.EXPIRED_CRLS, Code.CRL_VALIDITY, id="expired-crls"),
    ],
)
def test_revocation_is_skipped_by_its_unsafe_name_alone_and_the_claims_say_so(
    faults: Faults, code: Code
) -> None:
    bad = World.create(now=NOW, faults=faults)
    quote, root = bad.quote(ENCLAVE.report(REPORT_DATA)), bad.root_ca_pem
    with pytest.raises(VerificationError) as caught:
        verify(quote, bad.collateral(), trust_root=root, now=NOW)
    assert caught.value.code == code
    claims = verify(
        quote, bad.collateral(), trust_root=root, now=NOW, dangerously_skip_revocation=True
    )
    assert claims.standing.revocation_checked is False


def test_without_crls_collateral_is_verified_only_by_the_unsafe_name(world: World) -> None:
    bare = replace(world.collateral(), pck_crl=b"", pck_crl_issuer_chain=b"", root_ca_crl=b"")
    with pytest.raises(VerificationError) as caught:
        verify_collateral(bare, world.root_ca_pem, NOW)
    assert caught.value.code == Code.CRL_MISSING
    kept = verify_collateral(bare, world.root_ca_pem, NOW, dangerously_skip_revocation=True)
    claims = verify_quote(world.quote(ENCLAVE.report(REPORT_DATA)), kept, NOW)
    assert claims.standing.revocation_checked is False


@pytest.mark.parametrize(
    ("seen", "accepted"),
    [
        pytest.param(Evaluations(17, 17), True, id="the-same"),
        pytest.param(Evaluations(16, 12), True, id="older-ones"),
        pytest.param(Evaluations(18, 17), False, id="newer-tcb-info"),
        pytest.param(Evaluations(17, 18), False, id="newer-qe-identity"),
    ],
)
def test_collateral_older_than_what_was_seen_is_rejected(
    world: World, seen: Evaluations, accepted: bool
) -> None:
    verified = verify_collateral(world.collateral(), world.root_ca_pem, NOW)
    if accepted:
        check_not_rolled_back(verified, seen)
        return
    with pytest.raises(VerificationError, match="18 was seen before") as caught:
        check_not_rolled_back(verified, seen)
    assert caught.value.code == Code.COLLATERAL_ROLLBACK
