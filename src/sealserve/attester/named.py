"""Fetch several secrets by name from a key service, with the model records that belong to them.

1. A session with the first key service that is there (`sealserve.attester.connect`), in the
   protocol sealserve/1 or not at all.
2. Send the request, read the answer (`sealserve.attester.messages`).

As in `sealserve.attester.secrets`, one deadline holds for all of it, and no error or log line holds
any part of a secret.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealserve.attester.connect import Credentials, open_session
from sealserve.attester.deadline import Deadline
from sealserve.attester.messages import (
    ALPN,
    Answered,
    AnswerParser,
    NamedSecret,
    Unanswered,
    encode_request,
)
from sealserve.attester.ratls import RatlsIdentity
from sealserve.attester.secrets import FETCH_SECONDS
from sealserve.attester.tls import TlsClient
from sealserve.errors import DeniedError, NetworkError, OverloadedError
from sealserve.hosts import Address

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Provision:
    """What a key service gave: each name that was asked for is in `secrets` or in `denied`."""

    secrets: Mapping[str, NamedSecret]
    denied: tuple[str, ...]
    result: Mapping[str, object] | None
    """What our evidence was found to be, in the words of docs/formats.md."""

    @property
    def records(self) -> dict[str, bytes]:
        """The model records (JSON) of those secrets that have one."""
        return {
            name: secret.record
            for name, secret in self.secrets.items()
            if secret.record is not None
        }


def fetch_named(
    servers: str,
    names: Sequence[str],
    *,
    ca_file: Path,
    identity: RatlsIdentity,
    server_name: str | None = None,
    timeout: float = FETCH_SECONDS,
    required: Collection[str] | None = None,
) -> Provision:
    """The secrets `names`, as far as a key service releases them to this enclave.

    `servers`, `server_name` and `timeout` are as in `fetch_secret`. The names in `required`, by
    default all, must not be denied.

    Raises what `fetch_secret` does: DeniedError when a required secret is denied, whether there is
    none or not for us; OverloadedError, a NetworkError with `retry_after` in seconds, when the key
    service is busy; NetworkError (`undecided`) when it could not tell.
    """
    request = encode_request(names)
    deadline = Deadline(timeout, task="fetching secrets from the key service")
    credentials = Credentials(identity, ca_file, server_name)
    with open_session(servers, credentials, deadline, alpn=ALPN) as (session, server):
        session.send(request)
        answer = _read_answer(session, server, names)
    if isinstance(answer, Unanswered):
        raise _no_answer(server, answer)
    missing = [name for name in answer.denied if required is None or name in required]
    if missing:
        raise DeniedError(
            f"the key service {server} denies {', '.join(missing)}: it has no such secret, or not"
            " for this enclave",
            code="release-denied",
            hint=f"its audit log has the reason under evidence_sha256 {identity.evidence_digest}",
        )
    log.info("the key service at %s released %s", server, _listed(answer.secrets))
    return Provision(answer.secrets, answer.denied, answer.result)


def _read_answer(
    session: TlsClient, server: Address, names: Sequence[str]
) -> Answered | Unanswered:
    parser = AnswerParser(names)
    while data := session.receive():
        answer = parser.feed(data)
        if answer is not None:
            return answer
    where = "in the middle of its answer" if parser.started else "without an answer"
    raise NetworkError(f"{server} closed {where}")


def _no_answer(server: Address, answer: Unanswered) -> NetworkError:
    if answer.retry_after is None:
        return NetworkError(
            f"the key service {server} could not decide",
            code="undecided",
            hint="its log says why; try again",
        )
    return OverloadedError(
        f"the key service {server} is busy",
        hint=f"try again in {answer.retry_after:g} seconds",
        retry_after=answer.retry_after,
    )


def _listed(secrets: Mapping[str, NamedSecret]) -> str:
    """Names and version numbers, for the log."""
    return (
        ", ".join(
            f"{name} (version {', '.join(str(version.number) for version in secret.versions)})"
            for name, secret in secrets.items()
        )
        or "nothing"
    )
