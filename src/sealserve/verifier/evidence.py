"""What is presented: a quote, and the certificates of its platform. Steps 1 and 2.

Source: Intel SGX ECDSA Quote Library Reference, appendix A.4; Intel SGX PCK Certificate and
Certificate Revocation List Profile Specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509

from sealserve.endorsements.chain import Certificate, Role
from sealserve.endorsements.collateral import PckCa, Tee
from sealserve.endorsements.pck import SGX_EXTENSIONS_OID, PckExtensions, parse_pck_extension
from sealserve.evidence.quote import TEE_TYPE_TDX, CertificationDataType, Quote, parse_quote
from sealserve.verifier import pki
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
    """A parsed quote, and its platform's certificates under a root."""

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
    """Steps 1 and 2. `known` are certificates that were verified under `root` before."""
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
    return Evidence(quote, pck, pck_ca, _verified_extensions(pck))


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
