"""A TLS session with one of several key services: the first that is there.

1. Connect: the servers are tried in order. One that cannot be connected to is passed over, and so
   is one from which not a byte comes in answer to TLS's first message: a copy that is just
   stopping, or a balancer that has none behind it. So far nothing has been asked of it.
2. TLS: verify the server by CA file and host name, show the RA-TLS certificate. From here on what
   happens is final, as in Gramine.

Each server that is silent costs its share of the time and no more.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sealserve.attester.deadline import Deadline
from sealserve.attester.ratls import RatlsIdentity
from sealserve.attester.tls import TlsClient, client_context
from sealserve.errors import NetworkError, UsageError
from sealserve.hosts import Address, parse_address

MAX_SERVERS = 16


@dataclass(frozen=True)
class Credentials:
    """What we show and whom we believe."""

    identity: RatlsIdentity
    ca_file: Path
    server_name: str | None
    """The name to ask under and to verify; None: the host connected to."""


def parse_servers(text: str) -> list[Address]:
    """The servers in `host:port;host:port`; an IPv6 address stands in brackets."""
    servers = [parse_address(part.strip()) for part in text.split(";") if part.strip()]
    if not 0 < len(servers) <= MAX_SERVERS:
        raise UsageError(
            f"{len(servers)} key services named, expected 1 to {MAX_SERVERS}",
            hint="write host:port, or host:port;host:port",
        )
    return servers


@contextlib.contextmanager
def open_session(
    servers: str, credentials: Credentials, deadline: Deadline, *, alpn: bytes | None = None
) -> Iterator[tuple[TlsClient, Address]]:
    """A session after its handshake, and the server that it is with; closed in the end.

    `alpn` is the protocol to insist on; None offers nothing.

    Raises UsageError, ConfigError; NetworkError when nobody answers, or not as the server that was
    named, or not in that protocol.
    """
    candidates = parse_servers(servers)
    stream, session, server = _connect(candidates, credentials, deadline, alpn)
    with stream:
        session.handshake()
        if alpn is not None and session.protocol != alpn:
            raise NetworkError(
                f"{server} does not speak {alpn.decode()}: it is an older key service, or none",
                code="protocol",
                hint="upgrade it, or ask in Gramine's protocol, without naming secrets",
            )
        yield session, server
        session.close()


def _connect(
    servers: list[Address], credentials: Credentials, deadline: Deadline, alpn: bytes | None
) -> tuple[socket.socket, TlsClient, Address]:
    """Step 1: the first server that is there."""
    failures = []
    for left, server in zip(range(len(servers), 0, -1), servers, strict=True):
        share = deadline.remaining() / left
        try:
            return *_greet(server, credentials, deadline, alpn, share), server
        except OSError as error:
            failures.append(f"{server} ({error.strerror or error})")
    raise NetworkError(
        f"no key service can be reached: {', '.join(failures)}",
        hint="is it running, and is the address right?",
    )


def _greet(
    server: Address,
    credentials: Credentials,
    deadline: Deadline,
    alpn: bytes | None,
    share: float,
) -> tuple[socket.socket, TlsClient]:
    """A connection to `server` on which it has begun to answer; raises OSError when it does not."""
    name = credentials.server_name or server.host
    context = client_context(credentials.identity, credentials.ca_file, server_name=name, alpn=alpn)
    end = time.monotonic() + share
    connect = partial(socket.create_connection, (server.host, server.port), timeout=share)
    stream = deadline.call(connect)
    try:
        session = TlsClient(context, stream, deadline, server_name=name)
        session.greet(max(end - time.monotonic(), 0))
    except BaseException:
        stream.close()
        raise
    return stream, session
