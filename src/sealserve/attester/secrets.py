"""Fetch a secret from a key service, as Gramine's client library does.

1. Connect: the servers are tried in order until one *connects*; what happens then is final, as in
   Gramine.
2. TLS: verify the server by CA file and host name, show the RA-TLS certificate.
3. Send the request, read the answer (`sealserve.attester.protocol`).

One deadline holds for all of it. The secret is returned and kept nowhere; no error or log line of
this module holds any part of an answer.

Source: Gramine, `tools/sgx/ra-tls/secret_prov_attest.c`, secret_provision_start().
"""

from __future__ import annotations

import logging
import socket
from functools import partial
from pathlib import Path

from sealserve.attester.deadline import Deadline
from sealserve.attester.protocol import REQUEST, ResponseParser
from sealserve.attester.ratls import RatlsIdentity
from sealserve.attester.tls import TlsClient, client_context
from sealserve.errors import DeniedError, NetworkError, UsageError
from sealserve.hosts import Address, parse_address

FETCH_SECONDS = 60.0
MAX_SERVERS = 16

log = logging.getLogger(__name__)


def fetch_secret(
    servers: str,
    *,
    ca_file: Path,
    identity: RatlsIdentity,
    server_name: str | None = None,
    timeout: float = FETCH_SECONDS,
) -> bytes:
    """The secret that a key service releases to this enclave.

    `servers` is `host:port`, or several with `;` between them. `server_name` is the name to ask
    under and to verify, by default the host connected to. `timeout` is in seconds, in total.

    Raises UsageError, ConfigError; NetworkError when nobody answers, or not as the server that was
    named; FormatError for an answer that is not Gramine's; DeniedError when the key service closes
    the session without a secret.
    """
    candidates = parse_servers(servers)
    deadline = Deadline(timeout, task="fetching a secret from the key service")
    stream, server = _connect(candidates, deadline)
    with stream:
        name = server_name or server.host
        context = client_context(identity, ca_file, server_name=name)
        session = TlsClient(context, stream, deadline, server_name=name)
        session.handshake()
        session.send(REQUEST)
        secret = _read_answer(session, server, identity)
        session.close()
    log.info("the key service at %s released a secret of %d bytes", server, len(secret))
    return secret


def parse_servers(text: str) -> list[Address]:
    """The servers in `host:port;host:port`; an IPv6 address stands in brackets."""
    servers = [parse_address(part.strip()) for part in text.split(";") if part.strip()]
    if not 0 < len(servers) <= MAX_SERVERS:
        raise UsageError(
            f"{len(servers)} key services named, expected 1 to {MAX_SERVERS}",
            hint="write host:port, or host:port;host:port",
        )
    return servers


def _connect(servers: list[Address], deadline: Deadline) -> tuple[socket.socket, Address]:
    """The first server that connects; a silent one costs its share of the time and no more."""
    failures = []
    for left, server in zip(range(len(servers), 0, -1), servers, strict=True):
        share = deadline.remaining() / left
        connect = partial(socket.create_connection, (server.host, server.port), timeout=share)
        try:
            return deadline.call(connect), server
        except OSError as error:
            failures.append(f"{server} ({error.strerror or error})")
    raise NetworkError(
        f"no key service can be reached: {', '.join(failures)}",
        hint="is it running, and is the address right?",
    )


def _read_answer(session: TlsClient, server: Address, identity: RatlsIdentity) -> bytes:
    parser = ResponseParser()
    while data := session.receive():
        secret = parser.feed(data)
        if secret is not None:
            return secret
    if parser.started:
        raise NetworkError(f"{server} closed in the middle of its answer")
    raise DeniedError(
        f"the key service {server} closed the session without a secret: it did"
        " not accept this enclave",
        code="release-denied",
        hint=f"its audit log has the reason under evidence_sha256 {identity.evidence_digest}",
    )
