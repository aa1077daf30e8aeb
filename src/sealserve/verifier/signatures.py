"""ECDSA on P-256 with SHA-256: raw, as in quotes and Intel's JSON, and as in X.509.

Source: Intel SGX ECDSA Quote Library Reference, appendix A.4: r and s, and x and y, are two 32-byte
big-endian numbers each.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

_ALGORITHM = ec.ECDSA(hashes.SHA256())
_UNCOMPRESSED = b"\x04"


def load_point(point: bytes) -> ec.EllipticCurvePublicKey | None:
    """The key whose x and y are in the 64 bytes `point`; None if that is no point of the curve."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _UNCOMPRESSED + point)
    except ValueError:
        return None


def is_valid(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> bool:
    """Whether the 64 bytes of `signature` are one by `key` over `message`."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    return is_der_valid(key, encode_dss_signature(r, s), message)


def is_der_valid(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> bool:
    """The same for a signature in DER, as certificates and CRLs have."""
    try:
        key.verify(signature, message, _ALGORITHM)
    except InvalidSignature:
        return False
    return True
