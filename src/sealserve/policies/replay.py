"""What a policy would have decided for the evidence already on record.

The audit log keeps the claims of every decision, and the name that was asked for. Appraising them
again by another policy says whom it would shut out and whom it would let in, before it is in force.
What was rejected before any policy was asked (malformed, unverifiable, bound to another key) stays
rejected by every policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sealserve.appraisal import AttestationResult, Policy, appraise
from sealserve.errors import FormatError
from sealserve.verifier.claims import AzureStanding, Claims, DcapStanding
from sealserve.verifier.recorded import claims_from_dict

KIND = "decision"
_RELEASED, _DENIED = "released", "denied"


class Effect(StrEnum):
    """What becomes of one decision under the other policy."""

    SAME = "same"
    NOW_ALLOWED = "now allowed"
    NOW_DENIED = "now denied"
    OTHER_SECRET = "another secret"  # noqa: S105
    NOT_DECIDABLE = "not decidable"


@dataclass(frozen=True, slots=True)
class Replayed:
    """One decision on record, and what the policy makes of it."""

    number: int
    time: str
    effect: Effect
    before: str
    """The outcome and code on record."""
    after: str | None
    """The code now; None where the policy is not asked."""
    rule: str | None
    """The rule that grants or comes nearest."""
    reasons: tuple[str, ...]
    """The conditions that fail now, or why the record cannot be decided."""

    def as_dict(self) -> dict[str, object]:
        """The decision as a JSON object."""
        return {
            "number": self.number,
            "time": self.time,
            "effect": self.effect.value,
            "before": self.before,
            "after": self.after,
            "rule": self.rule,
            "reasons": list(self.reasons),
        }


def replay(
    number: int, record: Mapping[str, object], policy: Policy, *, at: datetime | None
) -> Replayed | None:
    """What `policy` makes of the audit record of that number; None for one of another kind.

    It is appraised as of its own time; or, where `at` is given, as if the same evidence came then
    with collateral as fresh as it was. That Intel may judge the platform differently by then, a
    record cannot tell.
    """
    if record.get("kind") != KIND:
        return None
    before = f"{record.get('outcome')} [{record.get('code')}]"
    stated = str(record.get("time"))
    try:
        claims, asked_for, moment = _read(record)
        if at is not None:
            claims, moment = _moved(claims, at - moment), at
    except FormatError as error:
        return Replayed(number, stated, Effect.NOT_DECIDABLE, before, None, None, (error.message,))
    except OverflowError:
        reason = "its times, moved to that time, are in no calendar"
        return Replayed(number, stated, Effect.NOT_DECIDABLE, before, None, None, (reason,))
    result = appraise(claims, policy, asked_for=asked_for, now=moment)
    effect = _effect(record, result)
    return Replayed(number, stated, effect, before, result.code, result.rule, _reasons(result))


def _read(record: Mapping[str, object]) -> tuple[Claims, str | None, datetime]:
    """The record's claims, the name that was asked for, and its time; raises FormatError."""
    if record.get("outcome") not in (_RELEASED, _DENIED):
        raise FormatError("no policy was asked: the evidence was rejected, or we failed")
    claims, asked_for = record.get("claims"), record.get("asked_for")
    if not isinstance(claims, dict):
        raise FormatError("the record has no claims")
    if not isinstance(asked_for, str | None):
        raise FormatError("the record's asked_for is no name")
    try:
        moment = datetime.fromisoformat(str(record.get("time")))
    except ValueError:
        raise FormatError("the record's time is none") from None
    if moment.tzinfo is None:
        raise FormatError("the record's time names no zone")
    return claims_from_dict(claims), asked_for, moment


def _moved(claims: Claims, step: timedelta) -> Claims:
    """The claims as if everything in them had come `step` later."""
    standing: DcapStanding | AzureStanding
    if isinstance(claims.standing, DcapStanding):
        standing = replace(
            claims.standing,
            collateral_valid_from=claims.standing.collateral_valid_from + step,
            collateral_valid_until=claims.standing.collateral_valid_until + step,
        )
    else:
        standing = replace(
            claims.standing,
            token_valid_from=claims.standing.token_valid_from + step,
            token_valid_until=claims.standing.token_valid_until + step,
        )
    return Claims(claims.target, standing, claims.verified_at + step)


def _effect(record: Mapping[str, object], result: AttestationResult) -> Effect:
    released = record["outcome"] == _RELEASED
    if result.allowed != released:
        return Effect.NOW_ALLOWED if result.allowed else Effect.NOW_DENIED
    if result.grant is not None and result.grant.secret != record.get("secret"):
        return Effect.OTHER_SECRET
    return Effect.SAME


def _reasons(result: AttestationResult) -> tuple[str, ...]:
    if result.allowed and result.grant is not None:
        return (f"grants {result.grant.secret!r}",)
    if result.decisive is None:
        return result.explanation[:1]
    return tuple(map(str, result.decisive.failed))
