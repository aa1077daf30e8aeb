"""ssl.cfg before it is sealed: does it hold what the description says, and what clients accept?

Afterwards nobody who deploys can look, and the stock server serves whatever is in it. What it would
refuse itself, or take in silence, is found here. Nothing here opens a file, and no finding repeats
what the file holds but names and dates. Format: TensorFlow Serving 2.20, `ssl_config.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from sealserve.deploy.certificates import dns_names
from sealserve.deploy.description.model import Description
from sealserve.deploy.textformat import read_fields
from sealserve.deploy.weakness import Rule, Severity, Weakness
from sealserve.errors import ConfigError

LIMIT: Final = 256 << 10
"""Bytes of an ssl.cfg."""

FORM: Final = Rule(
    "tls.form",
    Severity.ERROR,
    "no server starts with it",
    "take the ssl.cfg that sealserve tls makes, as it is",
)
KEY: Final = Rule(
    "tls.key",
    Severity.ERROR,
    "no server can show a client this certificate",
    "make both anew: sealserve tls",
)
NO_AUTHORITY: Final = Rule(
    "tls.any-authority",
    Severity.ERROR,
    "the stock server lets in whoever has a certificate of any public authority, and ours does not "
    "start",
    "custom_ca, the authority that signs your clients: sealserve tls twoway",
)
OPEN: Final = Rule(
    "tls.open",
    Severity.ERROR,
    "the stock server lets every client in, and ours does not start",
    'sealserve tls twoway DOMAIN CLIENT, or, if that is meant, mode = "oneway"',
)
CLOSED: Final = Rule(
    "tls.closed",
    Severity.ERROR,
    "the stock server refuses every client without a certificate, and ours does not start",
    'sealserve tls oneway DOMAIN, or, if that is meant, mode = "mutual"',
)
DOMAIN: Final = Rule(
    "tls.domain",
    Severity.ERROR,
    "clients refuse it under the description's domain",
    "sealserve tls with that domain, or --san",
)
VALIDITY: Final = Rule("tls.validity", Severity.ERROR, "clients refuse it", "sealserve tls anew")
PATH: Final = Rule(
    "tls.path",
    Severity.ERROR,
    "no server opens it under the path that config in [tls] names",
    "sealserve seal --embed-path with that path, or config = the path that it is sealed for",
)
RULES: Final = (FORM, KEY, NO_AUTHORITY, OPEN, CLOSED, DOMAIN, VALIDITY, PATH)

_TEXTS: Final = frozenset({"server_key", "server_cert", "custom_ca"})
_SWITCHES: Final = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


@dataclass(frozen=True, slots=True)
class TlsFile:
    """What an ssl.cfg says; `findings` are those that need no description."""

    mode: Literal["oneway", "mutual"]
    names: tuple[str, ...]
    until: datetime | None
    findings: tuple[Weakness, ...]


@dataclass(slots=True)
class _Values:
    texts: dict[str, str] = field(default_factory=dict, repr=False)
    client_verify: bool = False


def read_tls_file(data: bytes, now: datetime) -> TlsFile:
    """What it says, and what is wrong with it; ConfigError with a line for what is no ssl.cfg."""
    values = _values(data)
    certificate, findings = _certificate(values)
    if certificate is not None:
        findings += _validity(certificate, now)
    if values.client_verify and not values.texts.get("custom_ca"):
        findings.append(_found(NO_AUTHORITY, "client_verify without custom_ca"))
    return TlsFile(
        "mutual" if values.client_verify else "oneway",
        tuple(map(_shown, dns_names(certificate))) if certificate else (),
        certificate.not_valid_after_utc if certificate else None,
        tuple(findings),
    )


def against(file: TlsFile, description: Description) -> Iterator[Weakness]:
    """Where the file is not what the description says."""
    if (meant := description.tls.mode) != file.mode:
        verify = "no client_verify" if meant == "mutual" else "client_verify"
        rule = OPEN if meant == "mutual" else CLOSED
        yield _found(rule, f'mode = "{meant}" in the description, and the file has {verify}')
    domain = description.domain
    if file.until is not None and not any(_covers(name, domain) for name in file.names):
        names = ", ".join(file.names[:4]) or "no host"
        yield _found(DOMAIN, f"the certificate is for {names}, and not for {domain}")


def at_path(embedded: str, description: Description) -> Iterator[Weakness]:
    """Where a sealed file would not be opened."""
    if embedded != description.tls.config:
        message = f"it is sealed for {_shown(embedded)}, and config is {description.tls.config}"
        yield _found(PATH, message)


def _shown(text: str) -> str:
    """So that no terminal obeys what a stranger wrote."""
    return ascii(text)[1:-1]


def _found(rule: Rule, message: str) -> Weakness:
    return Weakness(rule.severity, None, rule.code, message, rule.consequence, rule.cure)


def _values(data: bytes) -> _Values:
    hint = "sealserve tls makes one; of a sealed file, name the key with -w"
    try:
        fields = read_fields(data.decode())
    except UnicodeDecodeError:
        raise ConfigError("this is no ssl.cfg: not UTF-8 text", hint=hint) from None
    except ConfigError as error:
        raise ConfigError(f"this is no ssl.cfg: {error.message}", hint=hint) from None
    values = _Values()
    for line, name, value in fields:
        if name in _TEXTS and isinstance(value, str):
            values.texts[name] = value
        elif name == "client_verify" and isinstance(value, str) and value.lower() in _SWITCHES:
            values.client_verify = _SWITCHES[value.lower()]
        else:
            raise ConfigError(
                f"this is no ssl.cfg: line {line}: expected server_key, server_cert, custom_ca, "
                "each a text, or client_verify: true",
                hint=hint,
            )
    return values


def _certificate(values: _Values) -> tuple[x509.Certificate | None, list[Weakness]]:
    """The server's certificate, and what is wrong with it and its key."""
    key, chain = values.texts.get("server_key", ""), values.texts.get("server_cert", "")
    missing = [name for name in ("server_key", "server_cert") if not values.texts.get(name)]
    if missing:
        return None, [_found(FORM, f"{' and '.join(missing)} missing")]
    try:
        certificate = x509.load_pem_x509_certificates(chain.encode())[0]
        public = certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    except (ValueError, IndexError, UnsupportedAlgorithm, x509.InvalidVersion):
        return None, [_found(KEY, "server_cert is no certificate in PEM, or of an unknown kind")]
    try:
        private = load_pem_private_key(key.encode(), password=None).public_key()
        own = private.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return certificate, [
            _found(KEY, "server_key is no private key in PEM without password, or of another kind")
        ]
    if own != public:
        return certificate, [_found(KEY, "server_key is not the key of server_cert")]
    return certificate, []


def _validity(certificate: x509.Certificate, now: datetime) -> Iterator[Weakness]:
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > last:
        yield _found(VALIDITY, f"the certificate ended on {last.date()}")
    if now < first:
        yield _found(VALIDITY, f"the certificate begins on {first.date()}")


def _covers(name: str, domain: str) -> bool:
    """A name of a certificate stands for the domain; a star for its first label (RFC 6125)."""
    if name.startswith("*."):
        return domain.partition(".")[2].lower() == name[2:].lower()
    return name.lower() == domain.lower()
