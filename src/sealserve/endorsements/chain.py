"""Certificate chains: PEM to certificates, each with the role that its name gives it.

A role is known by Intel's common name and nothing else; whether a certificate may play it, who
signed it and when it is valid is the verifier's to judge. Source: Intel SGX PCK Certificate and
Certificate Revocation List Profile Specification, sections 1 and 2.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from sealserve.endorsements import der
from sealserve.errors import FormatError

MAX_CERTIFICATES = 4  # one more than the longest chain, so that a chain too long is told as such
CHAIN_LIMIT = 32 << 10  # bytes of PEM
ALTERED_KEY = "certificate.key"
"""The code of a certificate whose key is no point of its curve: nobody issued that."""

_BEGIN, _END = rb"-----BEGIN CERTIFICATE-----", rb"-----END CERTIFICATE-----"
_BLOCK = re.compile(_BEGIN + rb"([A-Za-z0-9+/=\s]++)" + _END + rb"\s*+")


class Role(StrEnum):
    """What a certificate is for, by its common name."""

    ROOT_CA = "Intel SGX Root CA"
    PLATFORM_CA = "Intel SGX PCK Platform CA"
    PROCESSOR_CA = "Intel SGX PCK Processor CA"
    PCK = "Intel SGX PCK Certificate"
    TCB_SIGNING = "Intel SGX TCB Signing"


_ECDSA_WITH_SHA256 = SignatureAlgorithmOID.ECDSA_WITH_SHA256
_ALGORITHM_IDENTIFIER = der.encode(
    der.OBJECT_IDENTIFIER, der.oid_content(_ECDSA_WITH_SHA256.dotted_string)
)
_ROLES: dict[str | bytes, Role] = {role.value: role for role in Role}
# What `cryptography` may raise; a warning only where the process made warnings errors.
X509_ERRORS = (
    ValueError,
    TypeError,
    KeyError,  # a TLS feature that it does not know
    Warning,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
PCK_CAS = (Role.PLATFORM_CA, Role.PROCESSOR_CA)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate, read to its last field; `role` is None where the name is none of Intel's."""

    der: bytes = field(repr=False)
    role: Role | None
    subject: x509.Name
    issuer: x509.Name
    serial_number: int
    not_before: datetime
    not_after: datetime
    extensions: x509.Extensions = field(repr=False, compare=False)
    public_key: ec.EllipticCurvePublicKey
    parsed: x509.Certificate = field(repr=False)


def parse_chain(pem: bytes, known: Collection[Certificate] = ()) -> tuple[Certificate, ...]:
    """The certificates in `pem`, in its order.

    NUL bytes at the end are left off, as real quotes have them. A certificate whose bytes are those
    of one in `known` is that one, and is not parsed again. Raises FormatError.
    """
    if len(pem) > CHAIN_LIMIT:
        raise FormatError(f"the chain has {len(pem)} bytes, at most {CHAIN_LIMIT} are read")
    by_der = {certificate.der: certificate for certificate in known}
    return tuple(by_der.get(der) or parse_certificate(der) for der in _blocks(pem))


@lru_cache(maxsize=256)
def parse_certificate(der: bytes) -> Certificate:
    """One certificate from DER; raises FormatError, also for any key but P-256 (`ALTERED_KEY`: for
    a key that is none).

    Every field is read here, because `cryptography` reads them late and any may be malformed. What
    was read is remembered: a platform's certificate comes with every one of its quotes.
    """
    try:
        parsed = x509.load_der_x509_certificate(der)
        if parsed.serial_number <= 0:
            raise FormatError("a certificate's serial number is not positive")
        return Certificate(
            der=der,
            role=_role(parsed.subject),
            subject=parsed.subject,
            issuer=parsed.issuer,
            serial_number=parsed.serial_number,
            not_before=parsed.not_valid_before_utc,
            not_after=parsed.not_valid_after_utc,
            extensions=parsed.extensions,
            public_key=_p256_key(parsed),
            parsed=parsed,
        )
    except X509_ERRORS as error:
        raise FormatError(f"a certificate cannot be read: {error}") from error


def _role(subject: x509.Name) -> Role | None:
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return _ROLES.get(names[0].value) if len(names) == 1 else None


def check_algorithm(found: x509.ObjectIdentifier) -> None:
    """Raise FormatError unless a certificate or CRL is signed with ECDSA with SHA-256."""
    if found != _ECDSA_WITH_SHA256:
        raise FormatError(f"the signature is by {found.dotted_string}, not ECDSA with SHA-256")


def _check_inner_algorithm(tbs: bytes) -> None:
    """What is signed names the same algorithm: RFC 5280, section 4.1.1.2.

    Of a CRL `cryptography` checks that as it reads it, of a certificate it does not.
    """
    elements = der.decode_all(der.decode(tbs, der.SEQUENCE))
    if elements[2:3] != [(der.SEQUENCE, _ALGORITHM_IDENTIFIER)]:  # behind version and serial number
        raise FormatError("what is signed names another algorithm than the signature")


def _p256_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    check_algorithm(certificate.signature_algorithm_oid)
    _check_inner_algorithm(certificate.tbs_certificate_bytes)
    try:
        key = certificate.public_key()
    except ValueError as error:
        raise FormatError(f"a certificate's key is no key: {error}", code=ALTERED_KEY) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise FormatError("a certificate's key is not on P-256, the only curve of DCAP")
    return key


@lru_cache(maxsize=64)
def _blocks(pem: bytes) -> tuple[bytes, ...]:
    """The DER of each certificate; remembered, as the same few chains come again and again."""
    text = pem.rstrip(b"\0").strip()
    blocks: list[bytes] = []
    offset = 0
    while offset < len(text):
        block = _BLOCK.match(text, offset)
        if block is None:
            raise FormatError(f"the chain holds something that is no PEM certificate at {offset}")
        if len(blocks) == MAX_CERTIFICATES:
            raise FormatError(f"the chain has more than {MAX_CERTIFICATES} certificates")
        blocks.append(_decode(block[1]))
        offset = block.end()
    if not blocks:
        raise FormatError("the chain holds no certificate")
    return tuple(blocks)


def _decode(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as error:
        raise FormatError(f"a PEM certificate is no base64: {error}") from error
