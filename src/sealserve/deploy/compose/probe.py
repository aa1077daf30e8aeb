"""Whether a service of a composition answers, as far as one who holds no key of it can tell.

A server is asked for a TLS handshake under its domain: it has a certificate only once the key was
released to it and ssl.cfg was opened, and listens only once its models are loaded. Who serves is
not judged here, for the description names no authority of clients' TLS; whoever has one asks more.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from sealserve.hosts import parse_address

Kind = Literal["tls", "tcp", "unix"]
Ask = Callable[[str, str], bool]
"""Whether the server at an address, under a name, serves."""

SECONDS = 5.0


def answers(address: str, kind: Kind, *, name: str = "") -> bool:
    """Whether somebody accepts a connection there, and with "tls" a handshake as `name`.

    `address` is host and port, or with "unix" the path of a socket.
    """
    try:
        if kind == "unix":
            _connect(Path(address))
            return True
        place = parse_address(address)
        with socket.create_connection((place.host, place.port), timeout=SECONDS) as connection:
            if kind == "tls":
                _context().wrap_socket(connection, server_hostname=name).close()
    except (OSError, ValueError):
        return False
    return True


def has_certificate(address: str, name: str) -> bool:
    """What anybody can ask a server."""
    return answers(address, "tls", name=name)


def _connect(path: Path) -> None:
    """By its folder's descriptor: a socket's path has at most 107 bytes."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(SECONDS)
            connection.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent: see above
    context.set_alpn_protocols(["h2"])
    return context
