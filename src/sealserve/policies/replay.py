"""What a policy would have decided for the evidence already on record.

The audit log keeps the claims of every decision, and the names that were asked for. Appraising them
again by another policy says whom it would shut out and whom it would let in, before it is in force.
What was rejected before any policy was asked (malformed, unverifiable, bound to another key) stays
rejected by every policy, and what was denied as revoked is denied by each as long as it is. Whether
the key service had the secret that a policy grants is no matter of the policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sealserve.appraisal import AttestationResult, Policy, PolicyCode, Revocations, appraise
from sealserve.appraisal.revocations import NOTHING_REVOKED
from sealserve.errors import FormatError
from sealserve.verifier.claims import AzureStanding, Claims, DcapStanding
from sealserve.verifier.recorded import claims_from_dict

KIND = "decision"
_RELEASED, _DENIED = "released", "denied"
_OF_A_POLICY = "policy."  # so begin the codes of denials by one; others were granted by it


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

    index: int
    """Of its record in the log, from 0."""
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
            "index": self.index,
            "time": self.time,
            "effect": self.effect.value,
            "before": self.before,
            "after": self.after,
            "rule": self.rule,
            "reasons": list(self.reasons),
        }


class _Decided(NamedTuple):
    """What a decision was based on."""

    claims: Claims
    asked_for: str | None
    asked_secret: str | None
    time: datetime


def replay(
    records: Iterable[tuple[int, Mapping[str, object]]],
    policy: Policy,
    *,
    at: datetime | None,
    revoked: Revocations | None = None,
) -> Iterator[Replayed]:
    """What `policy` makes of each decision among the audit log's records, by their index.

    It is appraised as of its own time; or, where `at` is given, as if the same evidence came then
    with collateral as fresh as it was. That Intel may judge the platform differently by then, a
    record cannot tell. `revoked` is what is revoked now; None where nobody says.
    """
    for index, record in records:
        if record.get("kind") == KIND:
            yield _replay(index, record, policy, at, revoked)


def _replay(
    index: int,
    record: Mapping[str, object],
    policy: Policy,
    at: datetime | None,
    revoked: Revocations | None,
) -> Replayed:
    before = f"{record.get('outcome')} [{record.get('code')}]"
    stated = str(record.get("time"))
    try:
        decided = _read(record)
        if revoked is None and record.get("code") == PolicyCode.REVOKED:
            raise FormatError("it was revoked, and no policy is asked about what is")
        if at is not None:
            decided = _moved(decided, at)
    except FormatError as error:
        return Replayed(index, stated, Effect.NOT_DECIDABLE, before, None, None, (error.message,))
    except OverflowError:
        reason = "its times, moved to that time, are in no calendar"
        return Replayed(index, stated, Effect.NOT_DECIDABLE, before, None, None, (reason,))
    result = appraise(
        decided.claims,
        policy,
        asked_for=decided.asked_for,
        now=decided.time,
        secret=decided.asked_secret,
        revoked=revoked or NOTHING_REVOKED,
    )
    effect = _effect(record, result)
    return Replayed(index, stated, effect, before, result.code, result.rule, _reasons(result))


def _read(record: Mapping[str, object]) -> _Decided:
    """Raises FormatError for what is no decision of a policy, or not written like one."""
    if record.get("outcome") not in (_RELEASED, _DENIED):
        raise FormatError("no policy was asked: the evidence was rejected, or we failed")
    claims = record.get("claims")
    if not isinstance(claims, dict):
        raise FormatError("the record has no claims")
    try:
        moment = datetime.fromisoformat(str(record.get("time")))
    except ValueError:
        raise FormatError("the record's time is none") from None
    if moment.tzinfo is None:
        raise FormatError("the record's time names no zone")
    names = _name(record, "asked_for"), _name(record, "asked_secret")
    return _Decided(claims_from_dict(claims), *names, moment)


def _name(record: Mapping[str, object], key: str) -> str | None:
    name = record.get(key)
    if not isinstance(name, str | None):
        raise FormatError(f"the record's {key} is no name")
    return name


def _moved(decided: _Decided, at: datetime) -> _Decided:
    """The decision as if everything in it had come so much later that it was made `at`."""
    claims, step = decided.claims, at - decided.time
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
    moved = Claims(claims.target, standing, claims.verified_at + step)
    return decided._replace(claims=moved, time=at)


def _effect(record: Mapping[str, object], result: AttestationResult) -> Effect:
    released = record["outcome"] == _RELEASED
    if result.allowed != (released or not str(record.get("code")).startswith(_OF_A_POLICY)):
        return Effect.NOW_ALLOWED if result.allowed else Effect.NOW_DENIED
    if released and result.grant is not None and result.grant.secret != record.get("secret"):
        return Effect.OTHER_SECRET
    return Effect.SAME


def _reasons(result: AttestationResult) -> tuple[str, ...]:
    if result.allowed and result.grant is not None:
        return (f"grants {result.grant.secret!r}",)
    if result.decisive is None:
        return result.explanation[:1]
    return tuple(map(str, result.decisive.failed))
