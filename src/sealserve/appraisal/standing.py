"""Conditions on a platform's standing: who verified it, on what, and how Intel judges it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from sealserve.appraisal.conditions import Condition, Cover, PolicyCode, any_of, judged
from sealserve.appraisal.fields import INTEL_ROOT
from sealserve.appraisal.policy import Policy, PolicyException
from sealserve.verifier.claims import AzureStanding, Claims, DcapStanding, TcbStatus

_INTEL = "Intel's SGX Root CA"
_FIRMWARE = "update the platform's firmware and microcode"
_SETTINGS = "change the platform's settings (BIOS, hyper-threading) as the advisories say"
_HARDEN = "build the target with the mitigations that the advisories describe"
_RELAUNCH = "restart the trust domain: its platform was updated after it was started"
_CURES = {
    TcbStatus.SW_HARDENING_NEEDED: _HARDEN,
    TcbStatus.CONFIGURATION_NEEDED: _SETTINGS,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: f"{_SETTINGS}, and {_HARDEN}",
    TcbStatus.OUT_OF_DATE: _FIRMWARE,
    TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED: f"{_FIRMWARE}, and {_SETTINGS}",
    TcbStatus.TD_RELAUNCH_ADVISED: _RELAUNCH,
    TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED: f"{_RELAUNCH}, and {_SETTINGS}",
    TcbStatus.REVOKED: "do not use this platform: its keys may be known to others",
}


def of_verifier(claims: Claims, policy: Policy, cover: Cover) -> Iterator[Condition]:
    """Whether the verifier that spoke is believed, and rested on what the policy names."""
    standing = claims.standing
    if isinstance(standing, AzureStanding):
        yield from _token(standing, policy, cover.now)
        return
    yield _trust_root(standing, policy)
    yield _revocation(standing)
    yield _collateral_age(standing, cover)


def of_tcb(claims: Claims, cover: Cover) -> Iterator[Condition]:
    """TCB status and advisories, where the verifier states them."""
    standing = claims.standing
    if standing.tcb_status is not None:
        yield cover.carry(
            _tcb_status(standing, standing.tcb_status),
            lambda each: standing.tcb_status in each.tcb_statuses,
        )
    if isinstance(standing, DcapStanding):
        yield from _advisories(standing, cover)


def _revocation(standing: DcapStanding) -> Condition:
    """No policy accepts what was verified without CRLs."""
    return judged(
        PolicyCode.REVOCATION,
        "revocation_checked",
        standing.revocation_checked,
        found="a check against CRLs" if standing.revocation_checked else "no check against CRLs",
        expected="a check against CRLs",
        fix="verify with the CRLs, without --dangerously-skip-revocation",
    )


def _trust_root(standing: DcapStanding, policy: Policy) -> Condition:
    found = standing.trust_root_sha256.hex()
    is_intels = standing.trust_root_sha256 == INTEL_ROOT and not standing.simulated
    shown = _INTEL if is_intels else f"{found} (SIMULATED)"
    if policy.trust_root is None:
        return judged(
            PolicyCode.SIMULATED,
            "trust_root",
            is_intels,
            found=shown,
            expected=_INTEL,
            fix=f'run it on SGX or TDX hardware; in a lab, write trust_root = "{found}"',
        )
    return judged(
        PolicyCode.TRUST_ROOT,
        "trust_root",
        standing.trust_root_sha256 == policy.trust_root,
        found=shown,
        expected=policy.trust_root.hex(),
        fix="compare the fingerprints: the evidence rests on another root than the policy names",
    )


def _collateral_age(standing: DcapStanding, cover: Cover) -> Condition:
    overdue = cover.now - standing.collateral_valid_until
    until = standing.collateral_valid_until.isoformat()
    condition = judged(
        PolicyCode.COLLATERAL_AGE,
        "collateral",
        cover.now <= standing.collateral_valid_until,
        found=f"collateral that is good until {until}",
        expected=f"collateral that is good at {cover.now.isoformat()}",
        fix="fetch fresh collateral; where the service that has it is down, an exception may "
        "grant collateral_grace_hours",
    )
    return cover.carry(condition, lambda each: overdue <= each.collateral_grace)


def _token(standing: AzureStanding, policy: Policy, now: datetime) -> Iterator[Condition]:
    maa = policy.maa
    yield judged(
        PolicyCode.MAA,
        "maa",
        maa is not None,
        found="a token of Azure Attestation",
        expected="a token of Azure Attestation" if maa else "evidence verified by ourselves",
        fix="verify the quote itself; or, if that instance is trusted, name it under [maa]",
    )
    if maa is not None:
        yield judged(
            PolicyCode.MAA_ISSUER,
            "maa.issuers",
            standing.issuer in maa.issuers,
            found=standing.issuer,
            expected=any_of(maa.issuers),
            fix="ask an instance that the policy names; or, if this one is meant, add it",
        )
        yield judged(
            PolicyCode.MAA_POLICY,
            "maa.policy_hashes",
            standing.policy_hash.removesuffix("=") in maa.policy_hashes,
            found=standing.policy_hash,
            expected=any_of(maa.policy_hashes),
            fix="the instance's policy was changed: read it, and if it is meant, add its hash",
        )
    yield judged(
        PolicyCode.SIMULATED,
        "trust_root",
        not (standing.simulated and policy.trust_root is None),
        found=f"{standing.issuer} (SIMULATED)" if standing.simulated else "Microsoft's issuer",
        expected="Microsoft's issuer" if policy.trust_root is None else "any named issuer",
        fix="ask Azure's own instance; a test issuer needs a policy whose trust_root is no Intel's",
    )
    yield judged(
        PolicyCode.MAA_AGE,
        "token",
        now < standing.token_valid_until,
        found=f"a token that is good until {standing.token_valid_until.isoformat()}",
        expected=f"a token that is good at {now.isoformat()}",
        fix="ask for a new token",
    )


def _tcb_status(standing: DcapStanding | AzureStanding, status: TcbStatus) -> Condition:
    cure = _CURES.get(status, "")
    date = (
        f" (it has reached Intel's level of {standing.tcb_date.date()})"
        if isinstance(standing, DcapStanding)
        else ""
    )
    return judged(
        PolicyCode.TCB_STATUS,
        "tcb_status",
        status is TcbStatus.UP_TO_DATE,
        found=f"{status}{_shares(standing)}",
        expected=TcbStatus.UP_TO_DATE,
        fix=f"{cure}{date}; or except the status in tcb_statuses, with a reason and a date",
    )


def _shares(standing: DcapStanding | AzureStanding) -> str:
    """Which parts are to blame, where there are parts."""
    if not isinstance(standing, DcapStanding) or standing.tcb_status is TcbStatus.UP_TO_DATE:
        return ""
    parts = {
        "platform": standing.platform_tcb_status,
        "quoting enclave": standing.qe_tcb_status,
        "TDX module": standing.tdx_module_tcb_status,
    }
    return f" ({', '.join(f'{part} {status}' for part, status in parts.items() if status)})"


def _advisories(standing: DcapStanding, cover: Cover) -> Iterator[Condition]:
    if not standing.advisory_ids:
        yield judged(
            PolicyCode.ADVISORIES, "advisory_ids", True, found="none", expected="none", fix=""
        )
    for advisory in standing.advisory_ids:
        condition = judged(
            PolicyCode.ADVISORIES,
            "advisory_ids",
            False,
            found=advisory,
            expected="none",
            fix=f"read {advisory} and {_CURES.get(standing.tcb_status, 'do as it says')}; "
            "or except it in advisory_ids, with a reason and a date",
        )
        yield cover.carry(condition, partial(_excepts_advisory, advisory))


def _excepts_advisory(advisory: str, exception: PolicyException) -> bool:
    return advisory in exception.advisory_ids
