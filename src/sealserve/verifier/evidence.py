"""What is presented: a quote, and the certificates of its platform; what can be said of it alone.

That is steps 1 and 2, who signed in step 5, and step 6.

Source: Intel SGX ECDSA Quote Library Reference, appendix A.4; Intel SGX PCK Certificate and
Certificate Revocation List Profile Specification.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509

from sealserve.endorsements.chain import Certificate, Role
from sealserve.endorsements.collateral import PckCa, Tee
from sealserve.endorsements.pck import SGX_EXTENSIONS_OID, PckExtensions, parse_pck_extension
from sealserve.evidence.quote import TEE_TYPE_TDX, CertificationDataType, Quote, parse_quote
from sealserve.verifier import pki, signatures
from sealserve.verifier.codes import Code, rejecting, rejection
from sealserve.verifier.roots import TrustRoot

PCK_CODES = pki.PathCodes(Code.PCK_CHAIN_FORMAT, Code.PCK_CHAIN, Code.PCK_CHAIN_VALIDITY)
_SGX_EXTENSIONS = x509.ObjectIdentifier(SGX_EXTENSIONS_OID)


@dataclass(frozen=True, slots=True)
class Platform:
    """What a collateral service must be told: the kind of TEE, the FMSPC, who issued the PCK."""

    tee: Tee
    fmspc: bytes
    """6 bytes."""
    ca: PckCa


@dataclass(frozen=True, slots=True)
class Evidence:
    """A quote that its platform signed, and the platform's certificates under a root."""

    quote: Quote
    pck: Certificate
    pck_ca: Certificate
    pck_extensions: PckExtensions

    @property
    def platform(self) -> Platform:
        """Which collateral it needs."""
        return Platform(
            tee="TDX" if self.quote.tee_type == TEE_TYPE_TDX else "SGX",
            fmspc=self.pck_extensions.fmspc,
            ca="platform" if self.pck_ca.role is Role.PLATFORM_CA else "processor",
        )


def read_evidence(
    data: bytes, root: TrustRoot, now: datetime, known: tuple[Certificate, ...] = ()
) -> Evidence:
    """All that needs no collateral. `known` are certificates verified under `root` before."""
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
        quote.certification_data, pki.PCK_PATH, root.certificate, now, PCK_CODES, known
    )
    pck_extensions = _verified_extensions(pck)
    # 5. The quoting enclave's report, as far as it does not depend on its identity.
    _check_report(quote, pck)
    # 6. The quote's signature.
    _check_signature(quote)
    return Evidence(quote, pck, pck_ca, pck_extensions)


def _check_report(quote: Quote, pck: Certificate) -> None:
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


def _check_signature(quote: Quote) -> None:
    key = signatures.load_point(quote.attestation_key)
    if key is None or not signatures.is_valid(key, quote.signature, quote.signed_bytes):
        raise rejection(Code.QUOTE_SIGNATURE, "the quote is not signed by its attestation key")


@lru_cache(maxsize=pki.CHAINS_REMEMBERED)
def _verified_extensions(pck: Certificate) -> PckExtensions:
    """Of a certificate that was verified; remembered with it."""
    return read_pck_extensions(pck)


def read_pck_extensions(pck: Certificate) -> PckExtensions:
    """What a PCK certificate says about its platform; raises VerificationError."""
    try:
        extension = pck.extensions.get_extension_for_oid(_SGX_EXTENSIONS).value
    except x509.ExtensionNotFound:
        raise rejection(Code.PCK_EXTENSIONS, "the PCK certificate has no SGX extension") from None
    with rejecting(Code.PCK_EXTENSIONS):
        return parse_pck_extension(extension.public_bytes())
