"""Appraisal: claims, a policy and what was asked for in; an attestation result out.

One sentence rules it: the first rule, in the order of the file, that has an identity for which
every condition holds, by itself or by an exception in force, grants its secret; where there is
none, nothing is granted. The result explains itself: each condition of each rule with what was
found, what was expected, what would make it hold and which exception carried it, so that a denial
can be understood without this source. A peer is told the code alone. What is revoked is judged
first, and neither rule nor exception carries it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sealserve.appraisal import target
from sealserve.appraisal.conditions import About, Condition, PolicyCode
from sealserve.appraisal.judging import Asked, Judging
from sealserve.appraisal.policy import Policy
from sealserve.appraisal.revocations import NOTHING_REVOKED, Revocations
from sealserve.verifier.claims import AzureStanding, Claims, DcapStanding

__all__ = [
    "AttestationResult",
    "Condition",
    "Grant",
    "PolicyCode",
    "RuleOutcome",
    "appraise",
    "appraise_by_default",
]


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What became of one rule for one of its identities."""

    rule: str
    identity: str
    conditions: tuple[Condition, ...]

    @property
    def failed(self) -> tuple[Condition, ...]:
        """The conditions that did not hold."""
        return tuple(condition for condition in self.conditions if not condition.held)

    @property
    def distance(self) -> tuple[bool, int, int]:
        """How far the rule was from granting: another kind of TEE is farthest, then a target that
        is another in the most respects, then the most failed conditions."""
        codes = [condition.code for condition in self.failed]
        return (
            PolicyCode.TEE in codes,
            sum(code.about is About.TARGET for code in codes),
            len(codes),
        )


@dataclass(frozen=True, slots=True)
class Grant:
    """The secret that is released, by name, and how its bytes go over the wire."""

    secret: str
    encoding: Literal["raw", "hex"]


@dataclass(frozen=True, slots=True)
class AttestationResult:
    """The outcome, and all that it rests on."""

    allowed: bool
    code: PolicyCode
    decisive: RuleOutcome | None
    """What granted or, in a denial, came nearest; None where there is no rule."""
    grant: Grant | None
    outcomes: tuple[RuleOutcome, ...]
    """One for each identity of each rule, in the order of the file."""
    exceptions: tuple[str, ...]
    """The exceptions that were needed to allow it, by name."""
    collateral_overdue: timedelta
    """How long past its end collateral was used, under one of those exceptions; mostly zero."""
    claims: Claims

    @property
    def explanation(self) -> tuple[str, ...]:
        """Every condition of every outcome in words, and what the claims say of the platform."""
        return tuple(_explain(self.claims, self.outcomes))

    @property
    def rule(self) -> str | None:
        """The rule that granted or came nearest."""
        return self.decisive.rule if self.decisive else None

    @property
    def identity(self) -> str | None:
        """The identity for which it did."""
        return self.decisive.identity if self.decisive else None


def appraise(
    claims: Claims,
    policy: Policy,
    *,
    asked_for: str | None,
    now: datetime,
    secret: str | None = None,
    revoked: Revocations = NOTHING_REVOKED,
) -> AttestationResult:
    """Whether `policy` grants a target with `claims` a secret, which one, and why.

    `asked_for` is the name under which the target asked (for unmodified Gramine clients the TLS
    server name), and `secret` the name of the secret that it asked for; None where it named
    nothing. `now` knows its zone; by it exceptions expire. The cost grows with the policy's rules
    and identities, and not with what is revoked or how many secrets there are.
    """
    judging = Judging(claims, policy, Asked(asked_for, secret), revoked, now)
    outcomes: list[RuleOutcome] = []
    grants: list[Grant | None] = []
    for rule in policy.rules:
        for name in rule.identities:
            outcomes.append(RuleOutcome(rule.name, name, judging.conditions(rule, name)))
            granted = rule.granted(secret)
            grants.append(None if granted is None else Grant(granted, rule.encoding))
    for outcome, grant in zip(outcomes, grants, strict=True):
        if grant is not None and not outcome.failed:
            return _result(claims, outcomes, outcome, grant, now)
    nearest = min(outcomes, key=lambda outcome: outcome.distance, default=None)
    return _result(claims, outcomes, nearest, None, now)


def appraise_by_default(claims: Claims) -> AttestationResult:
    """The appraisal where no policy is given: nothing under debug; the TCB status is reported.

    It grants no secret, and the rest is what the caller named to the verifier: the trust root or
    issuer, and by its unsafe name that revocation went unchecked.
    """
    outcome = RuleOutcome("default", "any", (target.debug(claims.target),))
    return _result(claims, [outcome], outcome, None, claims.verified_at)


def _result(
    claims: Claims,
    outcomes: list[RuleOutcome],
    decisive: RuleOutcome | None,
    grant: Grant | None,
    now: datetime,
) -> AttestationResult:
    if decisive is None:
        code = PolicyCode.EMPTY
    else:
        code = decisive.failed[0].code if decisive.failed else PolicyCode.ALLOWED
    needed = [each for each in decisive.conditions if each.exception] if decisive else []
    allowed = code is PolicyCode.ALLOWED
    return AttestationResult(
        allowed=allowed,
        code=code,
        decisive=decisive,
        grant=grant,
        outcomes=tuple(outcomes),
        exceptions=tuple(dict.fromkeys(str(each.exception) for each in needed)) if allowed else (),
        collateral_overdue=_overdue(claims, now) if allowed else timedelta(),
        claims=claims,
    )


def _overdue(claims: Claims, now: datetime) -> timedelta:
    if not isinstance(claims.standing, DcapStanding):
        return timedelta()
    return max(now - claims.standing.collateral_valid_until, timedelta())


def _explain(claims: Claims, outcomes: tuple[RuleOutcome, ...]) -> Iterator[str]:
    for each in outcomes:
        for condition in each.conditions:
            yield f"rule {each.rule!r}, identity {each.identity!r}: {condition}"
    if not outcomes:
        yield "the policy has no rules, and what no rule allows is denied"
    if isinstance(claims.standing, AzureStanding):
        yield f"verified by Azure Attestation, {claims.standing.issuer}"
    else:
        advisories = ", ".join(claims.standing.advisory_ids) or "none"
        yield f"TCB status {claims.standing.tcb_status}, advisories {advisories}"
    if claims.simulated:
        yield "SIMULATED: no hardware vouches for any of this"
