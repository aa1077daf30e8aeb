"""Whether a service of a composition answers, as far as one who holds no key of it can tell.

A server is asked for a TLS handshake under its domain: it has a certificate only once the key was
released to it and ssl.cfg was opened, and listens only once its models are loaded. Who serves is
not judged here, for the description names no authority of clients' TLS: `sealserve predict` is.
"""

from __future__ import annotations

import socket
import ssl
from typing import Literal

from sealserve.hosts import Address

Kind = Literal["tls", "tcp"]

SECONDS = 5.0


def answers(address: Address, kind: Kind, *, name: str = "") -> bool:
    """Whether somebody accepts a connection there, and with "tls" a handshake as `name`."""
    place = (address.host, address.port)
    try:
        with socket.create_connection(place, timeout=SECONDS) as connection:
            if kind == "tls":
                _context().wrap_socket(connection, server_hostname=name).close()
    except (OSError, ValueError):
        return False
    return True


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent: see above
    context.set_alpn_protocols(["h2"])
    return context
