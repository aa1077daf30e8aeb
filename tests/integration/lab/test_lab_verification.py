"""Every fault of the lab is caught: by the verifier with its code, or by what the claims say."""

from datetime import UTC, datetime, timedelta

import pytest

from sealserve.errors import VerificationError
from sealserve.lab.faults import NO_FAULTS, Faults
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.world import FMSPC, World
from sealserve.verifier import INTEL_SGX_ROOT_CA, Claims, Code, verify

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ENCLAVE = EnclaveIdentity(b"e" * 32, b"s" * 32, isv_prod_id=2, isv_svn=3)

REJECTED = {
    Faults.REVOKED_PCK: Code.REVOKED,
    Faults.REVOKED_PLATFORM_CA: Code.REVOKED,
    Faults.REVOKED_TCB_SIGNER: Code.REVOKED,
    Faults.EXPIRED_PCK: Code.PCK_CHAIN_VALIDITY,
    Faults.EXPIRED_TCB_INFO: Code.TCB_INFO_EXPIRED,
    Faults.EXPIRED_QE_IDENTITY: Code.QE_IDENTITY_EXPIRED,
    Faults.EXPIRED_CRLS: Code.CRL_VALIDITY,
    Faults.REVOKED_TCB: Code.TCB_REVOKED,
    Faults.UNKNOWN_TCB: Code.TCB_NOT_SUPPORTED,
    Faults.FOREIGN_QE: Code.QE_IDENTITY_MISMATCH,
    Faults.TAMPERED_QUOTE: Code.QUOTE_SIGNATURE,
    Faults.TAMPERED_TCB_INFO: Code.TCB_INFO_SIGNATURE,
    Faults.TAMPERED_QE_IDENTITY: Code.QE_IDENTITY_SIGNATURE,
    Faults.MISISSUED_TCB_INFO: Code.TCB_CHAIN,
    Faults.WRONG_FMSPC: Code.TCB_INFO_MISMATCH,
}
CLAIMED = {
    Faults.SW_HARDENING_TCB: ("SWHardeningNeeded", ["INTEL-SA-00615"], False),
    Faults.OUTDATED_TCB: ("OutOfDate", ["INTEL-SA-00615", "INTEL-SA-00960"], False),
    Faults.OUTDATED_QE: ("OutOfDate", ["INTEL-SA-00615"], False),
    Faults.DEBUG: ("UpToDate", [], True),
}


def claims_of(world: World, *, now: datetime = NOW) -> Claims:
    quote = world.quote(ENCLAVE.report(b"r" * 64))
    return verify(quote, world.collateral(), trust_root=world.root_ca_pem, now=now)


def test_a_good_world_verifies_and_its_claims_are_the_enclaves() -> None:
    claims = claims_of(World.create(now=NOW))
    assert claims.standing.tcb_status == "UpToDate"
    assert (claims.target.mr_enclave, claims.target.mr_signer) == (b"e" * 32, b"s" * 32)
    assert (claims.target.isv_prod_id, claims.target.isv_svn, claims.target.debug) == (2, 3, False)
    assert claims.report_data == b"r" * 64
    assert claims.standing.fmspc == FMSPC


def test_no_quote_of_the_lab_verifies_under_intels_root() -> None:
    world = World.create(now=NOW)
    with pytest.raises(VerificationError) as rejected:
        verify(
            world.quote(ENCLAVE.report(bytes(64))),
            world.collateral(),
            trust_root=INTEL_SGX_ROOT_CA,
            now=NOW,
        )
    assert rejected.value.code == Code.PCK_CHAIN


def test_no_quote_of_the_lab_verifies_in_another_world() -> None:
    world, other = World.create(now=NOW), World.create(now=NOW)
    quote = world.quote(ENCLAVE.report(bytes(64)))
    with pytest.raises(VerificationError):
        verify(quote, other.collateral(), trust_root=other.root_ca_pem, now=NOW)


@pytest.mark.parametrize("fault", REJECTED, ids=lambda fault: fault.names[0])
def test_a_fault_is_rejected_with_its_code(fault: Faults) -> None:
    with pytest.raises(VerificationError) as rejected:
        claims_of(World.create(now=NOW, faults=fault))
    assert rejected.value.code == REJECTED[fault]


@pytest.mark.parametrize("fault", CLAIMED, ids=lambda fault: fault.names[0])
def test_a_fault_for_the_policy_to_judge_is_in_the_claims(fault: Faults) -> None:
    claims = claims_of(World.create(now=NOW, faults=fault))
    found = (
        str(claims.standing.tcb_status),
        sorted(claims.standing.advisory_ids),
        claims.target.debug,
    )
    assert found == CLAIMED[fault]


def test_every_fault_is_in_one_of_the_tables() -> None:
    assert {*REJECTED, *CLAIMED} == set(Faults)


def test_renewed_collateral_is_good_where_the_old_is_not() -> None:
    later = NOW + timedelta(days=45)
    world = World.create(now=NOW, faults=NO_FAULTS)
    with pytest.raises(VerificationError):
        claims_of(world, now=later)
    assert claims_of(world.renew(now=later), now=later).tcb_status == "UpToDate"
