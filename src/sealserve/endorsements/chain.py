"""Certificate chains: PEM to certificates, each with the role that its name gives it.

A role is known by Intel's common name and nothing else; whether a certificate may play it, who
signed it and when it is valid is the verifier's to judge. Source: Intel SGX PCK Certificate and
Certificate Revocation List Profile Specification, sections 1 and 2.
"""

from __future__ import annotations

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

_NAME_LIMIT = 1024  # bytes; Intel's have about 110
_SIGNED_PARTS = 7  # version, serial number, algorithm, issuer, validity, subject, key
_WHITE_SPACE = b" \t\n\r\f\v"
_BEGIN, _END = rb"-----BEGIN CERTIFICATE-----", rb"-----END CERTIFICATE-----"
_BLOCK = re.compile(_BEGIN + rb"([^-]++)" + _END + rb"\s*+")  # what is between must be base64


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
_COMMON_NAME = (der.OBJECT_IDENTIFIER, der.oid_content(NameOID.COMMON_NAME.dotted_string))
_TEXTS = (der.UTF8_STRING, der.PRINTABLE_STRING)
_ROLES: dict[der.Element, Role] = {(kind, role.encode()): role for role in Role for kind in _TEXTS}
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


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """One certificate, read to its last field; `role` is None where the name is none of Intel's.

    Two that were read from the same bytes are two: what is known of one was found out about it.
    """

    der: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    """The part of `der` that its signature is over."""
    signature: bytes = field(repr=False)
    """DER."""
    role: Role | None
    subject: bytes
    """The content of the DER Name, as for `issuer`: two names are the same if their bytes are."""
    issuer: bytes
    serial_number: int
    not_before: datetime
    not_after: datetime
    extensions: x509.Extensions = field(repr=False)
    public_key: ec.EllipticCurvePublicKey


def parse_chain(pem: bytes, known: Collection[Certificate] = ()) -> tuple[Certificate, ...]:
    """The certificates in `pem`, in its order.

    NUL bytes at the end are left off, as real quotes have them. A certificate whose bytes are those
    of one in `known` is that one, and is not parsed again. Raises FormatError.
    """
    return parse_certificates(read_blocks(pem), known)


def parse_certificates(
    blocks: tuple[bytes, ...], known: Collection[Certificate] = ()
) -> tuple[Certificate, ...]:
    """The same, of the DER of each certificate."""
    by_der = {certificate.der: certificate for certificate in known}
    return tuple(by_der.get(block) or parse_certificate(block) for block in blocks)


def parse_certificate(der_bytes: bytes) -> Certificate:
    """One certificate from DER; raises FormatError, also for any key but P-256 (`ALTERED_KEY`: for
    a key that is none).

    Every field is read here, because `cryptography` reads them late and any may be malformed.
    Nothing is remembered: whoever sends certificates would decide what memory is for.
    """
    try:
        parsed = x509.load_der_x509_certificate(der_bytes)
        if parsed.serial_number <= 0:
            raise FormatError("a certificate's serial number is not positive")
        signed = parsed.tbs_certificate_bytes
        issuer, subject = _names(signed)
        common_names(issuer)
        names = common_names(subject)
        return Certificate(
            der=der_bytes,
            signed=signed,
            signature=parsed.signature,
            role=_ROLES.get(names[0]) if len(names) == 1 else None,
            subject=subject,
            issuer=issuer,
            serial_number=parsed.serial_number,
            not_before=parsed.not_valid_before_utc,
            not_after=parsed.not_valid_after_utc,
            extensions=parsed.extensions,
            public_key=_p256_key(parsed),
        )
    except X509_ERRORS as error:
        raise FormatError(f"a certificate cannot be read: {error}") from error


def _names(signed: bytes) -> tuple[bytes, bytes]:
    """Issuer and subject in the signed part of a certificate (RFC 5280, section 4.1).

    It must name the algorithm that stands beside it, too (section 4.1.1.2): of a CRL `cryptography`
    checks that as it reads it, of a certificate it does not.
    """
    elements = der.decode_all(der.decode(signed, der.SEQUENCE))
    if len(elements) < _SIGNED_PARTS or elements[2] != (der.SEQUENCE, _ALGORITHM_IDENTIFIER):
        raise FormatError("what is signed names another algorithm than the signature")
    return elements[3][1], elements[5][1]


@lru_cache(maxsize=64)
def common_names(name: bytes) -> tuple[der.Element, ...]:
    """The common names in the content of a DER Name, which is a list of sets of pairs.

    Raises FormatError, also where a text in it is none. Names are short, and the same few come
    again and again: they are remembered.
    """
    if len(name) > _NAME_LIMIT:
        raise FormatError(f"a name has {len(name)} bytes, at most {_NAME_LIMIT} are read")
    pairs = [
        der.decode_all(pair)
        for _, attributes in der.decode_all(name)
        for _, pair in der.decode_all(attributes)
    ]
    try:
        for _, (kind, text) in pairs:
            if kind in _TEXTS:
                text.decode()
    except ValueError as error:
        raise FormatError(f"a name is no pairs of identifier and text: {error}") from error
    return tuple(value for kind, value in pairs if kind == _COMMON_NAME)


def shown(name: bytes) -> str:
    """What the content of a DER Name, which was read before, calls itself."""
    texts = [text.decode("utf-8", "replace") for _, text in common_names(name)]
    return repr(", ".join(texts)[:100]) if texts else "nobody"


def check_algorithm(found: x509.ObjectIdentifier) -> None:
    """Raise FormatError unless a certificate or CRL is signed with ECDSA with SHA-256."""
    if found != _ECDSA_WITH_SHA256:
        raise FormatError(f"the signature is by {found.dotted_string}, not ECDSA with SHA-256")


def _p256_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    check_algorithm(certificate.signature_algorithm_oid)
    try:
        key = certificate.public_key()
    except ValueError as error:
        raise FormatError(f"a certificate's key is no key: {error}", code=ALTERED_KEY) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise FormatError("a certificate's key is not on P-256, the only curve of DCAP")
    return key


@lru_cache(maxsize=16)
def read_blocks(pem: bytes) -> tuple[bytes, ...]:
    """The DER of each certificate in `pem`, in its order and not parsed; raises FormatError.

    Few are remembered, and no more than 1 MiB: a verification reads the same chain several times.
    """
    if len(pem) > CHAIN_LIMIT:
        raise FormatError(f"the chain has {len(pem)} bytes, at most {CHAIN_LIMIT} are read")
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
        return binascii.a2b_base64(text.translate(None, _WHITE_SPACE), strict_mode=True)
    except binascii.Error as error:
        raise FormatError(f"a PEM certificate is no base64: {error}") from error
