"""SIGSTRUCTs with a right signature, of a signer that is made for the tests."""

from __future__ import annotations

import functools
import hashlib
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

HEADER = bytes.fromhex("06000000e10000000000010000000000")
HEADER2 = bytes.fromhex("01010000600000006000000001000000")
MODE64, DEBUG = 4, 2


@functools.cache
def signer() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=3, key_size=3072)


def made_sigstruct(
    mr_enclave: bytes,
    *,
    product: int = 0,
    svn: int = 1,
    debug: bool = False,
    key: rsa.RSAPrivateKey | None = None,
) -> bytes:
    """1808 bytes (Intel SDM volume 3D, SIGSTRUCT)."""
    key = key or signer()
    modulus = key.public_key().public_numbers().n
    head = HEADER + struct.pack("<II", 0, 0x20260101) + HEADER2 + bytes(88)
    flags = MODE64 | (DEBUG if debug else 0)
    attributes = struct.pack("<QQ", flags, 3)
    mask = struct.pack("<QQ", 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFE7)
    body = bytes(8 + 4 + 16) + attributes + mask + mr_enclave + bytes(32)
    body += struct.pack("<HH", product, svn)
    made = key.sign(head + body, padding.PKCS1v15(), hashes.SHA256())
    signature = int.from_bytes(made, "big")
    q1, rest = divmod(signature**2, modulus)
    q2 = rest * signature // modulus
    numbers = [n.to_bytes(384, "little") for n in (modulus, signature, q1, q2)]
    parts = (head, numbers[0], struct.pack("<I", 3), numbers[1], body, bytes(12), *numbers[2:])
    return b"".join(parts)


def stand_in_measurement(manifest: bytes, libpal: bytes) -> bytes:
    """What `gramine_stand_in` takes for MRENCLAVE: of the same inputs, and not the hardware's."""
    return hashlib.sha256(hashlib.sha256(libpal).digest() + manifest).digest()
