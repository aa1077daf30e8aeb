"""Why a server cannot be reached: a short look at one address with the standard library's TLS.

gRPC says UNAVAILABLE for a closed port, a wrong name, an unknown CA and a missing client
certificate alike. `diagnose` connects once more with the same credentials and tells them apart by
what TLS itself says (alerts: RFC 8446 section 6.2; verification: OpenSSL's X509_V_ERR codes). It
sends no request, waits no longer than it is told, and never changes what the client trusts.
"""

from __future__ import annotations

import socket
import ssl
import time
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from sealserve.client import findings
from sealserve.client.credentials import Credentials
from sealserve.client.findings import Finding
from sealserve.hosts import Address

_EXPIRED, _NOT_YET_VALID = 10, 9  # X509_V_ERR_CERT_HAS_EXPIRED, ..._NOT_YET_VALID
_NAME_MISMATCH = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, ..._IP_ADDRESS_MISMATCH
# X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, ..._CERT_SIGNATURE_FAILURE, ..._DEPTH_ZERO_SELF_SIGNED_CERT,
# ..._SELF_SIGNED_CERT_IN_CHAIN, ..._UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
# ..._UNABLE_TO_VERIFY_LEAF_SIGNATURE
_UNKNOWN_CA = (2, 7, 18, 19, 20, 21)
# Parts of OpenSSL's names for the alerts and errors of each kind.
_ABOUT_OUR_CERTIFICATE = ("CERTIFICATE", "UNKNOWN_CA", "DECRYPT_ERROR", "ACCESS_DENIED")
_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER", "PACKET_LENGTH_TOO_LONG")


def diagnose(
    address: Address, credentials: Credentials | None, name: str, *, timeout: float
) -> Finding | None:
    """The reason why `address` does not serve us, None if nothing is wrong with it now.

    `name` is the one that its certificate has to carry; `credentials=None` is plaintext.
    """
    deadline = time.monotonic() + timeout
    try:
        connection = socket.create_connection((address.host, address.port), timeout)
    except ConnectionRefusedError:
        return findings.refused(address)
    except TimeoutError:
        return findings.silent(address, "the connection")
    except socket.gaierror:
        return findings.unresolved(address.host)
    except OSError as error:
        return findings.unreachable(address, error.strerror or "no route")
    with connection:
        if credentials is None:
            return _diagnose_plaintext(connection, address, deadline)
        return _diagnose_tls(connection, address, credentials, name, deadline)


def _diagnose_tls(
    connection: socket.socket,
    address: Address,
    credentials: Credentials,
    name: str,
    deadline: float,
) -> Finding | None:
    try:
        _wait_until(connection, deadline)
        with credentials.for_ssl().wrap_socket(connection, server_hostname=name) as tls:
            return _verdict(tls, address, credentials, deadline)
    except ssl.SSLCertVerificationError as error:
        return _distrusted(error, address, credentials, name, deadline)
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):  # which of them, OpenSSL's version decides
        return findings.closed(address, name)
    except ssl.SSLError as error:
        return _alerted(error, address, credentials)
    except TimeoutError:
        return findings.silent(address, "the TLS handshake")
    except OSError:
        return findings.closed(address, name)


def _verdict(
    tls: ssl.SSLSocket, address: Address, credentials: Credentials, deadline: float
) -> Finding | None:
    """What the server says once our side of the handshake is done.

    Only then does it judge the client's certificate (RFC 8446 section 4.4.2.4). A gRPC server
    that accepts it speaks first (SETTINGS); one that does not, closes, with an alert or without.
    """
    if tls.selected_alpn_protocol() != "h2":
        return findings.speaks_no_grpc(address)
    try:
        _wait_until(tls, deadline)
        accepted = bool(tls.recv(1))
    except (ssl.SSLEOFError, ConnectionError):
        accepted = False
    except TimeoutError:
        return None
    if accepted:
        return None
    return _client_not_accepted(address, credentials, "it closed the connection")


def _diagnose_plaintext(
    connection: socket.socket, address: Address, deadline: float
) -> Finding | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the only question is whether it speaks TLS at all
    try:
        _wait_until(connection, deadline)
        with context.wrap_socket(connection):
            return findings.speaks_tls(address)
    except OSError:
        return None


def _wait_until(connection: socket.socket, deadline: float) -> None:
    connection.settimeout(max(0.01, deadline - time.monotonic()))


def _distrusted(
    error: ssl.SSLCertVerificationError,
    address: Address,
    credentials: Credentials,
    name: str,
    deadline: float,
) -> Finding:
    code = error.verify_code
    if code in _NAME_MISMATCH:
        certified = _certified_names(address, credentials, deadline)
        return findings.wrong_name(address, name, certified)
    if code == _EXPIRED:
        return findings.expired(address)
    if code == _NOT_YET_VALID:
        return findings.not_yet_valid(address)
    if code in _UNKNOWN_CA:
        trusted = "the public roots" if credentials.ca is None else "the CA given"
        return findings.unknown_ca(address, trusted=trusted)
    return findings.bad_certificate(address, error.verify_message)


def _certified_names(address: Address, credentials: Credentials, deadline: float) -> str:
    """The names in a certificate that verifies but for its name; empty if it is not to be had."""
    context = credentials.for_ssl()
    context.check_hostname = False
    left = max(0.01, deadline - time.monotonic())
    try:
        with (
            socket.create_connection((address.host, address.port), left) as connection,
            context.wrap_socket(connection) as tls,
        ):
            certificate: dict[str, Any] = dict(tls.getpeercert() or {})
    except OSError:
        return ""
    return ", ".join(str(name[1]) for name in certificate.get("subjectAltName", ()))


def _alerted(error: ssl.SSLError, address: Address, credentials: Credentials) -> Finding:
    reason = error.reason or ""
    # Before TLS 1.3 there is no alert of its own for a missing certificate.
    if "HANDSHAKE_FAILURE" in reason and credentials.certificate is None:
        return _client_not_accepted(address, credentials, reason)
    if any(word in reason for word in _ABOUT_OUR_CERTIFICATE):
        return _client_not_accepted(address, credentials, reason)
    if any(word in reason for word in _NOT_TLS):
        return findings.speaks_no_tls(address)
    return findings.failed_handshake(address, reason)


def _client_not_accepted(address: Address, credentials: Credentials, reason: str) -> Finding:
    if credentials.certificate is None:
        return findings.client_certificate_required(address, reason)
    end = x509.load_pem_x509_certificate(credentials.certificate).not_valid_after_utc
    return findings.client_certificate_refused(
        address, end if end < datetime.now(UTC) else None, reason
    )
