"""ssl.cfg as the credentials of both faces: gRPC's own, and an SSLContext for REST.

One configuration, one meaning: TLS 1.2 or later, one certificate, and if clients must show one, the
same authority decides for both. The private key reaches the standard library's `ssl`, which only
takes paths, through a file in memory; gRPC takes it as it is.
"""

from __future__ import annotations

import hashlib
import ssl

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sealserve.errors import ConfigError
from sealserve.serving.memory import memory_file
from sealserve.serving.textconfig import TlsSettings

_HINT = "server_key and server_cert must be PEM and belong together, custom_ca be PEM"


def require_usable(settings: TlsSettings) -> None:
    """ConfigError unless key and certificates are PEM and belong together. gRPC would not say."""
    try:
        first, *_ = x509.load_pem_x509_certificates(settings.certificates)
        key = load_pem_private_key(settings.private_key, None)
        if settings.client_ca is not None:
            x509.load_pem_x509_certificates(settings.client_ca)
    except TypeError:  # the key, and it is encrypted
        raise _locked() from None
    except (ValueError, UnsupportedAlgorithm):
        raise _unusable("not PEM") from None
    if key.public_key() != first.public_key():
        raise _unusable("KEY_VALUES_MISMATCH")


def grpc_credentials(settings: TlsSettings) -> grpc.ServerCredentials:
    """Credentials for `grpc.aio.Server.add_secure_port`."""
    return grpc.ssl_server_credentials(
        [(settings.private_key, settings.certificates)],
        root_certificates=settings.client_ca,
        require_client_auth=settings.client_ca is not None,
    )


def ssl_context(settings: TlsSettings) -> ssl.SSLContext:
    """The same for an asyncio server. Raises ConfigError for PEM that does not fit together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        with memory_file("tls", [settings.private_key, b"\n", settings.certificates]) as path:
            context.load_cert_chain(path, password=_no_password)
        if settings.client_ca is not None:
            context.load_verify_locations(cadata=settings.client_ca.decode("ascii"))
            context.verify_mode = ssl.CERT_REQUIRED
    except (ssl.SSLError, UnicodeDecodeError) as error:
        reason = getattr(error, "reason", None) or "not PEM"
        raise _unusable(reason) from None
    return context


def fingerprint(settings: TlsSettings) -> str:
    """SHA-256 of the server's own certificate in DER, hex: what a client may pin."""
    first, _, _ = settings.certificates.decode("ascii").partition("-----END CERTIFICATE-----")
    pem = first[first.index("-----BEGIN") :] + "-----END CERTIFICATE-----"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def _no_password() -> bytes:
    # Without this OpenSSL asks at the terminal.
    raise _locked()


def _unusable(reason: str) -> ConfigError:
    return ConfigError(f"the TLS configuration cannot be used: {reason}", hint=_HINT)


def _locked() -> ConfigError:
    return ConfigError(
        "server_key is encrypted with a password, which nobody is there to type",
        hint="seal ssl.cfg instead: `sealserve seal`",
    )
