"""The quoting enclaves in software: a report becomes a quote of the real format.

They stand where Intel's QE, TD QE and PCE stand: an attestation key of their own, certified by a
report that the platform's PCK key signs. The QE quotes enclaves, the TD QE trust domains; here both
use one attestation key. They sign any report that they are handed; who may have one is for
`sealserve.lab.quoting` to decide.
Source: Intel SGX ECDSA Quote Library Reference, appendix A.4; Intel TDX DCAP Quoting Library API,
appendix A.3 and A.4.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec

from sealserve.endorsements.collateral import Tee
from sealserve.evidence.quote import (
    ECDSA_P256,
    INTEL_QE_VENDOR_ID,
    TEE_TYPE_SGX,
    TEE_TYPE_TDX,
    Body,
    BodyType,
    CertificationDataType,
    Quote,
)
from sealserve.evidence.report import SgxReport
from sealserve.lab import pki
from sealserve.lab.levels import TcbLevel
from sealserve.lab.statements import QE_ISV_PROD_IDS, raw_signature

# INIT, MODE64 and PROVISION_KEY; XFRM as on a processor with AVX-512.
QE_REPORT_ATTRIBUTES = bytes.fromhex("1500000000000000e700000000000000")
QE_AUTH_DATA = b"SealServe Lab (SIMULATED) QE key"  # Intel's QE puts 32 bytes there, too


@dataclass(frozen=True, slots=True)
class QuotingEnclave:
    """Its keys, who signed it, and the platform on which it runs."""

    tee: Tee
    """What it quotes; it is itself an SGX enclave."""
    attestation_key: ec.EllipticCurvePrivateKey = field(repr=False)
    pck_key: ec.EllipticCurvePrivateKey = field(repr=False)
    pck_chain_pem: bytes
    platform_id: bytes
    """16 bytes; stands in the user data of every quote, as a real QE's id does."""
    mr_signer: bytes
    isv_svn: int
    level: TcbLevel

    def quote(self, body: Body, version: int) -> Quote:
        """A signed quote of `body`; raises FormatError for a version that cannot hold it."""
        tells_svns = version == 3  # later versions reserve the two fields
        qe_report = self._own_report()
        unsigned = Quote(
            version=version,
            attestation_key_type=ECDSA_P256,
            tee_type=TEE_TYPE_SGX if self.tee == "SGX" else TEE_TYPE_TDX,
            qe_svn=self.isv_svn if tells_svns else 0,
            pce_svn=self.level.pce_svn if tells_svns else 0,
            qe_vendor_id=INTEL_QE_VENDOR_ID,
            user_data=self.platform_id.ljust(20, b"\0"),
            body=body,
            signature=bytes(64),
            attestation_key=pki.public_point(self.attestation_key),
            qe_report=qe_report,
            qe_report_signature=raw_signature(self.pck_key, qe_report.serialize()),
            qe_auth_data=QE_AUTH_DATA,
            certification_data_type=CertificationDataType.PCK_CHAIN,
            certification_data=self.pck_chain_pem,
            body_type=body_type(body) if version >= 5 else None,
        )
        signature = raw_signature(self.attestation_key, unsigned.signed_bytes)
        return replace(unsigned, signature=signature)

    def _own_report(self) -> SgxReport:
        """The enclave's own report, whose report data binds the attestation key."""
        name = "quoting enclave" if self.tee == "SGX" else "TD quoting enclave"
        return SgxReport(
            cpu_svn=self.level.component_svns,
            misc_select=0,
            isv_ext_prod_id=bytes(16),
            attributes=QE_REPORT_ATTRIBUTES,
            mr_enclave=sha256(f"SealServe Lab (SIMULATED) {name}".encode()).digest(),
            mr_signer=self.mr_signer,
            config_id=bytes(64),
            isv_prod_id=QE_ISV_PROD_IDS[self.tee],
            isv_svn=self.isv_svn,
            config_svn=0,
            isv_family_id=bytes(16),
            report_data=binding(pki.public_point(self.attestation_key), QE_AUTH_DATA),
        )


def binding(attestation_key: bytes, auth_data: bytes) -> bytes:
    """Report data by which a quoting enclave vouches for its key: SHA-256 of both, then zeros."""
    return sha256(attestation_key + auth_data).digest().ljust(64, b"\0")


def body_type(body: Body) -> BodyType:
    """What a quote of version 5 says that `body` is."""
    if isinstance(body, SgxReport):
        return BodyType.SGX
    if body.tee_tcb_svn_2 is None:
        return BodyType.TD_10
    return BodyType.TD_15 if body.instance is None else BodyType.TD_15_EX
