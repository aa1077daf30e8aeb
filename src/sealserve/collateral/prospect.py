"""What a policy would say of a platform at given versions, under given collateral, on some day.

The verifier's judgement of versions and the policy's of standings are asked, neither is repeated.
The target is nobody's: conditions on it, on one single machine and on how it was set up are left
out.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from sealserve.appraisal.appraise import appraise
from sealserve.appraisal.conditions import About, Condition, PolicyCode
from sealserve.appraisal.policy import Policy
from sealserve.collateral.sightings import PlatformTcb
from sealserve.endorsements.collateral import Tee
from sealserve.endorsements.pck import PckExtensions
from sealserve.verifier import Claims, Code, Platform, TcbStatus, VerifiedCollateral
from sealserve.verifier.claims import DcapStanding, SgxEnclave, Target, TrustDomain
from sealserve.verifier.codes import rejection
from sealserve.verifier.evaluation import evaluate_versions
from sealserve.verifier.tcb import qe_level

AGE: Final = frozenset({PolicyCode.COLLATERAL_AGE})
STANDING: Final = (
    frozenset(
        code for code in PolicyCode if code.about in (About.VERIFIER, About.PLATFORM, About.STATE)
    )
    - AGE
    - {PolicyCode.PLATFORM_ID, PolicyCode.DEBUG}
    - {PolicyCode.DYNAMIC_PLATFORM, PolicyCode.CACHED_KEYS, PolicyCode.SMT_ENABLED}
)


def rules_for(policy: Policy, tee: Tee) -> list[str]:
    """The rules with an identity of this kind of TEE, in the order of the file."""
    return [
        rule.name
        for rule in policy.rules
        if any(policy.identity(name).tee == tee for name in rule.identities)
    ]


def standing(tcb: PlatformTcb, collateral: VerifiedCollateral) -> DcapStanding:
    """How a platform at these versions stands; raises VerificationError where it is rejected."""
    launched, current = (*tcb.tee_tcb_svns, None, None)[:2]
    qe = qe_level(collateral.qe_identity, tcb.qe_isv_svn)
    found = evaluate_versions(collateral.tcb_info, _pck(tcb), qe, launched, current)
    if found.status is TcbStatus.REVOKED:
        raise rejection(Code.TCB_REVOKED, "its TCB level is Revoked")
    return replace(
        sound_standing(tcb.platform, collateral),
        cpu_svn=tcb.component_svns,
        pce_svn=tcb.pce_svn,
        tcb_status=found.status,
        platform_tcb_status=found.platform.status,
        qe_tcb_status=found.qe.status,
        tdx_module_tcb_status=found.module.status if found.module else None,
        advisory_ids=found.advisory_ids,
        tcb_date=found.platform.date,
    )


def sound_standing(platform: Platform, collateral: VerifiedCollateral) -> DcapStanding:
    """How a platform stands that has all updates."""
    return DcapStanding(
        quote_version=0,
        fmspc=platform.fmspc,
        pce_id=collateral.tcb_info.pce_id,
        ppid=bytes(16),
        platform_instance_id=None,
        dynamic_platform=None,
        cached_keys=None,
        smt_enabled=None,
        cpu_svn=bytes(16),
        pce_svn=0,
        tcb_status=TcbStatus.UP_TO_DATE,
        platform_tcb_status=TcbStatus.UP_TO_DATE,
        qe_tcb_status=TcbStatus.UP_TO_DATE,
        tdx_module_tcb_status=None,
        advisory_ids=(),
        tcb_date=collateral.tcb_info.issue_date,
        tcb_evaluation_data_number=min(
            collateral.tcb_info.evaluation_data_number,
            collateral.qe_identity.evaluation_data_number,
        ),
        revocation_checked=True,
        collateral_valid_from=collateral.valid_from,
        collateral_valid_until=collateral.valid_until,
        trust_root_sha256=collateral.root.sha256,
        simulated=collateral.root.simulated,
    )


def failures(
    found: DcapStanding,
    tee: Tee,
    policy: Policy,
    rule: str,
    codes: frozenset[PolicyCode],
    now: datetime,
) -> tuple[Condition, ...]:
    """The conditions among `codes` that the rule would not find to hold at `now`."""
    claims = Claims(_nobody(tee), found, verified_at=now)
    for outcome in appraise(claims, policy, asked_for=None, now=now).outcomes:
        if outcome.rule == rule and policy.identity(outcome.identity).tee == tee:
            return tuple(each for each in outcome.failed if each.code in codes)
    return ()


def _pck(tcb: PlatformTcb) -> PckExtensions:
    """What the judgement of versions needs of a certificate; the rest is nobody's."""
    return PckExtensions(
        ppid=bytes(16),
        component_svns=tcb.component_svns,
        pce_svn=tcb.pce_svn,
        cpu_svn=tcb.component_svns,
        pce_id=bytes(2),
        fmspc=tcb.platform.fmspc,
        sgx_type=0,
    )


def _nobody(tee: Tee) -> Target:
    """A target of zeros, of which every condition is left out."""
    if tee == "SGX":
        return SgxEnclave(
            mr_enclave=bytes(32),
            mr_signer=bytes(32),
            isv_prod_id=0,
            isv_svn=0,
            debug=False,
            report_data=bytes(64),
            attributes=bytes(16),
            misc_select=0,
            config_id=bytes(64),
            config_svn=0,
            isv_ext_prod_id=bytes(16),
            isv_family_id=bytes(16),
        )
    zero = bytes(48)
    return TrustDomain(
        mr_td=zero,
        rtmrs=(zero, zero, zero, zero),
        mr_config_id=zero,
        mr_owner=zero,
        mr_owner_config=zero,
        td_attributes=bytes(8),
        xfam=bytes(8),
        mr_seam=zero,
        mr_signer_seam=zero,
        seam_attributes=bytes(8),
        tee_tcb_svn=bytes(16),
        tee_tcb_svn_2=None,
        mr_service_td=None,
        report_data=bytes(64),
    )
