"""Verification of DCAP evidence: a quote, its collateral, a named trust root and `now` to claims.

    1. Parse the quote, within bounds.
    2. The PCK chain has Intel's three roles, ends in the root that the caller named, is valid now.
    3. The CRLs of both CAs are theirs, valid now, and name none of the certificates in use.
    4. TCB info and QE identity are signed by Intel's TCB signer, valid now, for this platform.
    5. The quoting enclave's report is signed by the PCK, vouches for the attestation key, and is
       the report of the quoting enclave that the QE identity describes.
    6. The attestation key signed the quote.
    7. The platform reaches a TCB level; its status and the quoting enclave's are merged.
    8. The claims come out. Accepting them is the policy's business.

The first check that fails ends it with a VerificationError, whose code (`codes.Code`) is the
check's own. Steps 3 and 4 are the same for all quotes of one kind of platform: `verify_collateral`
does them once, `verify_quote` the rest for each quote. Nothing here opens a file, a socket or a
clock. Source: Intel SGX ECDSA Quote Library Reference, appendix A.4; Intel SGX and TDX Provisioning
Certification Service API, version 4; facts that the documents leave open are in docs/verifier.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from sealserve.endorsements.chain import Certificate, Role
from sealserve.endorsements.collateral import Collateral, PckCa, Tee
from sealserve.endorsements.pck import SGX_EXTENSIONS_OID, PckExtensions, parse_pck_extension
from sealserve.endorsements.qe_identity import SGX_QE_ID, QeIdentity, QeLevel
from sealserve.endorsements.tcb_info import TcbInfoId, TcbLevel
from sealserve.endorsements.tcb_status import TcbStatus
from sealserve.evidence.quote import TEE_TYPE_TDX, CertificationDataType, Quote, parse_quote
from sealserve.evidence.report import SgxReport
from sealserve.verifier import pki, signatures, tcb
from sealserve.verifier.claims import Claims, DcapStanding, SgxEnclave
from sealserve.verifier.codes import Code, rejecting, rejection
from sealserve.verifier.collateral import VerifiedCollateral, verify_collateral
from sealserve.verifier.roots import TrustRoot, load_trust_root

_PCK_CODES = pki.PathCodes(Code.PCK_CHAIN_FORMAT, Code.PCK_CHAIN, Code.PCK_CHAIN_VALIDITY)
_SGX_EXTENSIONS = x509.ObjectIdentifier(SGX_EXTENSIONS_OID)


@dataclass(frozen=True, slots=True)
class Platform:
    """What a collateral service must be told: the kind of TEE, the FMSPC, who issued the PCK."""

    tee: Tee
    fmspc: bytes
    """6 bytes."""
    ca: PckCa


@dataclass(frozen=True, slots=True)
class _Evidence:
    """A parsed quote, and its platform's certificate under a root."""

    quote: Quote
    pck: Certificate
    pck_ca: Certificate
    platform: PckExtensions


def verify(
    quote: bytes, collateral: Collateral, *, trust_root: bytes | TrustRoot, now: datetime
) -> Claims:
    """The claims of `quote`, all eight steps.

    `trust_root` is the one certificate (PEM or DER) that everything must end in; `now` knows its
    zone. Raises VerificationError.
    """
    root = trust_root if isinstance(trust_root, TrustRoot) else load_trust_root(trust_root)
    evidence = _read_evidence(quote, root, now)
    return _judge(evidence, verify_collateral(collateral, root, now), now)


def verify_quote(quote: bytes, collateral: VerifiedCollateral, now: datetime) -> Claims:
    """The claims of `quote`, under collateral (and so a root) that was verified before.

    Raises VerificationError.
    """
    evidence = _read_evidence(quote, collateral.root, now, known=(collateral.pck_ca,))
    return _judge(evidence, collateral, now)


def platform_of(quote: bytes, trust_root: bytes | TrustRoot, now: datetime) -> Platform:
    """Which collateral `quote` needs, from a PCK certificate that was verified (steps 1 and 2).

    Nothing else about the quote is checked. Raises VerificationError.
    """
    root = trust_root if isinstance(trust_root, TrustRoot) else load_trust_root(trust_root)
    evidence = _read_evidence(quote, root, now)
    ca: PckCa = "platform" if evidence.pck_ca.role is Role.PLATFORM_CA else "processor"
    tee: Tee = "TDX" if evidence.quote.tee_type == TEE_TYPE_TDX else "SGX"
    return Platform(tee, evidence.platform.fmspc, ca)


