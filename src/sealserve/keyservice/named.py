"""The server's end of the protocol `sealserve/1`, without I/O: secrets by name, several at once.

One request and one answer a session: a session is one decision, at one time and by one set of
rules, and the evidence that it rests on is not believed for longer. Who wants more connects again.

A secret that does not exist and one that the client is not entitled to are told in the same way,
by their names in `denied`, in the order in which they were asked for, without a reason.

Layout and limits: `sealserve.attester.messages`, docs/formats.md.
"""

from __future__ import annotations

import base64
import json

from sealserve.attester.messages import (
    ANSWER_LIMIT,
    FRAME,
    MARKS_LIMIT,
    NAME,
    NAMES_LIMIT,
    REQUEST_LIMIT,
    RETRY_LIMIT,
    FrameParser,
    count_marks,
    malformed,
    read_message,
)
from sealserve.errors import NetworkError
from sealserve.keyservice.asking import Answer, Release
from sealserve.keyservice.protocol import require_decided


class NamedConversation:
    """One request by names, and its answer."""

    def __init__(self) -> None:
        self._frame = FrameParser(REQUEST_LIMIT)
        self.names: tuple[str, ...] | None = None

    def feed(self, data: bytes) -> bool:
        """Whether the request is whole; raises FormatError (`message`) when it is none."""
        text = self._frame.feed(data)
        if text is not None:
            self.names = parse_request(text)
        return self.names is not None

    def answer(self, answer: Answer) -> bytes:
        """The message with every secret that was released and the names of the others."""
        require_decided(answer)
        text = encode_named_answer(answer)
        message = _message(text)
        if len(message) > FRAME.size + ANSWER_LIMIT or count_marks(text) > MARKS_LIMIT:
            raise NetworkError(
                f"the answer has {len(message)} bytes, more than clients take",
                code="answer-size",
                hint="let clients ask for fewer secrets at a time, or make their records smaller",
            )
        return message

    def apology(self, retry_after: float | None) -> bytes:
        """`busy` where it is known when to ask again, else `undecided`."""
        if retry_after is None:
            return _message('{"outcome":"undecided"}')
        seconds = round(min(max(retry_after, 0.0), RETRY_LIMIT), 3)
        return _message(f'{{"outcome":"busy","retry_after_seconds":{seconds}}}')


def parse_request(text: str) -> tuple[str, ...]:
    """The names in a request, in its order; raises FormatError (`message`)."""
    if text.count("{") > 1 or text.count("[") > 1:  # so that nothing deep is ever parsed
        raise malformed("a request is one object with one list")
    message = read_message(text)
    names = message.get("secrets")
    if message.keys() != {"secrets"} or not isinstance(names, list):
        raise malformed("a request has secrets, a list")
    if not 0 < len(names) <= NAMES_LIMIT:
        raise malformed(f"it asks for {len(names)} secrets; 1 to {NAMES_LIMIT} are allowed")
    if not all(isinstance(name, str) and NAME.fullmatch(name) for name in names):
        raise malformed("a name of a secret is not one")
    if len(set(names)) < len(names):
        raise malformed("it asks for a secret twice")
    return tuple(names)


def encode_named_answer(answer: Answer) -> str:
    """The JSON for decisions that were made, each about a secret that was asked for by name."""
    released = [
        f"{json.dumps(decision.name)}:{_secret(decision.release)}"
        for decision in answer.decisions
        if decision.release is not None
    ]
    denied = [decision.name for decision in answer.decisions if decision.release is None]
    return (
        f'{{"outcome":"answered","secrets":{{{",".join(released)}}}'
        f',"denied":{json.dumps(denied)},"result":{json.dumps(answer.result)}}}'
    )


def _secret(release: Release) -> str:
    """Its versions, and its record as it is: JSON already."""
    versions = ",".join(
        f'{{"version":{secret.version},"value":"{base64.b64encode(secret.reveal()).decode()}"}}'
        for secret in release.versions
    )
    record = "null" if release.record is None else release.record.decode("utf-8")
    return f'{{"versions":[{versions}],"record":{record}}}'


def _message(text: str) -> bytes:
    body = text.encode("utf-8")
    return FRAME.pack(len(body)) + body
