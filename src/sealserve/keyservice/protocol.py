"""The server's end of Gramine's secret provisioning protocol, and what every protocol is here.

A `Conversation` is one session's request and answer, without I/O: Gramine's below, sealserve/1 in
`keyservice.named`. The session feeds it what the client sends and sends what it answers.

In Gramine's a session has one request, `REQUEST` with its NUL byte, and at most one answer. A
refusal has no message of its own: the server closes the session, and what it has to say is in its
audit log.

Encodings of a secret, a property of the rule that releases it: `raw` is its bytes as they are
(Gramine 1.3 and later, and ours), `hex` its hexadecimal digits and a NUL byte (Gramine until 1.2,
whose client ignores a raw key without a word).

Source: Gramine, `tools/sgx/ra-tls/secret_prov_verify.c`, client_connection(); 1.2's
`secret_prov_attest.c` for the hexadecimal form.
"""

from __future__ import annotations

from typing import Protocol

from sealserve.attester.protocol import LENGTH, REQUEST, RESPONSE, SECRET_LIMIT
from sealserve.errors import FormatError, NetworkError
from sealserve.keyservice.asking import Answer, Encoding, Outcome


class Conversation(Protocol):
    """One request and its answer, between bytes and decisions."""

    @property
    def names(self) -> tuple[str, ...] | None:
        """The secrets asked for by name, once the request is whole; None: by no name."""
        ...

    def feed(self, data: bytes) -> bool:
        """Whether the request is whole; raises FormatError when it is none."""
        ...

    def answer(self, answer: Answer) -> bytes:
        """What to send for `answer`; nothing, and the close is the answer.

        Raises NetworkError (`undecided`) when a decision in it is none.
        """
        ...

    def apology(self, retry_after: float | None) -> bytes:
        """What to send when nothing could be decided; nothing, and the connection just ends."""
        ...


class GramineConversation:
    """Gramine's protocol: it knows the one request, and one secret or none."""

    names = None

    def __init__(self) -> None:
        self._request = RequestParser()

    def feed(self, data: bytes) -> bool:
        """As `RequestParser`."""
        return self._request.feed(data)

    def answer(self, answer: Answer) -> bytes:
        """The current version of the one secret, or nothing for a denial."""
        require_decided(answer)
        release = answer.decisions[0].release
        if release is None:
            return b""
        return encode_answer(release.versions[0].reveal(), release.encoding)

    def apology(self, retry_after: float | None) -> bytes:
        """There is no such message."""
        return b""


class RequestParser:
    """Collects a request from pieces of any size, and refuses it at the first wrong byte."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> bool:
        """Whether the request is whole; raises FormatError when it is another one or longer."""
        self._received += data
        if not REQUEST.startswith(self._received):
            raise FormatError("the client asks in another protocol than Gramine's", code="request")
        return len(self._received) == len(REQUEST)


def require_decided(answer: Answer) -> None:
    """Raise NetworkError (`undecided`) unless every decision in `answer` is one."""
    if any(decision.outcome is Outcome.FAILED for decision in answer.decisions):
        raise NetworkError("no decision was possible", code="undecided")


def encode_answer(secret: bytes, encoding: Encoding) -> bytes:
    """The whole answer that carries `secret`, of 1 to SECRET_LIMIT bytes once it is encoded."""
    payload = secret if encoding == "raw" else secret.hex().encode("ascii") + b"\0"
    if not 0 < len(payload) <= SECRET_LIMIT:
        raise ValueError(f"a secret of {len(payload)} bytes cannot be sent")
    return RESPONSE + LENGTH.pack(len(payload)) + payload
