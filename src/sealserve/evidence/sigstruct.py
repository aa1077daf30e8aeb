"""SIGSTRUCT, the signed statement of what an enclave will be: 1808 bytes -> `Sigstruct`.

A signer makes it beside the enclave (Gramine: the `.sig` file), and the hardware refuses to start
an enclave that differs from it. So it tells the measurement and the signer before anything runs,
which is what a policy is written from. Parsing and the signature's check say that the file is
whole, not that its signer is to be trusted.

Source: Intel SDM volume 3D, "Enclave Access Control and Data Structures", SIGSTRUCT. All numbers,
the RSA ones too, are little-endian.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sealserve.errors import FormatError, VerificationError
from sealserve.evidence.report import ATTRIBUTE_DEBUG

SIGSTRUCT_BYTES: Final = 1808
SIGSTRUCT_HEADER: Final = bytes.fromhex("06000000e10000000000010000000000")

_HEADER2: Final = bytes.fromhex("01010000600000006000000001000000")
_EXPONENT: Final = 3
_RSA_BITS: Final = 3072
_LAYOUT: Final = struct.Struct(
    "< 16x I I 16x I 84x"  # (header), VENDOR, DATE, (header 2), SWDEFINED
    "384s 4x 384s"  # MODULUS, (EXPONENT), SIGNATURE
    "I I B B 2x 16s 16s 16s 32s 16x 16s H H 12x"  # from MISCSELECT to ISVSVN
    "384s 384s"  # Q1, Q2
)
_RESERVED: Final = (slice(44, 128), slice(910, 912), slice(992, 1008), slice(1028, 1040))
_SIGNED: Final = (slice(0, 128), slice(900, 1028))


@dataclass(frozen=True, slots=True)
class Sigstruct:
    """What the signer states. Byte fields as stored."""

    signed_bytes: bytes
    """The 256 bytes that the signature covers."""
    vendor: int
    """0, or 0x8086 for Intel."""
    date: int
    """Binary-coded decimal: 0x20250620 is 20 June 2025."""
    software_defined: int
    modulus: bytes
    """384 bytes."""
    signature: bytes
    """384 bytes."""
    misc_select: int
    misc_mask: int
    cet_attributes: int
    cet_attributes_mask: int
    isv_family_id: bytes
    attributes: bytes
    """16 bytes: FLAGS (8), XFRM (8)."""
    attribute_mask: bytes
    """16 bytes: the attributes that the hardware holds the enclave to."""
    mr_enclave: bytes
    """32 bytes."""
    isv_ext_prod_id: bytes
    isv_prod_id: int
    isv_svn: int
    q1: bytes
    """384 bytes: floor(signature**2 / modulus), which spares the hardware a division."""
    q2: bytes
    """384 bytes: floor((signature**3 - q1 * signature * modulus) / modulus)."""

    @property
    def mr_signer(self) -> bytes:
        """32 bytes: the signer as the hardware reports it, SHA-256 of the stored modulus."""
        return hashlib.sha256(self.modulus).digest()

    @property
    def debug(self) -> bool:
        """The signer states a debug enclave."""
        return bool(self.attributes[0] & ATTRIBUTE_DEBUG)

    @property
    def debug_enforced(self) -> bool:
        """The hardware refuses to start the enclave with another debug attribute than `debug`."""
        return bool(self.attribute_mask[0] & ATTRIBUTE_DEBUG)


def parse_sigstruct(data: bytes) -> Sigstruct:
    """A SIGSTRUCT from exactly 1808 bytes; its signature is not checked.

    Raises FormatError: `sigstruct.length`, `sigstruct.header`, `sigstruct.exponent`,
    `sigstruct.reserved`.
    """
    if len(data) != SIGSTRUCT_BYTES:
        raise FormatError(
            f"a SIGSTRUCT is {SIGSTRUCT_BYTES} bytes, these are {len(data)}",
            code="sigstruct.length",
        )
    if data[:16] != SIGSTRUCT_HEADER or data[24:40] != _HEADER2:
        raise FormatError(
            "one of the SIGSTRUCT's two fixed headers is wrong", code="sigstruct.header"
        )
    exponent = int.from_bytes(data[512:516], "little")
    if exponent != _EXPONENT:
        raise FormatError(
            f"the SIGSTRUCT's RSA exponent is {exponent}, expected {_EXPONENT}",
            code="sigstruct.exponent",
        )
    if any(any(data[reserved]) for reserved in _RESERVED):
        raise FormatError("a reserved byte of the SIGSTRUCT is not zero", code="sigstruct.reserved")
    signed_bytes = b"".join(data[part] for part in _SIGNED)
    return Sigstruct(signed_bytes, *_LAYOUT.unpack(data))


def check_signature(sigstruct: Sigstruct) -> None:
    """Raise VerificationError (`sigstruct.signature`) unless the hardware would accept it.

    RSA-3072, exponent 3, PKCS #1 v1.5 with SHA-256; Q1 and Q2 must follow from the signature.
    """
    modulus = int.from_bytes(sigstruct.modulus, "little")
    signature = int.from_bytes(sigstruct.signature, "little")
    if modulus.bit_length() != _RSA_BITS or modulus % 2 == 0:
        raise _bad_signature("its modulus is not one of RSA-3072")
    try:
        rsa.RSAPublicNumbers(_EXPONENT, modulus).public_key().verify(
            sigstruct.signature[::-1], sigstruct.signed_bytes, padding.PKCS1v15(), hashes.SHA256()
        )
    except (InvalidSignature, ValueError) as error:
        raise _bad_signature("the signature does not match the content") from error
    q1, remainder = divmod(signature**2, modulus)
    q2 = remainder * signature // modulus
    if (sigstruct.q1, sigstruct.q2) != (q1.to_bytes(384, "little"), q2.to_bytes(384, "little")):
        raise _bad_signature("Q1 and Q2 do not follow from the signature")


def _bad_signature(reason: str) -> VerificationError:
    return VerificationError(
        f"the SIGSTRUCT does not verify: {reason}",
        code="sigstruct.signature",
        hint="the file is damaged or was changed: sign the enclave again",
    )
