"""Verification of DCAP evidence: a quote, its collateral, a named trust root and `now` to claims.

    1. Parse the quote, within bounds.
    2. The PCK chain has Intel's three roles, ends in the root that the caller named, is valid now.
    3. The CRLs of both CAs are theirs, valid now, and name none of the certificates in use.
    4. TCB info and QE identity are signed by Intel's TCB signer, valid now, for this platform and
       kind of TEE.
    5. The quoting enclave's report is signed by the PCK, vouches for the attestation key, and is
       the report of the quoting enclave that the QE identity describes.
    6. The attestation key signed the quote.
    7. The platform, its quoting enclave and its TDX module reach TCB levels; these are merged.
    8. The claims come out. Accepting them is the policy's business.

Who signed what in steps 5 and 6 comes before steps 3 and 4: it needs no collateral, and nobody
should fetch any for evidence that is not signed (`platform_of`). The first check that fails ends it
with a VerificationError, whose code (`codes.Code`) is the check's own (`steps` has their order).
Steps 3 and 4 are the same for all quotes of one kind of platform: `verify_collateral`
does them once, `verify_quote` the rest for each quote. Nothing here opens a file, a socket or a
clock. Source: Intel SGX ECDSA Quote Library Reference, appendix A.4; Intel TDX DCAP Quoting Library
API, appendix A; Intel SGX and TDX Provisioning Certification Service API, version 4; what the
documents leave open is in docs/verifier.md.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sealserve.endorsements.chain import Certificate
from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.tcb_status import TcbStatus
from sealserve.errors import VerificationError
from sealserve.verifier import pki, qe, tcb
from sealserve.verifier.claims import Claims
from sealserve.verifier.codes import Code, rejection
from sealserve.verifier.collateral import (
    NO_GRACE,
    VerifiedCollateral,
    verify_collateral,
    verify_pck_ca,
)
from sealserve.verifier.conclusion import conclude
from sealserve.verifier.evaluation import Evaluation, evaluate
from sealserve.verifier.evidence import Evidence, Platform, read_evidence
from sealserve.verifier.roots import TrustRoot, load_trust_root


def verify(
    quote: bytes,
    collateral: Collateral,
    *,
    trust_root: bytes | TrustRoot,
    now: datetime,
    grace: timedelta = NO_GRACE,
    dangerously_skip_revocation: bool = False,
) -> Claims:
    """The claims of `quote`, all eight steps.

    `trust_root` is the one certificate (PEM or DER) that everything must end in; `now` knows its
    zone; the rest is as for `verify_collateral`. Raises VerificationError.
    """
    root = trust_root if isinstance(trust_root, TrustRoot) else load_trust_root(trust_root)
    # 1., 2., 5. and 6. The quote, the certificates of its platform, and what they signed.
    evidence = read_evidence(quote, root, now, _likely_ca(collateral, root, now))
    # 3. and 4. as far as they do not depend on the quote.
    verified = verify_collateral(
        collateral,
        root,
        now,
        grace=grace,
        dangerously_skip_revocation=dangerously_skip_revocation,
    )
    return _judge(evidence, verified, now)


def verify_quote(quote: bytes, collateral: VerifiedCollateral, now: datetime) -> Claims:
    """The claims of `quote`, under collateral (and so a root) that was verified before.

    Raises VerificationError.
    """
    # 1., 2., 5. and 6. The quote, the certificates of its platform, and what they signed.
    known = (collateral.revocation.pck_ca,) if collateral.revocation else ()
    evidence = read_evidence(quote, collateral.root, now, known)
    return _judge(evidence, collateral, now)


def verify_evidence(evidence: Evidence, collateral: VerifiedCollateral, now: datetime) -> Claims:
    """The claims of evidence that was read at this same `now`, under the collateral's root.

    Raises VerificationError.
    """
    return _judge(evidence, collateral, now)


def platform_of(quote: bytes, trust_root: bytes | TrustRoot, now: datetime) -> Platform:
    """Which collateral `quote` needs, once everything is checked that needs none.

    That is: the PCK certificate is under the root, it signed the report of an enclave that vouches
    for the attestation key, and that key signed the quote. Whether the enclave is Intel's, and what
    is revoked or outdated, only the collateral can tell. Raises VerificationError, with the code
    that `verify` has for the same quote.
    """
    root = trust_root if isinstance(trust_root, TrustRoot) else load_trust_root(trust_root)
    return read_evidence(quote, root, now).platform


def _likely_ca(collateral: Collateral, root: TrustRoot, now: datetime) -> tuple[Certificate, ...]:
    """The CA of the PCK CRL, most often the platform's own, so that it is verified once only.

    None if it does not verify: what it is rejected for is step 3's to say.
    """
    try:
        return (verify_pck_ca(collateral, root, now)[0],)
    except VerificationError:
        return ()


def _judge(evidence: Evidence, collateral: VerifiedCollateral, now: datetime) -> Claims:
    qe_report = evidence.quote.qe_report
    # 3. and 4. The collateral is for this platform, and may still be used.
    _check_still_usable(collateral, now)
    _check_revocation(evidence, collateral)
    _check_platform(evidence, collateral)
    # 5. The quoting enclave is Intel's.
    qe.check_identity(qe_report, collateral.qe_identity)
    qe_level = tcb.qe_level(collateral.qe_identity, qe_report.isv_svn)
    # 7. The TCB.
    evaluation = evaluate(evidence, collateral.tcb_info, qe_level)
    _check_standing(evaluation)
    # 8. The claims.
    return conclude(evidence, collateral, evaluation, now)


def _check_still_usable(collateral: VerifiedCollateral, now: datetime) -> None:
    if not collateral.valid_from <= now <= collateral.usable_until:
        raise rejection(
            Code.COLLATERAL_VALIDITY,
            f"the collateral may be used from {collateral.valid_from} to "
            f"{collateral.usable_until}, and it is {now}",
            hint="fetch fresh collateral",
        )


def _check_revocation(evidence: Evidence, collateral: VerifiedCollateral) -> None:
    revocation = collateral.revocation
    if revocation is None:  # skipped by its unsafe name; the claims will say so
        return
    found, needed = revocation.pck_ca, evidence.pck_ca
    if found.der != needed.der and (
        (found.subject, found.public_key) != (needed.subject, needed.public_key)
    ):
        raise rejection(
            Code.CRL_MISSING,
            f"the PCK certificate is issued by {needed.role}, and the PCK CRL by {found.role}",
            hint="fetch collateral for this platform's CA",
        )
    pki.check_not_revoked(needed, revocation.root_ca_crl)
    pki.check_not_revoked(evidence.pck, revocation.pck_crl)


def _check_platform(evidence: Evidence, collateral: VerifiedCollateral) -> None:
    info, pck, tee = collateral.tcb_info, evidence.pck_extensions, evidence.platform.tee
    if (collateral.tee, info.fmspc, info.pce_id) != (tee, pck.fmspc, pck.pce_id):
        raise rejection(
            Code.TCB_INFO_MISMATCH,
            f"TCB info is for {collateral.tee} with FMSPC {info.fmspc.hex()} and PCEID "
            f"{info.pce_id.hex()}; the platform is {tee} with FMSPC {pck.fmspc.hex()} and "
            f"PCEID {pck.pce_id.hex()}",
            hint="fetch collateral for this kind of TEE and this platform's FMSPC",
        )


def _check_standing(evaluation: Evaluation) -> None:
    if evaluation.status is not TcbStatus.REVOKED:
        return
    module = f", its TDX module's {evaluation.module.status}" if evaluation.module else ""
    raise rejection(
        Code.TCB_REVOKED,
        f"the platform's TCB level is {evaluation.platform.status}, "
        f"its quoting enclave's {evaluation.qe.status}{module}",
        hint="update the platform: at this level its keys may be known to others",
    )
