"""The verifier: evidence, collateral, a named trust root and `now` in; claims out. Pure."""

from sealserve.endorsements.collateral import Tee
from sealserve.verifier.claims import Claims, TcbStatus
from sealserve.verifier.codes import Code
from sealserve.verifier.collateral import (
    Evaluations,
    VerifiedCollateral,
    check_not_rolled_back,
    verify_collateral,
)
from sealserve.verifier.dcap import platform_of, verify, verify_evidence, verify_quote
from sealserve.verifier.evidence import Evidence, Platform, read_evidence
from sealserve.verifier.roots import (
    INTEL_SGX_ROOT_CA,
    INTEL_SGX_ROOT_CA_SHA256,
    TrustRoot,
    load_trust_root,
)

__all__ = [
    "INTEL_SGX_ROOT_CA",
    "INTEL_SGX_ROOT_CA_SHA256",
    "Claims",
    "Code",
    "Evaluations",
    "Evidence",
    "Platform",
    "TcbStatus",
    "Tee",
    "TrustRoot",
    "VerifiedCollateral",
    "check_not_rolled_back",
    "load_trust_root",
    "platform_of",
    "read_evidence",
    "verify",
    "verify_collateral",
    "verify_evidence",
    "verify_quote",
]
