"""Keys and certificates of a service: a small CA, server and client certificates.

They follow RFC 5280 closely enough for OpenSSL's strict mode: names in subjectAltName, basic
constraints, key usages, key identifiers. A server's or client's certificate cannot sign, and
neither serves as the other (extended key usage), so that a stolen client key does not impersonate
the server. Private keys appear in no repr; this module writes no file.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from sealserve.errors import UsageError
from sealserve.hosts import parse_dns_name, parse_ip

KeyType = Literal["p256", "p384", "rsa3072"]
KEY_TYPES: tuple[KeyType, ...] = get_args(KeyType)
MAX_DAYS = 3650
CLOCK_SKEW = timedelta(hours=1)  # a peer whose clock is behind accepts a fresh certificate
MAX_COMMON_NAME = 64  # RFC 5280 appendix A.1, ub-common-name
CA_COMMON_NAME = "SealServe CA"

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_MAKE_KEY: dict[KeyType, Callable[[], PrivateKey]] = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa3072": lambda: rsa.generate_private_key(public_exponent=65537, key_size=3072),
}


@dataclass(frozen=True)
class Validity:
    """From when and for how many days certificates hold."""

    now: datetime
    days: int

    def __post_init__(self) -> None:
        if not 1 <= self.days <= MAX_DAYS:
            raise UsageError(f"{self.days} days: expected 1 to {MAX_DAYS}")

    @property
    def end(self) -> datetime:
        """The last moment."""
        return self.now + timedelta(days=self.days)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key; the key is left out of the repr."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key as unencrypted PKCS #8 PEM."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def make_authority(validity: Validity, *, key_type: KeyType = "p256") -> Pair:
    """A CA that may sign end entities and nothing below them."""
    key = _MAKE_KEY[key_type]()
    # Two authorities of one name would be told apart by their key identifiers alone.
    name = f"{CA_COMMON_NAME} {secrets.token_hex(4)}"
    builder = _builder(name, key, validity).issuer_name(_name(name))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(_authority_identifier(key), critical=False)
    return Pair(builder.sign(key, hashes.SHA256()), key)


def make_server(
    names: Sequence[str], validity: Validity, *, issuer: Pair | None, key_type: KeyType = "p256"
) -> Pair:
    """A certificate for `names` (DNS names or IP addresses); self-signed without an `issuer`."""
    return _make_end_entity(
        names, validity, issuer=issuer, key_type=key_type, usage=ExtendedKeyUsageOID.SERVER_AUTH
    )


def make_client(name: str, validity: Validity, *, issuer: Pair, key_type: KeyType = "p256") -> Pair:
    """A client's certificate for `name` (as a DNS name), signed by `issuer`."""
    return _make_end_entity(
        [parse_dns_name(name)],
        validity,
        issuer=issuer,
        key_type=key_type,
        usage=ExtendedKeyUsageOID.CLIENT_AUTH,
    )


def _make_end_entity(
    names: Sequence[str],
    validity: Validity,
    *,
    issuer: Pair | None,
    key_type: KeyType,
    usage: ObjectIdentifier,
) -> Pair:
    general_names = [_general_name(name) for name in dict.fromkeys(names)]
    key = _MAKE_KEY[key_type]()
    signer = issuer.key if issuer else key
    issuer_name = issuer.certificate.subject if issuer else _name(names[0])
    builder = _builder(names[0], key, validity).issuer_name(issuer_name)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(general_names), critical=False)
    builder = builder.add_extension(_authority_identifier(signer), critical=False)
    return Pair(builder.sign(signer, hashes.SHA256()), key)


def _builder(common_name: str, key: PrivateKey, validity: Validity) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.now - CLOCK_SKEW)
        .not_valid_after(validity.end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    """The subject; a name too long for the field is cut to its first label (the SAN has it all)."""
    if len(common_name) > MAX_COMMON_NAME:
        common_name = common_name.partition(".")[0]
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    address = parse_ip(name)
    if address is not None:
        return x509.IPAddress(address)
    return x509.DNSName(parse_dns_name(name, wildcard=True))


def _authority_identifier(key: PrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def dns_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names of a certificate, which may be anybody's; none where they cannot be read."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return tuple(extension.value.get_values_for_type(x509.DNSName))
    except (
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
        ValueError,
    ):
        return ()
