"""What the admin API is asked: JSON, described once for the service, its OpenAPI and its clients.

A secret's value stands in requests alone; what is answered is in `answers`. Bytes are base64 in its
one spelling (RFC 4648, section 4), times RFC 3339 with a zone. Neither the text nor the trace of a
validation error holds what was sent.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from sealserve.appraisal.policy import POLICY_LIMIT
from sealserve.keyservice.administration.values import NAME, PAGE, Query, TargetKind
from sealserve.keyservice.store.secrets import VALUE_LIMIT
from sealserve.sealing.record import MAX_RECORD_BYTES
from sealserve.transparency.note import decode_base64, encode_base64

BODY_LIMIT: Final = 1 << 20  # bytes of a request
REASON_LIMIT: Final = 400  # characters
_LAST: Final = 2**63 - 1


def _octets(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    data = decode_base64(value) if isinstance(value, str) else None
    if data is None:
        raise ValueError("expected base64")
    return data


Octets = Annotated[
    bytes,
    BeforeValidator(_octets),
    PlainSerializer(encode_base64, return_type=str),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$", examples=["resnet50"])]
Version = Annotated[int, Field(ge=1, le=_LAST)]
Index = Annotated[int, Field(ge=0, le=_LAST)]
Reason = Annotated[str, Field(min_length=1, max_length=REASON_LIMIT)]
PolicyText = Annotated[str, Field(max_length=POLICY_LIMIT, description="The policy, as TOML.")]


class _Asked(BaseModel):
    """A request: what it does not name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class NewValue(_Asked):
    """A secret's new value."""

    value: Annotated[Octets, Field(min_length=1, max_length=VALUE_LIMIT, repr=False)]
    record: Annotated[
        Annotated[Octets, Field(max_length=MAX_RECORD_BYTES)] | None,
        Field(description="The model record (JSON) that belongs to the value."),
    ] = None


class NewSecret(NewValue):
    """A new secret."""

    name: Name


class Retire(_Asked):
    """Which version to retire; without one, all."""

    version: Version | None = None


class NewRevocation(_Asked):
    """What to revoke, and why."""

    kind: Annotated[TargetKind, Field(strict=False)]
    value: Annotated[
        str,
        Field(
            max_length=140,
            description="Hex digits of a measurement, signer or platform; NAME or NAME@VERSION of"
            " a secret.",
        ),
    ]
    reason: Reason


class PolicyToTry(_Asked):
    """A policy to try."""

    policy: PolicyText


class PolicyToApply(PolicyToTry):
    """A policy that was tried, and the token that says so."""

    token: Annotated[str, Field(pattern="^[0-9a-f]{1,256}$")]


class RecordsQuery(_Asked):
    """Which records to find; all that is given has to hold."""

    after: Annotated[
        int,
        Field(
            ge=-1,
            le=_LAST,
            strict=False,
            description="Records with a higher index; with `newest_first` with a lower one,"
            " and -1 is the end.",
        ),
    ] = -1
    limit: Annotated[int, Field(ge=1, le=PAGE, strict=False)] = 100
    kind: Annotated[str, Field(pattern="^[a-z-]{1,32}$", examples=["decision"])] | None = None
    outcome: Annotated[str, Field(pattern="^[a-z-]{1,32}$", examples=["denied"])] | None = None
    secret: Name | None = None
    evidence: (
        Annotated[
            str,
            Field(pattern="^[0-9a-f]{64}$", description="Hex SHA-256 of the evidence (the quote)."),
        ]
        | None
    ) = None
    since: Annotated[AwareDatetime | None, Field(strict=False)] = None
    until: Annotated[AwareDatetime | None, Field(strict=False)] = None
    newest_first: Annotated[bool, Field(strict=False)] = False

    def value_of(self) -> Query:
        """The same as `administration.values` has it."""
        return Query(**{name: getattr(self, name) for name in type(self).model_fields})
