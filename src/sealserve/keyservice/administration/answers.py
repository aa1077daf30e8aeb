"""What the admin API answers: JSON, described once for the service, its OpenAPI and its clients.

No answer holds a secret's value. What goes the other way, and how bytes and times are written, is
in `wire`. Errors keep their class over the wire by the name of their family, which is as stable as
codes are.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from sealserve.errors import (
    AuditError,
    ConfigError,
    DeniedError,
    FormatError,
    IntegrityError,
    NetworkError,
    OverloadedError,
    RejectedError,
    SealServeError,
    StoreError,
    UsageError,
)
from sealserve.keyservice.administration.values import (
    Consistency,
    DryRun,
    Inclusion,
    PolicyFacts,
    Record,
    Status,
    Target,
    TargetKind,
)
from sealserve.keyservice.administration.wire import Octets
from sealserve.keyservice.store.secrets import SecretFacts, State

ANSWER_LIMIT: Final = 32 << 20  # bytes that a client reads of an answer
RECORDS_BYTES: Final = 8 << 20  # of records in one answer, or the first record alone

# The most special first: what an error is called is the first that it is.
FAMILIES: Final[Mapping[str, type[SealServeError]]] = MappingProxyType(
    {
        "config": ConfigError,
        "usage": UsageError,
        "format": FormatError,
        "rejected": RejectedError,
        "database": StoreError,
        "overloaded": OverloadedError,
        "network": NetworkError,
        "denied": DeniedError,
        "audit": AuditError,
        "integrity": IntegrityError,
    }
)


class _Answered(BaseModel):
    """An answer: a later version may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)


class StatusAnswer(_Answered):
    """How the service's store stands."""

    database: str
    log_origin: str
    log_size: int
    revision: int
    policy_sha256: str | None
    secrets: Annotated[int, Field(description="Names, not versions.")]
    simulated: bool

    @classmethod
    def of(cls, status: Status) -> Self:
        """The answer that says so."""
        return cls.model_validate(status, from_attributes=True)

    def value_of(self) -> Status:
        """The same as `administration.values` has it."""
        return Status(**dict(self))


class SecretAnswer(_Answered):
    """What is known of one version of a secret, but for its value.

    An operator sees neither the record nor who made or changed it.
    """

    name: str
    version: int
    state: State
    size: Annotated[int, Field(description="Bytes of the value.")]
    created_at: AwareDatetime
    created_by: str
    changed_at: AwareDatetime
    changed_by: str
    model: Annotated[str | None, Field(description="The model that the record names.")]
    record: Annotated[Octets | None, Field(description="The model record.")]

    @classmethod
    def of(cls, facts: SecretFacts) -> Self:
        """The answer that says so."""
        return cls.model_validate(facts, from_attributes=True)

    def value_of(self) -> SecretFacts:
        """The same as `administration.values` has it."""
        return SecretFacts(**dict(self))


class SecretsAnswer(_Answered):
    """Versions of secrets, by name, newest first."""

    secrets: list[SecretAnswer]

    @classmethod
    def of(cls, found: list[SecretFacts]) -> Self:
        """The answer that says so."""
        return cls(secrets=[SecretAnswer.of(facts) for facts in found])

    def value_of(self) -> list[SecretFacts]:
        """The same as `administration.values` has it."""
        return [each.value_of() for each in self.secrets]


class TargetAnswer(_Answered):
    """One thing that is revoked."""

    kind: TargetKind
    value: str

    @classmethod
    def of(cls, target: Target) -> Self:
        """The answer that says so."""
        return cls(kind=target.kind, value=target.value)


class RevocationsAnswer(_Answered):
    """Everything that is revoked, in order."""

    revocations: list[TargetAnswer]

    def value_of(self) -> list[Target]:
        """The same as `administration.values` has it."""
        return [Target(each.kind, each.value) for each in self.revocations]


class PolicyAnswer(_Answered):
    """The policy in force; no text before the first is applied."""

    text: str | None
    sha256: str | None
    revision: int
    applied_at: AwareDatetime | None
    applied_by: str | None

    @classmethod
    def of(cls, facts: PolicyFacts) -> Self:
        """The answer that says so."""
        return cls.model_validate(facts, from_attributes=True)

    def value_of(self) -> PolicyFacts:
        """The same as `administration.values` has it."""
        return PolicyFacts(**dict(self))


