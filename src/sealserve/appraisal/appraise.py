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

from sealserve.appraisal import platforms, standing, target
from sealserve.appraisal.conditions import About, Condition, Cover, PolicyCode, any_of, judged
from sealserve.appraisal.identities import Identity
from sealserve.appraisal.policy import Policy, Rule
from sealserve.appraisal.revocations import NOTHING_REVOKED, Revocations, of_revocations
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
    explanation: tuple[str, ...]
    grant: Grant | None
    outcomes: tuple[RuleOutcome, ...]
    """One for each identity of each rule, in the order of the file."""
    exceptions: tuple[str, ...]
    """The exceptions that were needed to allow it, by name."""
    collateral_overdue: timedelta
    """How long past its end collateral was used, under one of those exceptions; mostly zero."""

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
    taken_back = tuple(of_revocations(claims, revoked))
    known = {identity.name: identity for identity in policy.identities}
    outcomes: list[RuleOutcome] = []
    grants: list[Grant | None] = []
    for rule in policy.rules:
        for name in rule.identities:
            conditions = (
                *taken_back,
                *_conditions(claims, policy, rule, known[name], now),
                *_asking(rule, asked_for, secret),
            )
            outcomes.append(RuleOutcome(rule.name, name, conditions))
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


def _conditions(
    claims: Claims,
    policy: Policy,
    rule: Rule,
    identity: Identity,
    now: datetime,
) -> Iterator[Condition]:
    fmspc = claims.standing.fmspc if isinstance(claims.standing, DcapStanding) else None
    cover = Cover(policy.exceptions, rule.name, fmspc, now)
    yield from standing.of_verifier(claims, policy, cover)
    yield from platforms.of_platform(claims, policy.platform)
    yield from target.of_identity(claims.target, identity)
    yield target.debug_unless_excepted(claims.target, cover)
    yield from standing.of_tcb(claims, cover)


def _asking(rule: Rule, asked_for: str | None, secret: str | None) -> Iterator[Condition]:
    """Whether the rule is for the name that was asked under, and for the secret by its name."""
    if rule.asked_for is not None:
        found = asked_for.lower() if asked_for else "no name"
        yield judged(
            PolicyCode.ASKED_FOR,
            "asked_for",
            asked_for is not None and found in rule.asked_for,
            found=found[:255],
            expected=any_of(rule.asked_for),
            fix="ask under a name that the rule is for",
        )
    if secret is not None or rule.secret is None:
        accepted = any_of(rule.patterns)
        yield judged(
            PolicyCode.SECRET,
            "secret" if rule.secret is not None else "secrets",
            rule.granted(secret) is not None,
            found="no name" if secret is None else secret[:128],
            expected=accepted,
            fix=f"ask for {accepted} by name; or, if this target may have it, name it in a rule",
        )


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
        explanation=tuple(_explain(claims, outcomes)),
        grant=grant,
        outcomes=tuple(outcomes),
        exceptions=tuple(dict.fromkeys(str(each.exception) for each in needed)) if allowed else (),
        collateral_overdue=_overdue(claims, now) if allowed else timedelta(),
    )


def _overdue(claims: Claims, now: datetime) -> timedelta:
    if not isinstance(claims.standing, DcapStanding):
        return timedelta()
    return max(now - claims.standing.collateral_valid_until, timedelta())


def _explain(claims: Claims, outcomes: list[RuleOutcome]) -> Iterator[str]:
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