def _read_evidence(
    data: bytes, root: TrustRoot, now: datetime, known: tuple[Certificate, ...] = ()
) -> _Evidence:
    # 1. Parse.
    with rejecting(Code.QUOTE_FORMAT):
        quote = parse_quote(data)
    # 2. The PCK chain.
    if quote.certification_data_type is not CertificationDataType.PCK_CHAIN:
        raise rejection(
            Code.PCK_CHAIN_MISSING,
            f"the quote carries {quote.certification_data_type.name}, not the PCK chain",
            hint="configure the platform's quote provider (QPL), so that quotes carry the chain",
        )
    pck, pck_ca, _ = pki.verify_path(
        quote.certification_data, pki.PCK_PATH, root.certificate, now, _PCK_CODES, known
    )
    return _Evidence(quote, pck, pck_ca, pck_extensions(pck))


def pck_extensions(pck: Certificate) -> PckExtensions:
    """What a PCK certificate says about its platform; raises VerificationError."""
    try:
        extension = pck.extensions.get_extension_for_oid(_SGX_EXTENSIONS).value
    except x509.ExtensionNotFound:
        raise rejection(Code.PCK_EXTENSIONS, "the PCK certificate has no SGX extension") from None
    with rejecting(Code.PCK_EXTENSIONS):
        return parse_pck_extension(extension.public_bytes())


def _judge(evidence: _Evidence, collateral: VerifiedCollateral, now: datetime) -> Claims:
    if not isinstance(evidence.quote.body, SgxReport):
        raise rejection(Code.QUOTE_FORMAT, "trust domains are not verified yet")
    # 3. and 4. The collateral is for this platform, and may still be used.
    _check_still_valid(collateral, now)
    _check_revocation(evidence, collateral)
    _check_platform(evidence.platform, collateral)
    # 5. The quoting enclave.
    quote = evidence.quote
    _check_qe_report(quote, evidence.pck)
    _check_qe_identity(quote.qe_report, collateral.qe_identity)
    qe = tcb.qe_level(collateral.qe_identity, quote.qe_report.isv_svn)
    # 6. The quote's signature.
    attestation_key = signatures.load_point(quote.attestation_key)
    if attestation_key is None or not signatures.is_valid(
        attestation_key, quote.signature, quote.signed_bytes
    ):
        raise rejection(Code.QUOTE_SIGNATURE, "the quote is not signed by its attestation key")
    # 7. The TCB.
    platform = tcb.platform_level(collateral.tcb_info, evidence.platform)
    status = tcb.merge(platform.status, qe.status)
    if status is TcbStatus.REVOKED:
        raise rejection(
            Code.TCB_REVOKED,
            f"the platform's TCB level is {platform.status}, its quoting enclave's {qe.status}",
            hint="update the platform: at this level its keys may be known to others",
        )
    # 8. The claims.
    return _claims(evidence, evidence.quote.body, collateral, platform, qe, status, now)


def _check_still_valid(collateral: VerifiedCollateral, now: datetime) -> None:
    if not collateral.valid_from <= now <= collateral.valid_until:
        raise rejection(
            Code.COLLATERAL_VALIDITY,
            f"the collateral may be used from {collateral.valid_from} to "
            f"{collateral.valid_until}, and it is {now}",
            hint="fetch fresh collateral",
        )


def _check_revocation(evidence: _Evidence, collateral: VerifiedCollateral) -> None:
    if (evidence.pck_ca.subject, evidence.pck_ca.public_key) != (
        collateral.pck_ca.subject,
        collateral.pck_ca.public_key,
    ):
        raise rejection(
            Code.CRL_MISSING,
            f"the PCK certificate is issued by {evidence.pck_ca.role}, "
            f"and the PCK CRL by {collateral.pck_ca.role}",
            hint="fetch collateral for this platform's CA",
        )
    pki.check_not_revoked(evidence.pck_ca, collateral.root_ca_crl)
    pki.check_not_revoked(evidence.pck, collateral.pck_crl)


