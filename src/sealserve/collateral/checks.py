"""What collateral must be beyond verified: for the platform asked for, whole, and not older.

Old collateral is signed and may be unexpired, and whoever answers in Intel's place can choose among
it; only what was held before can tell. Evaluation data numbers tell of TCB recoveries alone (see
`sealserve.collateral.evaluations`). The dates compared here tell of everything else, above all of a
CRL from before a revocation. Sources: RFC 5280, section 5.1.2.4 (thisUpdate); Intel SGX and TDX
Provisioning Certification Service API, version 4 (issueDate).
"""

from __future__ import annotations

from datetime import datetime

from sealserve.endorsements.chain import Role
from sealserve.endorsements.collateral import Collateral, PckCa
from sealserve.errors import CollateralError
from sealserve.verifier import Code, Evaluations, Platform, VerifiedCollateral
from sealserve.verifier.codes import rejection
from sealserve.verifier.collateral import Revocation


def evaluations(verified: VerifiedCollateral) -> Evaluations:
    """The evaluation data numbers that collateral has."""
    return Evaluations(
        verified.tcb_info.evaluation_data_number, verified.qe_identity.evaluation_data_number
    )


def check_has_crls(collateral: Collateral) -> None:
    """A folder may lack them, for evidence of long ago; here nothing is used without."""
    if not (collateral.pck_crl and collateral.root_ca_crl):
        raise CollateralError(
            "there are no CRLs, so nobody could tell what was revoked",
            hint="fetch the collateral anew: pck.crl and root_ca.crl belong to it",
        )


def check_is_for(platform: Platform, verified: VerifiedCollateral) -> None:
    """Collateral for another kind of platform is none; raises VerificationError."""
    found = platform_served(verified)
    if found != platform:
        raise rejection(
            Code.TCB_INFO_MISMATCH if found.ca == platform.ca else Code.CRL_MISSING,
            f"asked was for {_name(platform)}, and the collateral is for {_name(found)}",
            hint="name a source that has collateral for this platform",
        )


def platform_served(verified: VerifiedCollateral) -> Platform:
    """The kind of platform that collateral is for."""
    is_platform_ca = _revocation(verified).pck_ca.role is Role.PLATFORM_CA
    ca: PckCa = "platform" if is_platform_ca else "processor"
    return Platform(verified.tee, verified.tcb_info.fmspc, ca)


def check_not_older(found: VerifiedCollateral, present: VerifiedCollateral) -> None:
    """No part may be issued before the same part of `present`; raises VerificationError.

    Each part counts by itself: a newer TCB info does not make up for an older CRL.
    """
    held = _issued(present)
    for part, issued in _issued(found).items():
        if issued < held[part]:
            raise rejection(
                Code.COLLATERAL_ROLLBACK,
                f"older than what is at hand: {part} of {issued.isoformat()}, "
                f"where there is one of {held[part].isoformat()}",
                hint="ask the collateral service why it serves older data; if that is meant, "
                "`sealserve collateral forget` gives up what is at hand",
            )


def _issued(verified: VerifiedCollateral) -> dict[str, datetime]:
    """When each part was issued."""
    revocation = _revocation(verified)
    return {
        "PCK CRL": revocation.pck_crl.this_update,
        "root CA CRL": revocation.root_ca_crl.this_update,
        "TCB info": verified.tcb_info.issue_date,
        "QE identity": verified.qe_identity.issue_date,
    }


def _revocation(verified: VerifiedCollateral) -> Revocation:
    if verified.revocation is None:
        raise AssertionError("nothing here skips revocation")
    return verified.revocation


def _name(platform: Platform) -> str:
    return f"{platform.tee} on FMSPC {platform.fmspc.hex()} with the {platform.ca} CA"
