"""Fetch a secret from a key service, as Gramine's client library does.

1. A session with the first key service that is there (`sealserve.attester.connect`).
2. Send the request, read the answer (`sealserve.attester.protocol`).

One deadline holds for all of it. The secret is returned and kept nowhere; no error or log line of
this module holds any part of an answer.

Source: Gramine, `tools/sgx/ra-tls/secret_prov_attest.c`, secret_provision_start().
"""

from __future__ import annotations

import logging
from pathlib import Path

from sealserve.attester.connect import Credentials, open_session
from sealserve.attester.deadline import Deadline
from sealserve.attester.protocol import REQUEST, ResponseParser
from sealserve.attester.ratls import RatlsIdentity
from sealserve.attester.tls import TlsClient
from sealserve.errors import DeniedError, NetworkError
from sealserve.hosts import Address

FETCH_SECONDS = 60.0

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
    deadline = Deadline(timeout, task="fetching a secret from the key service")
    credentials = Credentials(identity, ca_file, server_name)
    with open_session(servers, credentials, deadline) as (session, server):
        session.send(REQUEST)
        secret = _read_answer(session, server, identity)
    log.info("the key service at %s released a secret of %d bytes", server, len(secret))
    return secret


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
