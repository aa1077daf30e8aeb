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
from dataclasses import dataclass
from typing import Any

from sealserve.client.credentials import Credentials
from sealserve.hosts import Address

MAX_SHOWN = 300  # characters of a peer's text

_EXPIRED, _NOT_YET_VALID = 10, 9  # X509_V_ERR_CERT_HAS_EXPIRED, ..._NOT_YET_VALID
_NAME_MISMATCH = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, ..._IP_ADDRESS_MISMATCH
# X509_V_ERR_CERT_SIGNATURE_FAILURE, ..._DEPTH_ZERO_SELF_SIGNED_CERT, ..._SELF_SIGNED_CERT_IN_CHAIN,
# ..._UNABLE_TO_GET_ISSUER_CERT(_LOCALLY), ..._UNABLE_TO_VERIFY_LEAF_SIGNATURE
_UNKNOWN_CA = (7, 18, 19, 2, 20, 21)


@dataclass(frozen=True)
class Finding:
    """A reason with a stable code, in words, and what to do."""

    code: str
    message: str
    hint: str


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
        return Finding(
            "network.refused",
            f"nothing listens on {address}",
            "check host and port, and whether the server runs",
        )
    except TimeoutError:
        return _silent(address, "the connection")
    except socket.gaierror:
        return _unresolved(address)
    except OSError as error:
        return Finding(
            "network.unreachable",
            f"{address} cannot be reached: {error.strerror}",
            "check the address and the network",
        )
    with connection:
        if credentials is None:
            return None
        return _diagnose_tls(connection, address, credentials, name, deadline)


def _diagnose_tls(
    connection: socket.socket,
    address: Address,
    credentials: Credentials,
    name: str,
    deadline: float,
) -> Finding | None:
    context = credentials.for_ssl()
    try:
        _wait_until(connection, deadline)
        with context.wrap_socket(connection, server_hostname=name) as tls:
            # In TLS 1.3 a server judges the client's certificate after our handshake is over. A
            # gRPC server speaks first (SETTINGS), so its first byte or its alert is its verdict.
            _wait_until(tls, deadline)
            if not tls.recv(1):
                return _closed(address, name)
            return _missing_http2(address) if tls.selected_alpn_protocol() != "h2" else None
    except ssl.SSLCertVerificationError as error:
        return _distrusted(error, address, credentials, name, deadline)
    except ssl.SSLEOFError:
        return _closed(address, name)
    except ssl.SSLError as error:
        return _alerted(error, address, has_certificate=credentials.certificate is not None)
    except TimeoutError:
        return _silent(address, "the TLS handshake")
    except OSError:
        return _closed(address, name)


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
        found = _certified_names(address, credentials, deadline)
        return Finding(
            "network.tls.name-mismatch",
            f"the certificate of {address} is not for {name}"
            + (f" but for {found}" if found else ""),
            "connect by a name that the certificate carries, or give that as the server name",
        )
    if code == _EXPIRED:
        return Finding(
            "network.tls.expired",
            f"the certificate of {address} has expired",
            "the server needs a new certificate; check this machine's clock too",
        )
    if code == _NOT_YET_VALID:
        return Finding(
            "network.tls.not-yet-valid",
            f"the certificate of {address} is not valid yet",
            "check the clocks of this machine and of the server",
        )
    if code in _UNKNOWN_CA:
        trusted = "the public roots" if credentials.ca is None else "the CA given"
        return Finding(
            "network.tls.unknown-ca",
            f"the certificate of {address} is not signed by {trusted}",
            "give the CA of this service (ca_cert.pem; in one-way mode server/cert.pem)",
        )
    return Finding(
        "network.tls.certificate",
        f"the certificate of {address} is not accepted: {shown(error.verify_message)}",
        "the server needs another certificate",
    )


def _certified_names(address: Address, credentials: Credentials, deadline: float) -> str:
    """The names in a certificate that verifies but for its name; empty if it is not to be had."""
    context = credentials.for_ssl()
    context.check_hostname = False
    try:
        left = max(0.01, deadline - time.monotonic())
        with (
            socket.create_connection((address.host, address.port), left) as connection,
            context.wrap_socket(connection) as tls,
        ):
            certificate: dict[str, Any] = dict(tls.getpeercert() or {})
    except OSError:
        return ""
    return shown(", ".join(str(name[1]) for name in certificate.get("subjectAltName", ())))


def _alerted(error: ssl.SSLError, address: Address, *, has_certificate: bool) -> Finding:
    reason = error.reason or ""
    refusal = any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "DECRYPT", "DENIED"))
    # Before TLS 1.3 there is no alert of its own for a missing certificate.
    missing = "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason
    if (missing or refusal) and not has_certificate:
        return Finding(
            "network.tls.client-certificate-required",
            f"{address} demands a client certificate, and none was given",
            "give a certificate and its key (client/cert.pem, client/key.pem)",
        )
    if refusal:
        return Finding(
            "network.tls.client-certificate-refused",
            f"{address} does not accept our client certificate ({shown(reason)})",
            "give one that the server's CA signed and that has not expired",
        )
    if "WRONG_VERSION_NUMBER" in reason or "HTTP_REQUEST" in reason or "RECORD" in reason:
        return Finding(
            "network.tls.not-tls",
            f"{address} does not speak TLS",
            "check the port: 8500 is gRPC, 8501 REST; the server may have been started without TLS",
        )
    return Finding(
        "network.tls.handshake",
        f"the TLS handshake with {address} failed ({shown(reason)})",
        "check that client and server share a TLS version and cipher suite",
    )


def _missing_http2(address: Address) -> Finding:
    return Finding(
        "network.tls.not-grpc",
        f"{address} speaks TLS but not HTTP/2, so it is no gRPC server",
        "check the port: 8500 is gRPC, 8501 REST",
    )


def _closed(address: Address, name: str) -> Finding:
    return Finding(
        "network.tls.closed",
        f"{address} closed the connection while TLS began",
        f"an edge does so when it has no route for {name}, or when no replica answers behind it",
    )


def _silent(address: Address, what: str) -> Finding:
    return Finding(
        "network.timeout",
        f"{address} did not answer {what} in time",
        "check the address, and that no firewall drops the packets",
    )


def _unresolved(address: Address) -> Finding:
    return Finding(
        "network.name-resolution",
        f"the host name {address.host} cannot be resolved",
        "check the name; with a server name given, a target may also be an IP address",
    )


def shown(text: str) -> str:
    """A peer's text, fit to be shown: bounded, on one line, without control characters."""
    return "".join(char if char.isprintable() else " " for char in text[:MAX_SHOWN])
