"""The verifier: evidence, collateral, a named trust root and `now` in; claims out. Pure."""

from sealserve.endorsements.collateral import Tee
from sealserve.verifier.claims import Claims, TcbStatus
from sealserve.verifier.codes import Code
from sealserve.verifier.collateral import VerifiedCollateral, verify_collateral
from sealserve.verifier.dcap import Platform, platform_of, verify, verify_quote
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
    "Platform",
    "TcbStatus",
    "Tee",
    "TrustRoot",
    "VerifiedCollateral",
    "load_trust_root",
    "platform_of",
    "verify",
    "verify_collateral",
    "verify_quote",
]