class DryRunAnswer(_Answered):
    """What a policy would have decided about the newest evidence on record."""

    policy_sha256: str
    revision: int
    counts: Annotated[dict[str, int], Field(description="Decisions, by what becomes of them.")]
    changed: Annotated[list[str], Field(description="A line each for the first that change.")]
    missing_secrets: Annotated[list[str], Field(description="Granted by name, and not there.")]
    token: Annotated[str, Field(description="For `apply_policy`; of this policy and revision.")]

    @classmethod
    def of(cls, run: DryRun) -> Self:
        """The answer that says so."""
        return cls(
            policy_sha256=run.policy_sha256,
            revision=run.revision,
            counts=dict(run.counts),
            changed=list(run.changed),
            missing_secrets=list(run.missing_secrets),
            token=run.token,
        )

    def value_of(self) -> DryRun:
        """The same as `administration.values` has it."""
        return DryRun(
            self.policy_sha256,
            self.revision,
            self.counts,
            tuple(self.changed),
            tuple(self.missing_secrets),
            self.token,
        )


class LogKeyAnswer(_Answered):
    """The verifier key of the log."""

    key: Annotated[str, Field(description="C2SP signed-note: name+id+key.")]


class CheckpointAnswer(_Answered):
    """The head of the log."""

    checkpoint: Annotated[str, Field(description="C2SP tlog-checkpoint, a signed note.")]


class RecordAnswer(_Answered):
    """One record."""

    index: int
    data: Annotated[Octets, Field(description="Exactly the bytes that the log holds.")]
    whole: Annotated[
        bool,
        Field(description="False for operators: what tells platforms apart is left out of `data`."),
    ] = True


class RecordsAnswer(_Answered):
    """Records in the order asked for: fewer than `limit` where they are long; none at the end."""

    records: list[RecordAnswer]

    def value_of(self) -> list[Record]:
        """The same as `administration.values` has it."""
        return [Record(each.index, each.data) for each in self.records]


class InclusionAnswer(_Answered):
    """That a record stands in the log of a checkpoint."""

    index: int
    data: Octets
    proof: Annotated[list[Octets], Field(description="RFC 9162, 2.1.3; lowest hash first.")]
    checkpoint: str

    @classmethod
    def of(cls, found: Inclusion) -> Self:
        """The answer that says so."""
        return cls(
            index=found.index,
            data=found.data,
            proof=list(found.proof),
            checkpoint=found.checkpoint,
        )

    def value_of(self) -> Inclusion:
        """The same as `administration.values` has it."""
        return Inclusion(self.index, self.data, tuple(self.proof), self.checkpoint)


class ConsistencyAnswer(_Answered):
    """That the log of a checkpoint begins with the log of `old_size` records."""

    old_size: int
    proof: Annotated[list[Octets], Field(description="RFC 9162, 2.1.4.")]
    checkpoint: str

    @classmethod
    def of(cls, found: Consistency) -> Self:
        """The answer that says so."""
        return cls(old_size=found.old_size, proof=list(found.proof), checkpoint=found.checkpoint)

    def value_of(self) -> Consistency:
        """The same as `administration.values` has it."""
        return Consistency(self.old_size, tuple(self.proof), self.checkpoint)


class ErrorFacts(_Answered):
    """What went wrong."""

    code: Annotated[str, Field(description="Stable.", examples=["no-secret"])]
    family: Annotated[str, Field(description="The kind of error it is; stable, too.")]
    message: Annotated[str, Field(description="For a person.")]
    hint: Annotated[str | None, Field(description="What to do.")] = None


class ErrorAnswer(_Answered):
    """The answer to every request that came to nothing."""

    error: ErrorFacts

    @classmethod
    def of(cls, error: SealServeError) -> Self:
        """The answer that says so."""
        family = next((name for name, kind in FAMILIES.items() if isinstance(error, kind)), "error")
        facts = ErrorFacts(code=error.code, family=family, message=error.message, hint=error.hint)
        return cls(error=facts)

    def value_of(self) -> SealServeError:
        """The error, of its class."""
        kind = FAMILIES.get(self.error.family, NetworkError)
        return kind(self.error.message, code=self.error.code, hint=self.error.hint)
