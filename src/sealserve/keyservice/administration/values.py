"""What can be done to a key service, whoever does it and from wherever.

`Administration` is done to the database itself (`local`), or over HTTPS by the admin API, which
calls the same (`remote`). Every change is a record in the log, takes effect for the next release in
every copy, and says who made it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from sealserve.errors import UsageError
from sealserve.keyservice.store.secrets import SecretFacts

PAGE: Final = 1000  # records in one answer
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Role(StrEnum):
    """What a person may do: an owner everything, an auditor read, an operator see how it runs."""

    OWNER = "owner"
    AUDITOR = "auditor"
    OPERATOR = "operator"


class TargetKind(StrEnum):
    """What can be revoked."""

    MEASUREMENT = "measurement"
    SIGNER = "signer"
    PLATFORM = "platform"
    SECRET = "secret"  # noqa: S105  (a word, not a password)


_DIGITS: Final = {
    TargetKind.MEASUREMENT: (64, 96),
    TargetKind.SIGNER: (64,),
    TargetKind.PLATFORM: (32,),
}
_SECRET: Final = re.compile(rf"{NAME.pattern}(@[1-9][0-9]{{0,5}})?")


@dataclass(frozen=True, order=True)
class Target:
    """One thing that is or can be revoked: hex digits, or `NAME` or `NAME@VERSION` of a secret."""

    kind: TargetKind
    value: str

    @classmethod
    def parse(cls, kind: str, value: str) -> Target:
        """Raises UsageError for what names nothing that could be revoked."""
        try:
            known = TargetKind(kind)
        except ValueError:
            kinds = ", ".join(TargetKind)
            raise UsageError(f"{kind!r:.100} cannot be revoked: expected {kinds}") from None
        if known is TargetKind.SECRET:
            if _SECRET.fullmatch(value) is None:
                raise UsageError(f"{value!r:.140} is no secret: expected NAME or NAME@VERSION")
            return cls(known, value)
        text = value.lower()
        if len(text) not in _DIGITS[known] or re.fullmatch("[0-9a-f]*", text) is None:
            sizes = " or ".join(map(str, _DIGITS[known]))
            raise UsageError(f"{value!r:.100} is no {known}: expected {sizes} hex digits")
        return cls(known, text)

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


@dataclass(frozen=True)
class PolicyFacts:
    """The policy in force; no text before the first is applied."""

    text: str | None
    sha256: str | None
    revision: int
    applied_at: datetime | None
    applied_by: str | None


@dataclass(frozen=True)
class DryRun:
    """What a policy would have decided about the evidence on record, beside what was decided."""

    policy_sha256: str
    revision: int
    """What is in force as it was tried."""
    counts: Mapping[str, int]
    """By effect (`sealserve.policies.replay.Effect`): `same`, `now allowed`, `now denied`, ..."""
    changed: Sequence[str]
    """A line each for the first of those that change."""
    missing_secrets: Sequence[str]
    """Granted by a rule by name, and not there."""
    token: str
    """Whoever applies this policy shows that it was tried on this revision."""


@dataclass(frozen=True)
class Query:
    """Which records to find; None leaves open. Times know their zone."""

    after: int = -1
    """Records with a higher index, in order."""
    limit: int = 100
    kind: str | None = None
    outcome: str | None = None
    secret: str | None = None
    evidence: str | None = None
    """Hex of a whole SHA-256."""
    since: datetime | None = None
    until: datetime | None = None
    newest_first: bool = False
    """Then `after` is the index below which to look; -1 is the end."""


@dataclass(frozen=True)
class Record:
    """One record: exactly the bytes that the log holds."""

    index: int
    data: bytes


@dataclass(frozen=True)
class Inclusion:
    """That a record stands in the log that a checkpoint speaks for; checks offline."""

    index: int
    data: bytes
    proof: tuple[bytes, ...]
    checkpoint: str
    """The signed note."""


@dataclass(frozen=True)
class Consistency:
    """That the log of a checkpoint begins with the log of `old_size` records."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: str


@dataclass(frozen=True)
class Status:
    """How the service's store stands."""

    database: str
    log_origin: str
    log_size: int
    revision: int
    policy_sha256: str | None
    secrets: int
    """Names, not versions."""
    simulated: bool


class Administration(Protocol):
    """Raises UsageError for what cannot be done (its `code` is stable: `no-secret`,
    `secret-exists`, `no-version`, `dry-run-outdated`, `not-revoked`, `no-record`), ConfigError for
    a policy that is none, StoreError and IntegrityError where the database fails."""

    def status(self) -> Status:
        """How it stands."""
        ...

    def secrets(self) -> list[SecretFacts]:
        """Every version of every secret, by name, newest first, without the models' records."""
        ...

    def secret(self, name: str) -> list[SecretFacts]:
        """Every version of one secret, newest first."""
        ...

    def add_secret(self, name: str, value: bytes, record: bytes | None = None) -> SecretFacts:
        """A new name, at version 1. `record` is the model record (JSON) that belongs to it."""
        ...

    def rotate_secret(self, name: str, value: bytes, record: bytes | None = None) -> SecretFacts:
        """A new current version; the one before stays usable for those who ask by name.

        Without a `record` the one of the version before goes on.
        """
        ...

    def retire_secret(self, name: str, version: int | None = None) -> list[SecretFacts]:
        """Release a version, or all of a name, no more; what changed."""
        ...

    def revocations(self) -> list[Target]:
        """Everything that is revoked, in order."""
        ...

    def revoke(self, target: Target, reason: str) -> None:
        """From the next release on, in every copy."""
        ...

    def lift(self, target: Target, reason: str) -> None:
        """Take a revocation back."""
        ...

    def policy(self) -> PolicyFacts:
        """The one in force."""
        ...

    def try_policy(self, text: str) -> DryRun:
        """Judge the newest decisions on record by another policy; changes nothing."""
        ...

    def apply_policy(self, text: str, token: str) -> PolicyFacts:
        """Put a policy in force that was tried on the revision that still is."""
        ...

    def log_key(self) -> str:
        """The verifier key of the log (C2SP signed-note)."""
        ...

    def checkpoint(self) -> str:
        """The signed note of the log's head."""
        ...

    def records(self, query: Query) -> list[Record]:
        """At most PAGE records."""
        ...

    def inclusion(self, index: int) -> Inclusion:
        """Proof of one record under the head."""
        ...

    def consistency(self, old_size: int) -> Consistency:
        """Proof that nothing before `old_size` was touched."""
        ...


@dataclass(frozen=True)
class Actor:
    """Who acts, for the record."""

    name: str
    role: Role
    request_id: str | None = field(default=None)
