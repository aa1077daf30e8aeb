"""Trust domains: what the verifier says of those that hold, and of those that do not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sealserve.errors import VerificationError
from sealserve.evidence.quote import parse_quote
from sealserve.evidence.td_report import TdInstance
from sealserve.lab.faults import Faults
from sealserve.lab.trust_domain import TrustDomainIdentity
from sealserve.lab.world import World
from sealserve.verifier import (
    Claims,
    Code,
    Platform,
    TcbStatus,
    platform_of,
    verify,
    verify_collateral,
    verify_quote,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
TD = TrustDomainIdentity(
    mr_td=b"\x11" * 48,
    rtmrs=(b"\x20" * 48, b"\x21" * 48, b"\x22" * 48, b"\x23" * 48),
    mr_config_id=b"\x31" * 48,
    mr_owner=b"\x32" * 48,
    mr_owner_config=b"\x33" * 48,
    mr_service_td=b"\x34" * 48,
)
REPORT_DATA = bytes(range(64))


@pytest.fixture(scope="module")
def world() -> World:
    return World.create(now=NOW)


def td_claims(world: World, *, version: int = 5, td: TrustDomainIdentity = TD) -> Claims:
    report = td.report(REPORT_DATA) if version == 4 else td.report_15(REPORT_DATA)
    quote = world.td_quote(report, version)
    return verify(quote, world.collateral("TDX"), trust_root=world.root_ca_pem, now=NOW)


def test_a_trust_domains_claims_are_what_its_report_says(world: World) -> None:
    claims = td_claims(world)
    target, standing = claims.target, claims.standing
    assert (target.tee, standing.quote_version) == ("TDX", 5)
    for name in ("mr_td", "rtmrs", "mr_config_id", "mr_owner", "mr_owner_config", "mr_service_td"):
        assert getattr(target, name) == getattr(TD, name)
    assert (claims.report_data, target.debug) == (REPORT_DATA, False)
    assert target.tee_tcb_svn == target.tee_tcb_svn_2 == bytes((5, 1, 3)).ljust(16, b"\0")
    assert standing.tcb_status is TcbStatus.UP_TO_DATE
    assert standing.tdx_module_tcb_status is TcbStatus.UP_TO_DATE
    assert claims.simulated


def test_a_report_of_tdx_1_0_says_nothing_of_what_came_later(world: World) -> None:
    target = td_claims(world, version=4).target
    assert (target.tee_tcb_svn_2, target.mr_service_td) == (None, None)
    assert target.mr_td == TD.mr_td


def test_an_extended_report_has_the_claims_of_tdx_1_5(world: World) -> None:
    instance = TdInstance(
        0, b"i" * 32, *(bytes(length) for length in (48, 48, 8, 16, 16, 12, 48, 8))
    )
    report = replace(TD.report_15(REPORT_DATA), instance=instance)
    quote = world.td_quote(report, 5)
    claims = verify(quote, world.collateral("TDX"), trust_root=world.root_ca_pem, now=NOW)
    assert claims.target == td_claims(world).target
    assert parse_quote(quote).body.instance == instance


@pytest.mark.parametrize(
    ("faults", "status", "platform", "module", "advisories"),
    [
        pytest.param(
            Faults.OUTDATED_TDX_MODULE,
            "OutOfDate",
            "UpToDate",
            "OutOfDate",
            ("INTEL-SA-01036",),
            id="outdated-module",
        ),
        pytest.param(
            Faults.OUTDATED_TDX_MODULE | Faults.SW_HARDENING_TCB,
            "OutOfDate",
            "SWHardeningNeeded",
            "OutOfDate",
            ("INTEL-SA-00615", "INTEL-SA-01036"),
            id="outdated-module-and-hardening",
        ),
        pytest.param(
            Faults.OUTDATED_QE,
            "OutOfDate",
            "UpToDate",
            "UpToDate",
            ("INTEL-SA-00615",),
            id="outdated-qe",
        ),
        pytest.param(
            Faults.OUTDATED_TD_LAUNCH,
            "TDRelaunchAdvised",
            "UpToDate",
            "OutOfDate",
            ("INTEL-SA-01036",),
            id="launched-before-the-update",
        ),
        pytest.param(
            Faults.OUTDATED_TD_LAUNCH | Faults.OUTDATED_QE,
            "OutOfDate",
            "UpToDate",
            "OutOfDate",
            ("INTEL-SA-00615", "INTEL-SA-01036"),
            id="a-relaunch-does-not-help-an-outdated-qe",
        ),
        pytest.param(
            Faults.OUTDATED_TD_LAUNCH | Faults.OUTDATED_TCB,
            "OutOfDate",
            "OutOfDate",
            "OutOfDate",
            ("INTEL-SA-00615", "INTEL-SA-00960", "INTEL-SA-01036"),
            id="a-relaunch-does-not-help-an-outdated-platform",
        ),
    ],
)
def test_a_trust_domains_status_is_that_of_platform_software_and_module(
    faults: Faults, status: str, platform: str, module: str, advisories: tuple[str, ...]
) -> None:
    standing = td_claims(World.create(now=NOW, faults=faults)).standing
    assert standing.tcb_status == status
    assert (standing.platform_tcb_status, standing.tdx_module_tcb_status) == (platform, module)
    assert standing.advisory_ids == advisories


def test_without_a_second_version_no_relaunch_is_advised() -> None:
    outdated = World.create(now=NOW, faults=Faults.OUTDATED_TD_LAUNCH)
    assert td_claims(outdated, version=4).standing.tcb_status is TcbStatus.OUT_OF_DATE


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        pytest.param(Faults.FOREIGN_TDX_MODULE, Code.TDX_MODULE_MISMATCH, id="foreign"),
        pytest.param(Faults.UNKNOWN_TDX_MODULE, Code.TDX_MODULE_MISMATCH, id="unknown"),
        pytest.param(Faults.UNKNOWN_TCB, Code.TCB_NOT_SUPPORTED, id="below-all-levels"),
        pytest.param(Faults.REVOKED_TCB, Code.TCB_REVOKED, id="revoked"),
        pytest.param(Faults.FOREIGN_QE, Code.QE_IDENTITY_MISMATCH, id="foreign-qe"),
        pytest.param(Faults.TAMPERED_QUOTE, Code.QUOTE_SIGNATURE, id="tampered"),
    ],
)
def test_a_trust_domain_on_a_platform_that_cannot_be_relied_on_is_rejected(
    faults: Faults, code: Code
) -> None:
    with pytest.raises(VerificationError) as caught:
        td_claims(World.create(now=NOW, faults=faults))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("tcb_info", "qe_identity", "code"),
    [
        ("SGX", "SGX", Code.TCB_INFO_MISMATCH),
        ("TDX", "SGX", Code.QE_IDENTITY_MISMATCH),
        ("SGX", "TDX", Code.QE_IDENTITY_MISMATCH),
    ],
)
def test_collateral_for_enclaves_does_not_do_for_trust_domains(
    world: World, tcb_info: str, qe_identity: str, code: Code
) -> None:
    mixed = replace(
        world.collateral("SGX"),
        tcb_info=world.collateral(tcb_info).tcb_info,
        qe_identity=world.collateral(qe_identity).qe_identity,
    )
    quote = world.td_quote(TD.report(REPORT_DATA))
    with pytest.raises(VerificationError) as caught:
        verify(quote, mixed, trust_root=world.root_ca_pem, now=NOW)
    assert caught.value.code == code


@pytest.mark.parametrize(("tcb_info", "qe_identity"), [("TDX", "SGX"), ("SGX", "TDX")])
def test_collateral_of_two_kinds_of_tee_is_not_kept(
    world: World, tcb_info: str, qe_identity: str
) -> None:
    mixed = replace(
        world.collateral(tcb_info), qe_identity=world.collateral(qe_identity).qe_identity
    )
    with pytest.raises(VerificationError) as caught:
        verify_collateral(mixed, world.root_ca_pem, NOW)
    assert caught.value.code == Code.QE_IDENTITY_MISMATCH


def test_collateral_says_what_it_is_about_and_serves_many_quotes(world: World) -> None:
    verified = verify_collateral(world.collateral("TDX"), world.root_ca_pem, NOW)
    assert verified.tee == "TDX"
    for version in (4, 5):
        quote = world.td_quote(TD.report(REPORT_DATA), version)
        assert verify_quote(quote, verified, NOW).target.mr_td == TD.mr_td


def test_the_platform_tells_which_collateral_a_trust_domain_needs(world: World) -> None:
    platform = platform_of(world.td_quote(TD.report(REPORT_DATA)), world.root_ca_pem, NOW)
    assert platform == Platform("TDX", bytes.fromhex("53494d000000"), "platform")


def test_a_debug_trust_domain_is_verified_and_said_to_be_one(world: World) -> None:
    assert td_claims(world, td=replace(TD, debug=True)).target.debug
