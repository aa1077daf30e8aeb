"""The quoting enclave in software: an enclave's report becomes a quote of the real format.

It stands where Intel's QE and PCE stand: an attestation key of its own, certified by a report that
the platform's PCK key signs. It signs any report that it is handed; who may have one is for
`sealserve.lab.quoting` to decide.
Source: Intel SGX ECDSA Quote Library Reference, appendix A.4.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealserve.evidence.quote import (
    ECDSA_P256,
    INTEL_QE_VENDOR_ID,
    TEE_TYPE_SGX,
    CertificationDataType,
    Quote,
    serialize_quote,
)
from sealserve.evidence.report import SgxReport
from sealserve.lab.statements import QE_ISV_PROD_ID, TcbLevel, raw_signature

# INIT, MODE64 and PROVISION_KEY; XFRM as on a processor with AVX-512.
QE_REPORT_ATTRIBUTES = bytes.fromhex("1500000000000000e700000000000000")
QE_AUTH_DATA = b"SealServe Lab (SIMULATED) QE key"  # Intel's QE puts 32 bytes there, too


@dataclass(frozen=True, slots=True)
class QuotingEnclave:
    """Its keys, who signed it, and the platform on which it runs."""

    attestation_key: ec.EllipticCurvePrivateKey = field(repr=False)
    pck_key: ec.EllipticCurvePrivateKey = field(repr=False)
    pck_chain_pem: bytes
    platform_id: bytes
    """16 bytes; stands in the user data of every quote, as a real QE's id does."""
    mr_signer: bytes
    isv_svn: int
    level: TcbLevel

    def quote(self, report: SgxReport) -> bytes:
        """A signed quote of `report`, whose CPUSVN is replaced by the platform's own."""
        qe_report = self._own_report()
        unsigned = Quote(
            version=3,
            attestation_key_type=ECDSA_P256,
            tee_type=TEE_TYPE_SGX,
            qe_svn=self.isv_svn,
            pce_svn=self.level.pce_svn,
            qe_vendor_id=INTEL_QE_VENDOR_ID,
            user_data=self.platform_id.ljust(20, b"\0"),
            body=replace(report, cpu_svn=self.level.component_svns),
            signature=bytes(64),
            attestation_key=self._attestation_point(),
            qe_report=qe_report,
            qe_report_signature=raw_signature(self.pck_key, qe_report.serialize()),
            qe_auth_data=QE_AUTH_DATA,
            certification_data_type=CertificationDataType.PCK_CHAIN,
            certification_data=self.pck_chain_pem,
        )
        signature = raw_signature(self.attestation_key, unsigned.signed_bytes)
        return serialize_quote(replace(unsigned, signature=signature))

    def _own_report(self) -> SgxReport:
        """The QE's report, whose report data binds the attestation key."""
        binding = sha256(self._attestation_point() + QE_AUTH_DATA)
        return SgxReport(
            cpu_svn=self.level.component_svns,
            misc_select=0,
            isv_ext_prod_id=bytes(16),
            attributes=QE_REPORT_ATTRIBUTES,
            mr_enclave=sha256(b"SealServe Lab (SIMULATED) quoting enclave").digest(),
            mr_signer=self.mr_signer,
            config_id=bytes(64),
            isv_prod_id=QE_ISV_PROD_ID,
            isv_svn=self.isv_svn,
            config_svn=0,
            isv_family_id=bytes(16),
            report_data=binding.digest().ljust(64, b"\0"),
        )

    def _attestation_point(self) -> bytes:
        """x and y, 32 bytes each, big-endian: an uncompressed point without its leading 04."""
        public = self.attestation_key.public_key()
        return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
