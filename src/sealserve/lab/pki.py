"""The lab's certificates and CRLs, in the shape of Intel's.

Common names, extensions and key usage are exactly those of Intel's profile, because a verifier
knows each certificate's role by them; everything else in a name says SIMULATED. Nothing here
verifies under Intel's root: every world has a root of its own.

Source: Intel SGX PCK Certificate and Certificate Revocation List Profile Specification, sections 1
to 3; RFC 5280.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from sealserve.endorsements.pck import SGX_EXTENSIONS_OID
from sealserve.errors import ConfigError

PCCS_URL = "http://127.0.0.1:8081"  # where `sealserve lab pccs` listens unless told otherwise
ROOT_CRL_PATH = "/SimulatedSGXRootCA.der"
PCK_CRL_PATH = "/sgx/certification/v4/pckcrl?encoding=der&ca="

SKEW = timedelta(hours=1)  # clocks of machines that share a lab need not agree to the second
COLLATERAL_LIFETIME = timedelta(days=30)  # as Intel's
_CA_LIFETIME = timedelta(days=15 * 365)
_ROOT_LIFETIME = timedelta(days=30 * 365)
_LEAF_LIFETIME = timedelta(days=7 * 365)


@dataclass(frozen=True, slots=True)
class Role:
    """What one certificate is for. `path_length` is None for a certificate that is no CA."""

    common_name: str
    lifetime: timedelta
    crl_path: str
    path_length: int | None = None


ROOT_CA = Role("Intel SGX Root CA", _ROOT_LIFETIME, ROOT_CRL_PATH, path_length=1)
PLATFORM_CA = Role("Intel SGX PCK Platform CA", _CA_LIFETIME, ROOT_CRL_PATH, path_length=0)
PROCESSOR_CA = Role("Intel SGX PCK Processor CA", _CA_LIFETIME, ROOT_CRL_PATH, path_length=0)
TCB_SIGNING = Role("Intel SGX TCB Signing", _LEAF_LIFETIME, ROOT_CRL_PATH)
PCK = Role("Intel SGX PCK Certificate", _LEAF_LIFETIME, PCK_CRL_PATH + "platform")
PROCESSOR_PCK = replace(PCK, crl_path=PCK_CRL_PATH + "processor")


@dataclass(frozen=True, slots=True)
class Holder:
    """A certificate and the private key (P-256) of its holder."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key, the only kind that DCAP knows."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as unencrypted PKCS#8 PEM: for a file of mode 0600."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """A key of the lab from its PEM; raises ConfigError when it is none."""
    try:
        key = load_pem_private_key(pem, password=None)
    except ValueError:
        raise ConfigError("a private key file of the lab cannot be read") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError("a private key file of the lab holds no P-256 key")
    return key


def derived_id(what: str, key: ec.EllipticCurvePrivateKey, size: int = 16) -> bytes:
    """`size` bytes (at most 32) that name something of the holder of `key`, by its public part."""
    return hashlib.sha256(what.encode() + public_point(key)).digest()[:size]


def public_point(key: ec.EllipticCurvePrivateKey) -> bytes:
    """x and y of the public key, 32 bytes each, big-endian: as quotes have it."""
    public = key.public_key()
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


def issue(
    role: Role,
    now: datetime,
    *,
    issuer: Holder | None = None,
    sgx_extensions: bytes | None = None,
    expired: bool = False,
) -> Holder:
    """A new key and its certificate, valid from an hour before `now`; self-signed without `issuer`.

    `expired` moves the whole validity into the past. `sgx_extensions` is DER for the SGX extension
    of a PCK certificate.
    """
    key = new_key()
    start = now - SKEW - (role.lifetime + timedelta(days=1) if expired else timedelta())
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(role.common_name))
        .issuer_name(issuer.certificate.subject if issuer else _name(role.common_name))
        .public_key(key.public_key())
        .serial_number(int.from_bytes(derived_id("serial number", key)))
        .not_valid_before(start)
        .not_valid_after(start + role.lifetime)
    )
    for extension, critical in _extensions(role, key.public_key(), signer.public_key()):
        builder = builder.add_extension(extension, critical=critical)
    if sgx_extensions is not None:
        oid = x509.ObjectIdentifier(SGX_EXTENSIONS_OID)
        builder = builder.add_extension(
            x509.UnrecognizedExtension(oid, sgx_extensions), critical=False
        )
    return Holder(builder.sign(signer, hashes.SHA256()), key)


def issue_crl(
    issuer: Holder,
    now: datetime,
    *,
    revoked: Iterable[x509.Certificate] = (),
    expired: bool = False,
) -> bytes:
    """A CRL of `issuer` as DER, 30 days long; `expired` moves it into the past."""
    start, end = collateral_dates(now, expired=expired)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(start)
        .next_update(end)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(_authority(issuer.key.public_key()), critical=False)
    )
    for certificate in revoked:
        entry = x509.RevokedCertificateBuilder(certificate.serial_number, start)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def collateral_dates(now: datetime, *, expired: bool) -> tuple[datetime, datetime]:
    """From when and until when collateral issued at `now` is good, to the second."""
    start = now.astimezone(UTC).replace(microsecond=0) - SKEW
    if expired:
        start -= COLLATERAL_LIFETIME + timedelta(days=1)
    return start, start + COLLATERAL_LIFETIME


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SealServe Lab (SIMULATED)"),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "SIMULATED"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "SIMULATED"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "ZZ"),  # ISO 3166: user-assigned
        ]
    )


def _extensions(
    role: Role, subject: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePublicKey
) -> list[tuple[x509.ExtensionType, bool]]:
    """The profile's extensions in its order, each with whether it is critical."""
    point = x509.DistributionPoint(
        full_name=[x509.UniformResourceIdentifier(PCCS_URL + role.crl_path)],
        relative_name=None,
        reasons=None,
        crl_issuer=None,
    )
    is_ca = role.path_length is not None
    return [
        (_authority(signer), False),
        (x509.CRLDistributionPoints([point]), False),
        (x509.SubjectKeyIdentifier.from_public_key(subject), False),
        (_key_usage(is_ca), True),
        (x509.BasicConstraints(ca=is_ca, path_length=role.path_length), True),
    ]


def _authority(signer: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer)


def _key_usage(is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=not is_ca,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )
