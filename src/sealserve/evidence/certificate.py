"""A self-signed certificate from a stranger, read with our own errors only.

It gives the public key and the extensions that no standard of X.509 knows, after the certificate's
own signature was checked: the holder of the key wrote these extensions, and nobody altered them
since. Over TLS the holder of the key has signed these very bytes in the handshake, and for this
session alone (`read_of_peer`). It does not look at names and validity dates (a stranger declares
what he likes), and the key is not trusted by any of this.

`cryptography` parses lazily: `public_key()` and `extensions` raise where they are first used, so
each is called here, once, with its errors mapped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sealserve.errors import BindingError, FormatError

MAX_CERTIFICATE_BYTES: Final = 32 * 1024

_SIGNATURE_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_RSA_BITS: Final = range(2048, 4096 + 1)
_RSA_EXPONENT_LIMIT: Final = 1 << 32  # Gramine's is 65537
_DER_SEQUENCE: Final = b"\x30"

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class SelfSigned:
    """What a self-signed certificate says about itself."""

    spki: bytes
    """The public key, DER SubjectPublicKeyInfo."""
    extensions: Mapping[x509.ObjectIdentifier, bytes]
    """The values of the extensions that `cryptography` does not know."""


def read_self_signed(data: bytes) -> SelfSigned:
    """The one certificate in `data`, DER or PEM, of at most 32 KiB, its signature checked.

    Raises FormatError (`ratls.size`, `ratls.certificate`, `ratls.key`,
    `ratls.duplicate-extension`) and BindingError (`binding.self-signature`).
    """
    certificate = _load(data)
    key = _public_key(certificate)
    _check_signature(certificate)
    return SelfSigned(spki_der(key), _unknown_extensions(certificate))


def read_of_peer(data: bytes) -> SelfSigned:
    """The certificate that the other end of a TLS session has shown; its own signature is not used.

    In place of that stands the handshake's CertificateVerify: a signature by the same key over all
    messages before it, the certificate among them (RFC 5246, 7.4.8; RFC 8446, 4.4.3). Raises as
    `read_self_signed`, but for `binding.self-signature`.
    """
    certificate = _load(data)
    return SelfSigned(spki_der(_public_key(certificate)), _unknown_extensions(certificate))


def spki_der(key: PublicKey) -> bytes:
    """A public key as DER SubjectPublicKeyInfo, the form that evidence binds by its hash."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def is_bounded(key: rsa.RSAPublicKey) -> bool:
    """Whether checking a signature by `key` costs what an RSA key of ours costs, and not more.

    OpenSSL takes 16384 bits, and an exponent as long as the modulus: 20 times the work for whoever
    checks, none for a stranger who signs with noise.
    """
    return key.key_size in _RSA_BITS and key.public_numbers().e < _RSA_EXPONENT_LIMIT


def _load(data: bytes) -> x509.Certificate:
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise FormatError(
            f"the certificate is {len(data)} bytes, more than the {MAX_CERTIFICATE_BYTES} allowed",
            code="ratls.size",
        )
    try:
        if data.startswith(_DER_SEQUENCE):  # PEM is text
            return x509.load_der_x509_certificate(data)
        certificates = x509.load_pem_x509_certificates(data)
    # A Warning is raised only where the process made warnings errors.
    except (ValueError, Warning, x509.InvalidVersion) as error:
        raise FormatError(f"not an X.509 certificate: {error}", code="ratls.certificate") from error
    if len(certificates) != 1:
        raise FormatError(
            f"{len(certificates)} certificates in one PEM text, expected the RA-TLS one alone",
            code="ratls.certificate",
        )
    return certificates[0]


def _public_key(certificate: x509.Certificate) -> PublicKey:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm, InternalError) as error:
        raise FormatError(f"unreadable public key: {error}", code="ratls.key") from error
    if isinstance(key, rsa.RSAPublicKey) and is_bounded(key):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    raise FormatError(
        "the certificate's key is neither RSA of 2048 to 4096 bits with an exponent below 2^32, "
        "nor on P-256, P-384 or P-521",
        code="ratls.key",
    )


def _check_signature(certificate: x509.Certificate) -> None:
    try:
        if not isinstance(certificate.signature_hash_algorithm, _SIGNATURE_HASHES):
            raise ValueError("the signature's hash is not SHA-256, SHA-384 or SHA-512")
        certificate.verify_directly_issued_by(certificate)
    except (
        InvalidSignature,
        UnsupportedAlgorithm,
        InternalError,
        ValueError,
        TypeError,
    ) as error:
        reason = f": {error}" if str(error) else ""
        raise BindingError(
            f"the certificate is not signed by its own key{reason}", code="binding.self-signature"
        ) from error


def _unknown_extensions(certificate: x509.Certificate) -> dict[x509.ObjectIdentifier, bytes]:
    try:
        extensions = list(certificate.extensions)
    except x509.DuplicateExtension as error:
        raise FormatError(
            f"the certificate has the extension {error.oid.dotted_string} twice",
            code="ratls.duplicate-extension",
        ) from error
    # A KeyError is how `cryptography` takes a TLS feature that it does not know.
    except (ValueError, TypeError, KeyError, Warning, x509.UnsupportedGeneralNameType) as error:
        raise FormatError(
            f"unreadable certificate extension: {error}", code="ratls.certificate"
        ) from error
    return {
        extension.oid: extension.value.value
        for extension in extensions
        if isinstance(extension.value, x509.UnrecognizedExtension)
    }
