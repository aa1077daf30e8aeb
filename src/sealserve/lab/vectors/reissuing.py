"""Certificates and CRLs issued again: the same to the last field, but for one difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from sealserve.endorsements.pck import SGX_EXTENSIONS_OID
from sealserve.lab import pki

# A kind is a class of `x509.ExtensionType`; spelt with Any, so that a table of one kind is one too.
ExtensionKind: TypeAlias = type[Any]
Extensions: TypeAlias = Mapping[ExtensionKind, x509.ExtensionType | None]
_SGX_OID = x509.ObjectIdentifier(SGX_EXTENSIONS_OID)
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not as it was; None, or nothing, is as it was."""

    common_name: str | None = None
    issuer_name: x509.Name | None = None
    public_key: ec.EllipticCurvePublicKey | None = None
    serial_number: int | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    extensions: Extensions = field(default_factory=dict)
    """By their kind: another value, or None for an extension that is left out."""
    criticality: Mapping[ExtensionKind, bool] = field(default_factory=dict)
    hash: hashes.SHA256 | hashes.SHA384 = field(default_factory=hashes.SHA256)


def reissue(holder: pki.Holder, issuer: pki.Holder, difference: Difference) -> pki.Holder:
    """The certificate of `holder`, signed by `issuer` again with one difference."""
    old = holder.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(old, difference.common_name))
        .issuer_name(difference.issuer_name or issuer.certificate.subject)
        .public_key(difference.public_key or holder.key.public_key())
        .serial_number(difference.serial_number or old.serial_number)
        .not_valid_before(difference.not_before or old.not_valid_before_utc)
        .not_valid_after(difference.not_after or old.not_valid_after_utc)
    )
    for extension in old.extensions:
        kind = type(extension.value)
        value = difference.extensions.get(kind, extension.value)
        critical = difference.criticality.get(kind, extension.critical)
        if value is not None:
            builder = builder.add_extension(value, critical=critical)
    return replace(holder, certificate=builder.sign(issuer.key, difference.hash))


def key_usage(*names: str) -> x509.KeyUsage:
    """A key usage with these bits."""
    return x509.KeyUsage(**{name: name in names for name in _USAGES})


def sgx_extension(value: bytes) -> Extensions:
    """The SGX extension with another value (DER)."""
    return {x509.UnrecognizedExtension: x509.UnrecognizedExtension(_SGX_OID, value)}


def issue_crl(
    issuer: pki.Holder,
    this_update: datetime,
    next_update: datetime,
    *,
    serials: Iterable[int] = (),
    key: ec.EllipticCurvePrivateKey | None = None,
    without: ExtensionKind | None = None,
    and_also: Iterable[tuple[x509.ExtensionType, bool]] = (),
) -> bytes:
    """A CRL in the name of `issuer` (DER), revoking `serials`; signed by its key, or by `key`.

    `without` is a kind of extension that is left out, `and_also` are more, each with whether it is
    critical.
    """
    signer = key or issuer.key
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(this_update)
        .next_update(next_update)
    )
    usual = ((x509.CRLNumber(1), False), (authority, False))
    for extension, critical in (*usual, *and_also):
        if without is None or not isinstance(extension, without):
            builder = builder.add_extension(extension, critical=critical)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder(serial, this_update).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


def _subject(old: x509.Certificate, common_name: str | None) -> x509.Name:
    if common_name is None:
        return old.subject
    return x509.Name(
        x509.NameAttribute(part.oid, common_name) if part.oid == x509.NameOID.COMMON_NAME else part
        for part in old.subject
    )
