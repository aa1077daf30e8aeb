"""Trust roots: the one certificate that a verification rests on, named by the caller.

Intel's is here because it is public and fixed. Nothing is trusted by default: every verification is
handed its root, and what rests on another root than Intel's is marked as simulated.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

from sealserve.endorsements.chain import Certificate, Role, parse_certificate, parse_chain
from sealserve.errors import FormatError
from sealserve.verifier import pki
from sealserve.verifier.codes import Code, rejection

# Intel SGX Root CA, https://certificates.trustedservices.intel.com/Intel_SGX_Provisioning_
# Certification_RootCA.pem; valid from 21 May 2018 to 31 December 2049.
INTEL_SGX_ROOT_CA = b"""-----BEGIN CERTIFICATE-----
MIICjzCCAjSgAwIBAgIUImUM1lqdNInzg7SVUr9QGzknBqwwCgYIKoZIzj0EAwIw
aDEaMBgGA1UEAwwRSW50ZWwgU0dYIFJvb3QgQ0ExGjAYBgNVBAoMEUludGVsIENv
cnBvcmF0aW9uMRQwEgYDVQQHDAtTYW50YSBDbGFyYTELMAkGA1UECAwCQ0ExCzAJ
BgNVBAYTAlVTMB4XDTE4MDUyMTEwNDUxMFoXDTQ5MTIzMTIzNTk1OVowaDEaMBgG
A1UEAwwRSW50ZWwgU0dYIFJvb3QgQ0ExGjAYBgNVBAoMEUludGVsIENvcnBvcmF0
aW9uMRQwEgYDVQQHDAtTYW50YSBDbGFyYTELMAkGA1UECAwCQ0ExCzAJBgNVBAYT
AlVTMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEC6nEwMDIYZOj/iPWsCzaEKi7
1OiOSLRFhWGjbnBVJfVnkY4u3IjkDYYL0MxO4mqsyYjlBalTVYxFP2sJBK5zlKOB
uzCBuDAfBgNVHSMEGDAWgBQiZQzWWp00ifODtJVSv1AbOScGrDBSBgNVHR8ESzBJ
MEegRaBDhkFodHRwczovL2NlcnRpZmljYXRlcy50cnVzdGVkc2VydmljZXMuaW50
ZWwuY29tL0ludGVsU0dYUm9vdENBLmRlcjAdBgNVHQ4EFgQUImUM1lqdNInzg7SV
Ur9QGzknBqwwDgYDVR0PAQH/BAQDAgEGMBIGA1UdEwEB/wQIMAYBAf8CAQEwCgYI
KoZIzj0EAwIDSQAwRgIhAOW/5QkR+S9CiSDcNoowLuPRLsWGf/Yi7GSX94BgwTwg
AiEA4J0lrHoMs+Xo5o/sX6O9QWxHRAvZUGOdRQ7cvqRXaqI=
-----END CERTIFICATE-----
"""
INTEL_SGX_ROOT_CA_SHA256 = bytes.fromhex(
    "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"
)


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """A root certificate that was checked to be one, and the SHA-256 of its DER."""

    certificate: Certificate = field(compare=False)
    sha256: bytes

    @property
    def simulated(self) -> bool:
        """The root is not Intel's, so no SGX hardware vouches for what rests on it."""
        return self.sha256 != INTEL_SGX_ROOT_CA_SHA256


@lru_cache(maxsize=16)
def load_trust_root(data: bytes) -> TrustRoot:
    """The root in `data`, PEM or DER; raises VerificationError (TRUST_ROOT) if it is no such root.

    Its dates are checked with the chains that end in it. What was loaded is remembered: one root is
    named again and again.
    """
    try:
        certificate = _one_certificate(data)
    except FormatError as error:
        raise rejection(Code.TRUST_ROOT, f"the trust root cannot be read: {error}") from error
    if certificate.role is not Role.ROOT_CA:
        raise rejection(Code.TRUST_ROOT, f"the trust root is not named {Role.ROOT_CA.value!r}")
    pki.check_profile(certificate, Code.TRUST_ROOT)
    pki.check_issued_by(certificate, certificate, Code.TRUST_ROOT)
    return TrustRoot(certificate, hashlib.sha256(certificate.der).digest())


def _one_certificate(data: bytes) -> Certificate:
    if not data.lstrip().startswith(b"-----"):
        return parse_certificate(data)
    certificates = parse_chain(data)
    if len(certificates) != 1:
        raise FormatError(f"{len(certificates)} certificates, expected one")
    return certificates[0]
