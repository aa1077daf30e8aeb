"""Every fault of the lab is caught: by the verifier with its code, or by what the claims say."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sealserve.endorsements.collateral import Tee
from sealserve.errors import VerificationError
from sealserve.evidence.td_report import TdReport
from sealserve.lab.faults import NO_FAULTS, Faults
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.levels import Update
from sealserve.lab.trust_domain import TrustDomainIdentity
from sealserve.lab.world import FMSPC, World
from sealserve.verifier import INTEL_SGX_ROOT_CA, Claims, Code, verify

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ENCLAVE = EnclaveIdentity(b"e" * 32, b"s" * 32, isv_prod_id=2, isv_svn=3)
TRUST_DOMAIN = TrustDomainIdentity(b"d" * 48, (b"0" * 48, b"1" * 48, b"2" * 48, b"3" * 48))
BOTH: tuple[Tee, ...] = ("SGX", "TDX")

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
# What is wrong with the TDX module concerns trust domains alone.
TDX_REJECTED = {
    Faults.FOREIGN_TDX_MODULE: Code.TDX_MODULE_MISMATCH,
    Faults.UNKNOWN_TDX_MODULE: Code.TDX_MODULE_MISMATCH,
}
TDX_CLAIMED = {
    Faults.OUTDATED_TDX_MODULE: ("OutOfDate", ["INTEL-SA-01036"], False),
    Faults.OUTDATED_TD_LAUNCH: ("TDRelaunchAdvised", ["INTEL-SA-01036"], False),
}
OF_EITHER_TEE = [
    *((tee, fault, REJECTED[fault]) for tee in BOTH for fault in REJECTED),
    *(("TDX", fault, code) for fault, code in TDX_REJECTED.items()),
]
CLAIMED_OF_EITHER_TEE = [
    *((tee, fault, CLAIMED[fault]) for tee in BOTH for fault in CLAIMED),
    *(("TDX", fault, said) for fault, said in TDX_CLAIMED.items()),
]


def claims_of(
    world: World, tee: Tee = "SGX", *, now: datetime = NOW, update: Update = "standard"
) -> Claims:
    """Of an enclave in a quote of version 3, or of a trust domain (TDX 1.5) in one of version 5."""
    if tee == "SGX":
        quote = world.quote(ENCLAVE.report(b"r" * 64))
    else:
        quote = world.td_quote(TRUST_DOMAIN.report_15(b"r" * 64), version=5)
    collateral = world.collateral(tee, update)
    return verify(quote, collateral, trust_root=world.root_ca_pem, now=now)


def test_a_good_world_verifies_and_its_claims_are_the_enclaves() -> None:
    claims = claims_of(World.create(now=NOW))
    assert claims.standing.tcb_status == "UpToDate"
    assert (claims.target.mr_enclave, claims.target.mr_signer) == (b"e" * 32, b"s" * 32)
    assert (claims.target.isv_prod_id, claims.target.isv_svn, claims.target.debug) == (2, 3, False)
    assert claims.report_data == b"r" * 64
    assert claims.standing.fmspc == FMSPC


@pytest.mark.parametrize("version", [3, 4, 5])
def test_an_enclave_says_the_same_in_each_version_of_the_quote(version: int) -> None:
    world = World.create(now=NOW)
    quote = world.quote(ENCLAVE.report(b"r" * 64), version=version)
    claims = verify(quote, world.collateral(), trust_root=world.root_ca_pem, now=NOW)
    assert claims.standing.quote_version == version
    assert claims.target == claims_of(world).target


FORMS = {
    "version-4": (4, TRUST_DOMAIN.report(b"r" * 64)),
    "version-5-tdx-1.0": (5, TRUST_DOMAIN.report(b"r" * 64)),
    "version-5-tdx-1.5": (5, TRUST_DOMAIN.report_15(b"r" * 64)),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_claims_of_a_trust_domain_are_its_own_and_its_modules(form: str) -> None:
    version, report = FORMS[form]
    world = World.create(now=NOW)
    quote = world.td_quote(report, version=version)
    claims = verify(quote, world.collateral("TDX"), trust_root=world.root_ca_pem, now=NOW)
    target = claims.target
    assert target.tee == "TDX"
    assert (target.mr_td, target.rtmrs) == (report.mr_td, report.rtmrs)
    assert target.mr_seam != report.mr_seam == bytes(48)
    assert not target.debug
    assert claims.standing.tdx_module_tcb_status == "UpToDate"


def test_a_version_4_quote_holds_no_tdx_1_5() -> None:
    report: TdReport = TRUST_DOMAIN.report_15(bytes(64))
    with pytest.raises(Exception, match="cannot hold"):
        World.create(now=NOW).td_quote(report, version=4)


def test_a_world_may_have_a_processor_ca() -> None:
    world = World.create(now=NOW, ca="processor")
    standing = claims_of(world).standing
    assert (standing.tcb_status, standing.platform_instance_id) == ("UpToDate", None)


@pytest.mark.parametrize("tee", BOTH)
def test_no_quote_of_the_lab_verifies_under_intels_root(tee: Tee) -> None:
    world = World.create(now=NOW)
    quote = {
        "SGX": world.quote(ENCLAVE.report(bytes(64))),
        "TDX": world.td_quote(TRUST_DOMAIN.report(bytes(64))),
    }[tee]
    with pytest.raises(VerificationError) as rejected:
        verify(quote, world.collateral(tee), trust_root=INTEL_SGX_ROOT_CA, now=NOW)
    assert rejected.value.code == Code.PCK_CHAIN


def test_no_quote_of_the_lab_verifies_in_another_world() -> None:
    world, other = World.create(now=NOW), World.create(now=NOW)
    quote = world.quote(ENCLAVE.report(bytes(64)))
    with pytest.raises(VerificationError):
        verify(quote, other.collateral(), trust_root=other.root_ca_pem, now=NOW)


@pytest.mark.parametrize(
    ("tee", "fault", "code"),
    [pytest.param(*row, id=f"{row[0].lower()}-{row[1].names[0]}") for row in OF_EITHER_TEE],
)
def test_a_fault_is_rejected_with_its_code(tee: Tee, fault: Faults, code: Code) -> None:
    with pytest.raises(VerificationError) as rejected:
        claims_of(World.create(now=NOW, faults=fault), tee)
    assert rejected.value.code == code


@pytest.mark.parametrize(
    ("tee", "fault", "said"),
    [pytest.param(*row, id=f"{row[0].lower()}-{row[1].names[0]}") for row in CLAIMED_OF_EITHER_TEE],
)
def test_a_fault_for_the_policy_to_judge_is_in_the_claims(
    tee: Tee, fault: Faults, said: tuple[str, list[str], bool]
) -> None:
    claims = claims_of(World.create(now=NOW, faults=fault), tee)
    standing = claims.standing
    assert (str(standing.tcb_status), sorted(standing.advisory_ids), claims.target.debug) == said


def test_before_tdx_1_5_a_launch_on_an_old_module_is_an_old_module() -> None:
    world = World.create(now=NOW, faults=Faults.OUTDATED_TD_LAUNCH)
    quote = world.td_quote(TRUST_DOMAIN.report(bytes(64)))
    claims = verify(quote, world.collateral("TDX"), trust_root=world.root_ca_pem, now=NOW)
    assert claims.standing.tcb_status == "OutOfDate"


def test_faults_of_the_tdx_module_leave_enclaves_alone() -> None:
    for fault in (*TDX_REJECTED, *TDX_CLAIMED):
        assert claims_of(World.create(now=NOW, faults=fault)).standing.tcb_status == "UpToDate"


def test_every_fault_is_in_one_of_the_tables() -> None:
    assert {*REJECTED, *CLAIMED, *TDX_REJECTED, *TDX_CLAIMED} == set(Faults)


@pytest.mark.parametrize("tee", BOTH)
def test_what_is_up_to_date_is_outdated_after_the_next_recovery(tee: Tee) -> None:
    world = World.create(now=NOW)
    now, early = claims_of(world, tee).standing, claims_of(world, tee, update="early").standing
    assert (now.tcb_status, early.tcb_status) == ("UpToDate", "OutOfDate")
    assert early.tcb_evaluation_data_number == now.tcb_evaluation_data_number + 1
    assert early.advisory_ids


def test_tcb_info_of_the_third_interface_says_the_same() -> None:
    world = World.create(now=NOW)
    second = replace(world.collateral(), tcb_info=world.issued.tcb_info_v2["standard"])
    quote = world.quote(ENCLAVE.report(b"r" * 64))
    claims = verify(quote, second, trust_root=world.root_ca_pem, now=NOW)
    assert claims.standing == claims_of(world).standing


def test_renewed_collateral_is_good_where_the_old_is_not() -> None:
    later = NOW + timedelta(days=45)
    world = World.create(now=NOW, faults=NO_FAULTS)
    with pytest.raises(VerificationError):
        claims_of(world, now=later)
    assert claims_of(world.renew(now=later), now=later).standing.tcb_status == "UpToDate"