def _check_platform(platform: PckExtensions, collateral: VerifiedCollateral) -> None:
    info = collateral.tcb_info
    found = (info.id, info.fmspc, info.pce_id)
    if found != (TcbInfoId.SGX, platform.fmspc, platform.pce_id):
        raise rejection(
            Code.TCB_INFO_MISMATCH,
            f"TCB info is for {info.id} with FMSPC {info.fmspc.hex()} and PCEID "
            f"{info.pce_id.hex()}; the platform is SGX with FMSPC {platform.fmspc.hex()} and "
            f"PCEID {platform.pce_id.hex()}",
            hint="fetch collateral for this platform's FMSPC",
        )


def _check_qe_report(quote: Quote, pck: Certificate) -> None:
    report = quote.qe_report
    if not signatures.is_valid(pck.public_key, quote.qe_report_signature, report.serialize()):
        raise rejection(
            Code.QE_REPORT_SIGNATURE, "the quoting enclave's report is not signed by the PCK"
        )
    bound = hashlib.sha256(quote.attestation_key + quote.qe_auth_data).digest()
    if report.report_data != bound.ljust(len(report.report_data), b"\0"):
        raise rejection(
            Code.QE_REPORT_DATA, "the quoting enclave's report does not vouch for the key"
        )


def _check_qe_identity(report: SgxReport, identity: QeIdentity) -> None:
    """Value and mask are in the order of memory, where MISCSELECT is a little-endian integer."""
    misc_select = report.misc_select.to_bytes(4, "little")
    comparisons = (
        ("identity", SGX_QE_ID, identity.id),
        ("MRSIGNER", report.mr_signer.hex(), identity.mr_signer.hex()),
        ("ISVPRODID", report.isv_prod_id, identity.isv_prod_id),
        (
            "MISCSELECT under its mask",
            _masked(misc_select, identity.misc_select_mask).hex(),
            identity.misc_select.hex(),
        ),
        (
            "ATTRIBUTES under their mask",
            _masked(report.attributes, identity.attributes_mask).hex(),
            identity.attributes.hex(),
        ),
    )
    for what, found, expected in comparisons:
        if found != expected:
            raise rejection(
                Code.QE_IDENTITY_MISMATCH,
                f"the quoting enclave's {what} is {found}, its identity says {expected}",
            )


def _masked(value: bytes, mask: bytes) -> bytes:
    return bytes(byte & bits for byte, bits in zip(value, mask, strict=True))


def _claims(
    evidence: _Evidence,
    body: SgxReport,
    collateral: VerifiedCollateral,
    platform: TcbLevel,
    qe: QeLevel,
    status: TcbStatus,
    now: datetime,
) -> Claims:
    pck = evidence.platform
    configuration = pck.configuration
    target = SgxEnclave(
        mr_enclave=body.mr_enclave,
        mr_signer=body.mr_signer,
        isv_prod_id=body.isv_prod_id,
        isv_svn=body.isv_svn,
        debug=body.debug,
        report_data=body.report_data,
        attributes=body.attributes,
        misc_select=body.misc_select,
        config_id=body.config_id,
        config_svn=body.config_svn,
        isv_ext_prod_id=body.isv_ext_prod_id,
        isv_family_id=body.isv_family_id,
    )
    standing = DcapStanding(
        quote_version=evidence.quote.version,
        fmspc=pck.fmspc,
        pce_id=pck.pce_id,
        ppid=pck.ppid,
        platform_instance_id=pck.platform_instance_id,
        dynamic_platform=configuration.dynamic_platform if configuration else None,
        cached_keys=configuration.cached_keys if configuration else None,
        smt_enabled=configuration.smt_enabled if configuration else None,
        cpu_svn=pck.cpu_svn,
        pce_svn=pck.pce_svn,
        tcb_status=status,
        platform_tcb_status=platform.status,
        qe_tcb_status=qe.status,
        tdx_module_tcb_status=None,
        advisory_ids=tuple(sorted({*platform.advisory_ids, *qe.advisory_ids})),
        tcb_date=platform.date,
        tcb_evaluation_data_number=min(
            collateral.tcb_info.evaluation_data_number,
            collateral.qe_identity.evaluation_data_number,
        ),
        collateral_valid_from=collateral.valid_from,
        collateral_valid_until=collateral.valid_until,
        trust_root_sha256=collateral.root.sha256,
        simulated=collateral.root.simulated,
    )
    return Claims(target, standing, verified_at=now)
