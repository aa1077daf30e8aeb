"""Keys and certificates that lie in the folder.

A wrap key's bytes are never looked at, and of a private key only that it is one: what is said of
either is its path.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from sealserve.deploy.certificates import dns_names
from sealserve.deploy.migration.fault import of_rule
from sealserve.deploy.migration.files import Gathered, Item, Kind
from sealserve.deploy.weakness import Rule, Severity, Weakness

WRAP_KEY: Final = Rule(
    "keys.wrap-key",
    Severity.ERROR,
    "a key that stood in a repository or an image is known: what it sealed is readable by whoever "
    "has a copy",
    "replace it: sealserve key new, then sealserve reseal for every sealed file",
)
ONE_KEY: Final = Rule(
    "keys.one-for-all",
    Severity.WARNING,
    "one key for all models and all clients: it cannot be rotated, revoked or audited for one "
    "alone",
    "sealserve secret add for each model, and sealserve reseal under its own key",
)
CA_KEY: Final = Rule(
    "keys.ca-key",
    Severity.ERROR,
    "whoever has it makes certificates that enclaves and clients take for the owner's",
    "replace the authority, and keep its key where no service runs: sealserve tls",
)
SIGNING_KEY: Final = Rule(
    "keys.signing-key",
    Severity.ERROR,
    "whoever has it signs enclaves in the owner's name, which policies by signer accept",
    "make another one outside of the repository, and sign anew",
)
PRIVATE_KEY: Final = Rule(
    "keys.private-key",
    Severity.ERROR,
    "a key that stood in a repository or an image is known: whoever has it answers in the "
    "service's place",
    "replace it: sealserve tls; a server's key stays within the sealed ssl.cfg",
)
PLAIN_CONFIG: Final = Rule(
    "keys.plain-ssl-config",
    Severity.ERROR,
    "it holds the server's private key in plaintext, and the host can put another in its place",
    "replace the key, and seal the file: sealserve tls, then sealserve seal",
)
NO_NAMES: Final = Rule(
    "keys.no-san",
    Severity.WARNING,
    "clients of today refuse a certificate that has its name in the common name alone",
    "sealserve tls makes certificates with names",
)
EXPIRED: Final = Rule(
    "keys.expired", Severity.WARNING, "clients refuse it", "make another: sealserve tls"
)
RULES: Final = (
    *(WRAP_KEY, ONE_KEY, CA_KEY, SIGNING_KEY, PRIVATE_KEY, PLAIN_CONFIG, NO_NAMES, EXPIRED),
)

_PRIVATE: Final = b"PRIVATE KEY-----"
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"


def in_keys(gathered: Gathered, now: datetime) -> Iterator[Weakness]:
    """What is wrong with all of them."""
    wrap_keys = gathered.of(Kind.WRAP_KEY)
    for item in wrap_keys:
        yield of_rule(WRAP_KEY, item.shown, None, "a wrap key lies beside the files it seals")
    for item in (*wrap_keys, *gathered.of(Kind.RA_CONFIG))[:1]:
        yield of_rule(ONE_KEY, item.shown, None, "one wrap key is for everything")
    for item in gathered.of(Kind.TLS_CONFIG):
        if _PRIVATE in item.data:
            yield of_rule(PLAIN_CONFIG, item.shown, None, "the TLS configuration is not sealed")
    for item in gathered.of(Kind.PEM):
        if _PRIVATE in item.data:
            yield of_rule(_rule(item), item.shown, None, "a private key lies in the folder")
        certificate = read_certificate(item)
        if certificate is not None:
            yield from _certificate(item, certificate, now)


def read_certificate(item: Item) -> x509.Certificate | None:
    """The first certificate of a PEM file; None where there is none that can be read."""
    if _CERTIFICATE not in item.data:
        return None
    try:
        return x509.load_pem_x509_certificate(item.data[item.data.index(_CERTIFICATE) :])
    except (ValueError, x509.InvalidVersion):
        return None


def common_name(certificate: x509.Certificate) -> str | None:
    """The subject's first common name."""
    try:
        found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return None
    return str(found[0].value) if found else None


def _rule(item: Item) -> Rule:
    name = item.name.lower()
    if name.startswith("ca"):
        return CA_KEY
    return SIGNING_KEY if "enclave" in name or "sign" in name else PRIVATE_KEY


def _certificate(item: Item, certificate: x509.Certificate, now: datetime) -> Iterator[Weakness]:
    if not item.name.lower().startswith("ca") and not dns_names(certificate):
        yield of_rule(NO_NAMES, item.shown, None, "the certificate has no subjectAltName")
    if certificate.not_valid_after_utc < now:
        ended = certificate.not_valid_after_utc.date()
        yield of_rule(EXPIRED, item.shown, None, f"the certificate ended on {ended}")
