"""What a client shows and trusts in TLS, from PEM files or bytes.

Mistakes are found here, before anything connects: gRPC reports a key that does not fit its
certificate only as a server that is not available. Private keys are read from files that others
cannot (0600), and appear in no repr and no message. `cryptography` is imported where there is
something to check: plaintext and the public roots start without it.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from sealserve.errors import ConfigError, UsageError
from sealserve.files import read_file, read_secret

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAX_PEM = 1 << 20  # bytes; a bundle of all public roots has about 200 KiB

Pem = bytes | str | os.PathLike[str]
"""PEM itself as bytes, or the path of a file with it."""


@dataclass(frozen=True)
class Credentials:
    """PEM texts: the trusted roots (None: the public ones), and the client's own certificate."""

    ca: bytes | None = None
    certificate: bytes | None = None
    private_key: bytes | None = field(default=None, repr=False)

    def for_grpc(self) -> Any:
        """The same as gRPC channel credentials."""
        return grpc.ssl_channel_credentials(self.ca, self.private_key, self.certificate)

    def for_ssl(self, protocol: str = "h2") -> ssl.SSLContext:
        """The same as a context of the standard library that accepts what gRPC accepts.

        `protocol` is the one asked for by ALPN: HTTP/2 for gRPC, `http/1.1` for REST.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.hostname_checks_common_name = True
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.set_alpn_protocols([protocol])
        if self.ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cadata=self.ca.decode("ascii", "replace"))
        if self.certificate is not None and self.private_key is not None:
            with _in_memory(self.certificate + b"\n" + self.private_key) as path:
                context.load_cert_chain(path)
        return context


def load_credentials(
    ca: Pem | None, certificate: Pem | None, private_key: Pem | None
) -> Credentials:
    """Read and check the three; UsageError for half a pair, ConfigError for unusable content."""
    if (certificate is None) != (private_key is None):
        raise UsageError(
            "a client certificate and its private key go together, and only one was given",
            hint="give both for mutual TLS, neither for one-way TLS",
        )
    roots = None if ca is None else _read(ca)
    if roots is not None:
        _certificates(roots, "CA", ca)
    if certificate is None or private_key is None:
        return Credentials(ca=roots)
    chain = _read(certificate)
    key = _read(private_key, secret=True)
    _require_pair(_certificates(chain, "client", certificate)[0], key, private_key)
    return Credentials(ca=roots, certificate=chain, private_key=key)


def _read(source: Pem, *, secret: bool = False) -> bytes:
    if isinstance(source, bytes):
        return source
    if "-----BEGIN" in str(source):  # it must not be quoted as the name of an absent file
        raise UsageError("PEM was given where a path is expected", hint="PEM itself is bytes")
    read = read_secret if secret else read_file
    return read(Path(source), limit=MAX_PEM)


def _certificates(pem: bytes, role: str, source: Pem | None) -> list[Certificate]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ConfigError(
            f"no {role} certificate in {_origin(source)}; expected -----BEGIN CERTIFICATE-----"
        ) from error


def _require_pair(certificate: Certificate, key_pem: bytes, source: Pem) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    try:
        key = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(
            f"no usable private key in {_origin(source)}; expected unencrypted PEM"
        ) from None  # the cause might quote the key
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise ConfigError(f"the private key in {_origin(source)} is not the client certificate's")


def _origin(source: Pem | None) -> str:
    return "the bytes given" if isinstance(source, bytes) else str(source)


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path to `content` that is on no disk: the standard library takes keys only from files."""
    handle = os.memfd_create("sealserve-client", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(handle), "wb") as stream:
            stream.write(content)
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)
