"""What can be wrong between a client and a server: stable codes, words, and what to do.

Only words live here. A peer's text comes in through `shown`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sealserve.hosts import Address

MAX_SHOWN = 300  # characters of a peer's text


@dataclass(frozen=True)
class Finding:
    """A reason with a stable code, in words, and what to do."""

    code: str
    message: str
    hint: str


def shown(text: str) -> str:
    """A peer's text, fit to be shown: bounded, on one line, without control characters."""
    return "".join(char if char.isprintable() else " " for char in text[:MAX_SHOWN])


def refused(address: Address) -> Finding:
    """The port is closed."""
    return Finding(
        "network.refused",
        f"nothing listens on {address}",
        "check host and port, and whether the server runs",
    )


def unreachable(address: Address, reason: str) -> Finding:
    """No way to the address."""
    return Finding(
        "network.unreachable",
        f"{address} cannot be reached: {shown(reason)}",
        "check the address and the network",
    )


def unresolved(host: str) -> Finding:
    """The host name has no address."""
    return Finding(
        "network.name-resolution",
        f"the host name {host} cannot be resolved",
        "check the name; with a server name given, a target may also be an IP address",
    )


def silent(address: Address, what: str) -> Finding:
    """Nothing came back in time."""
    return Finding(
        "network.timeout",
        f"{address} did not answer {what} in time",
        "check the address, and that no firewall drops the packets",
    )


def closed(address: Address, name: str) -> Finding:
    """The connection ended before the server had shown a certificate."""
    return Finding(
        "network.tls.closed",
        f"{address} closed the connection while TLS began",
        f"an edge does so that has no route for {name} or no replica that answers;"
        " a server of TLS 1.2 for want of a client certificate that it accepts",
    )


def speaks_no_tls(address: Address) -> Finding:
    """A plaintext server, where TLS was asked for."""
    return Finding(
        "network.tls.not-tls",
        f"{address} does not speak TLS",
        "check the port: 8500 is gRPC, 8501 REST; the server may run without TLS",
    )


def speaks_tls(address: Address) -> Finding:
    """A TLS server, where plaintext was asked for."""
    return Finding(
        "network.tls.expected",
        f"{address} speaks TLS, and this client was told to use plaintext",
        "use TLS: name the CA of the service instead",
    )


def speaks_no_grpc(address: Address) -> Finding:
    """A TLS server without HTTP/2."""
    return Finding(
        "network.tls.not-grpc",
        f"{address} speaks TLS but not HTTP/2, so it is no gRPC server",
        "check the port: 8500 is gRPC, 8501 REST",
    )


def failed_handshake(address: Address, reason: str) -> Finding:
    """An alert of no other kind."""
    return Finding(
        "network.tls.handshake",
        f"the TLS handshake with {address} failed ({shown(reason)})",
        "check that client and server share a TLS version and cipher suite",
    )


def wrong_name(address: Address, name: str, certified: str) -> Finding:
    """A trusted certificate of another name; `certified` lists its names, where known."""
    return Finding(
        "network.tls.name-mismatch",
        f"the certificate of {address} is not for {name}"
        + (f" but for {shown(certified)}" if certified else ""),
        "connect by a name that the certificate carries, or give that as the server name",
    )


def expired(address: Address) -> Finding:
    """The server's certificate is too old."""
    return Finding(
        "network.tls.expired",
        f"the certificate of {address} has expired",
        "the server needs a new certificate; check this machine's clock too",
    )


def not_yet_valid(address: Address) -> Finding:
    """The server's certificate is too new."""
    return Finding(
        "network.tls.not-yet-valid",
        f"the certificate of {address} is not valid yet",
        "check the clocks of this machine and of the server",
    )


def unknown_ca(address: Address, *, trusted: str) -> Finding:
    """The server's certificate leads to no trusted root."""
    return Finding(
        "network.tls.unknown-ca",
        f"the certificate of {address} is not signed by {trusted}",
        "give the CA of this service (ca_cert.pem; in one-way mode server/cert.pem)",
    )


def bad_certificate(address: Address, reason: str) -> Finding:
    """The server's certificate fails another check."""
    return Finding(
        "network.tls.certificate",
        f"the certificate of {address} is not accepted: {shown(reason)}",
        "the server needs another certificate",
    )


def client_certificate_required(address: Address, reason: str) -> Finding:
    """A server of mutual TLS, and a client without a certificate."""
    return Finding(
        "network.tls.client-certificate-required",
        f"{address} demands a client certificate, and none was given ({shown(reason)})",
        "give a certificate and its key (client/cert.pem, client/key.pem)",
    )


def client_certificate_refused(address: Address, end: datetime | None, reason: str) -> Finding:
    """A client certificate that the server does not accept; `end` is set if it has expired."""
    expiry = f", which expired on {end:%Y-%m-%d}" if end else ""
    return Finding(
        "network.tls.client-certificate-refused",
        f"{address} does not accept our client certificate{expiry} ({shown(reason)})",
        "give one for clients that the server's CA signed and that has not expired",
    )
