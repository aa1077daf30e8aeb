"""What a session asks the decision, and what it is told: the values between the two.

A session knows bytes and a certificate, the decision (`sealserve.keyservice.service`) knows
evidence, policy and the log. Only a `Release` holds secrets, and there is none without a `Receipt`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NoReturn, Protocol, TypeAlias

Encoding: TypeAlias = Literal["raw", "hex"]


class Outcome(StrEnum):
    """How a request for one secret ended."""

    RELEASED = "released"
    DENIED = "denied"  # verified, and refused by the policy
    REJECTED = "rejected"  # malformed or unverifiable
    FAILED = "failed"  # we could not tell: no collateral, say


class Secret:
    """A named value that does not show itself: not in a repr, a log, an exception or a pickle."""

    __slots__ = ("_value", "name", "version")

    def __init__(self, name: str, version: int, value: bytes) -> None:
        self.name = name
        self.version = version
        self._value = value

    def reveal(self) -> bytes:
        """The value itself, for the one who sends it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, version {self.version}, {len(self._value)} bytes)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


@dataclass(frozen=True)
class Ask:
    """One session's request: who asks, under which name, with which certificate, for what."""

    request_id: str
    peer: str
    server_name: str | None
    """The host name that the client asked under (SNI), lower case."""
    certificate: bytes = field(repr=False)
    """DER."""
    names: tuple[str, ...] | None = None
    """The secrets asked for by name; None in Gramine's protocol, which names none."""


@dataclass(frozen=True)
class Receipt:
    """Where a record stands in the log: its index from 0, and its leaf hash in hex."""

    index: int
    leaf_hash: str


@dataclass(frozen=True)
class Release:
    """A secret on its way out: its current version first, then older ones still in use."""

    versions: tuple[Secret, ...]
    encoding: Encoding
    record: bytes | None
    """The model record that belongs to it (`sealserve.sealing.record`), canonical JSON."""


@dataclass(frozen=True)
class Decision:
    """What was decided about one secret, on record; `release` is None unless it was released."""

    name: str | None
    outcome: Outcome
    code: str
    receipt: Receipt
    release: Release | None


@dataclass(frozen=True)
class Answer:
    """The decisions of one session, in the order of `Ask.names`, one where nothing was named."""

    decisions: tuple[Decision, ...]
    result: dict[str, object] | None
    """What the evidence was found to be, for the one who showed it; None where it did not verify.

    `simulated`, `trust_root_sha256`, `issuer`, `tcb_status`, `advisory_ids`, `policy_sha256`,
    `evidence_sha256`, `verified_at` (`sealserve.keyservice.deciding.result`).
    """


class Releaser(Protocol):
    """Whoever decides; `sealserve.keyservice.service.KeyService` does."""

    async def release(self, ask: Ask) -> Answer:
        """The answer to one session, on record.

        Raises AuditError where there is no record, OverloadedError where no place is free.
        """
        ...
