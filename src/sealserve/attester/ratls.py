"""The enclave's RA-TLS identity: a fresh key, and a self-signed certificate with quotes over it.

Made as Gramine makes it, so that every RA-TLS verifier reads it: 1.8 and later carry the legacy and
the standard extension, each with a quote of its own; earlier ones the legacy extension alone. The
key exists in this process's memory only, and no function here writes it anywhere.

Validity dates say nothing in such a certificate, for an enclave has no clock that it can trust: it
claims the dates that RFC 5280, section 4.1.2.5, gives to certificates without an expiry.

Source: Gramine, `tools/sgx/ra-tls/ra_tls_attest.c`; formats in `sealserve.evidence.ratls`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from sealserve.attester.quoted import EvidenceSource
from sealserve.evidence.ratls import (
    DICE_OID,
    MALFORMED_LEGACY_OID,
    dice_claims,
    dice_extension,
    dice_report_data,
    legacy_report_data,
    spki_der,
)

KeyType = Literal["p384", "rsa3072"]
Style = Literal["both", "legacy"]
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.COMMON_NAME, "RATLS"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SealServe"),
    ]
)
NOT_BEFORE = datetime(2001, 1, 1, tzinfo=UTC)
NOT_AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@dataclass(frozen=True)
class RatlsIdentity:
    """An RA-TLS key and its certificate (DER)."""

    private_key: PrivateKey = field(repr=False)
    certificate_der: bytes = field(repr=False)
    evidence_digest: str
    """SHA-256, in hex, of the quote that counts: how the key service's audit log names it."""


def make_certificate(
    source: EvidenceSource, *, key_type: KeyType = "p384", style: Style = "both"
) -> RatlsIdentity:
    """A fresh identity with quotes from `source`; the defaults are those of Gramine 1.8 and later.

    `key_type="rsa3072", style="legacy"` is what Gramine did until 1.3. Raises what the source does.
    """
    key = _generate(key_type)
    spki = spki_der(key.public_key())
    quote = source.quote(legacy_report_data(spki))
    extensions = {MALFORMED_LEGACY_OID: quote}
    if style == "both":
        claims = dice_claims(spki)
        quote = source.quote(dice_report_data(claims))  # where it is there, it alone counts
        extensions[DICE_OID] = dice_extension(quote, claims)
    digest = hashlib.sha256(quote).hexdigest()
    return RatlsIdentity(key, _self_sign(key, extensions), digest)


def _generate(key_type: KeyType) -> PrivateKey:
    if key_type == "p384":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=3072)


def _self_sign(key: PrivateKey, extensions: dict[x509.ObjectIdentifier, bytes]) -> bytes:
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    for oid, value in extensions.items():
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
