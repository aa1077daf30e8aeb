"""Appraisal: claims, a policy and the name that was asked for in; an attestation result out.

One sentence rules it: the first rule, in the order of the file, of which every condition holds
grants its secret, and where there is none nothing is granted. The result explains itself: each
condition of each rule with what was found and what was expected, so that a denial can be understood
without this source. A peer is told the code alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from sealserve.appraisal.policy import Policy, Rule
from sealserve.verifier.claims import Claims


class PolicyCode(StrEnum):
    """The outcome, and for a denial the first condition that did not hold in the nearest rule."""

    ALLOWED = "policy.allowed"
    EMPTY = "policy.empty"
    SIMULATED = "policy.simulated"
    TRUST_ROOT = "policy.trust-root"
    MEASUREMENT = "policy.measurement"
    SIGNER = "policy.signer"
    PRODUCT = "policy.product"
    SVN = "policy.svn"
    DEBUG = "policy.debug"
    TCB_STATUS = "policy.tcb-status"
    ADVISORIES = "policy.advisories"
    ASKED_FOR = "policy.asked-for"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a rule: the code it denies with, whether it held, and on what."""

    code: PolicyCode
    subject: str
    held: bool
    found: str
    expected: str

    def __str__(self) -> str:
        if self.held:
            return f"{self.subject} holds: {self.found}"
        return f"{self.subject} FAILS: found {self.found}, expected {self.expected}"


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What became of one rule."""

    rule: str
    conditions: tuple[Condition, ...]

    @property
    def failed(self) -> tuple[Condition, ...]:
        """The conditions that did not hold."""
        return tuple(condition for condition in self.conditions if not condition.held)


@dataclass(frozen=True, slots=True)
class Grant:
    """The secret that is released, by name, and how its bytes go over the wire."""

    secret: str
    encoding: Literal["raw", "hex"]


@dataclass(frozen=True, slots=True)
class AttestationResult:
    """The outcome. `rule` grants or, in a denial, came nearest; None where there is no rule."""

    allowed: bool
    code: PolicyCode
    rule: str | None
    explanation: tuple[str, ...]
    grant: Grant | None
    outcomes: tuple[RuleOutcome, ...]


def appraise(claims: Claims, policy: Policy, *, asked_for: str | None) -> AttestationResult:
    """Whether `policy` grants an enclave with `claims` a secret, which one, and why.

    `asked_for` is the name under which the enclave asked (for unmodified Gramine clients the TLS
    server name), or None where it named nothing.
    """
    outcomes = tuple(
        RuleOutcome(rule.name, tuple(_conditions(claims, policy, rule, asked_for)))
        for rule in policy.rules
    )
    for rule, outcome in zip(policy.rules, outcomes, strict=True):
        if not outcome.failed:
            grant = Grant(rule.secret, rule.encoding)
            return _result(PolicyCode.ALLOWED, outcome, outcomes, claims, grant)
    if not outcomes:
        return _result(PolicyCode.EMPTY, None, outcomes, claims, None)
    nearest = min(outcomes, key=lambda outcome: len(outcome.failed))
    return _result(nearest.failed[0].code, nearest, outcomes, claims, None)


def appraise_by_default(claims: Claims) -> AttestationResult:
    """The appraisal where no policy is given: no debug enclave; the TCB status is reported.

    It grants no secret, and the trust root is the one that the caller named to the verifier.
    """
    outcome = RuleOutcome("default", (_debug(claims, allowed=False),))
    code = outcome.failed[0].code if outcome.failed else PolicyCode.ALLOWED
    return _result(code, outcome, (outcome,), claims, None)


def _conditions(
    claims: Claims, policy: Policy, rule: Rule, asked_for: str | None
) -> Iterator[Condition]:
    yield _trust_root(claims, policy)
    yield from _enclave(claims, rule)
    yield _debug(claims, allowed=rule.dangerously_allow_debug_enclaves)
    yield Condition(
        PolicyCode.TCB_STATUS,
        "tcb_statuses",
        claims.standing.tcb_status in rule.tcb_statuses,
        claims.standing.tcb_status,
        _any_of(rule.tcb_statuses),
    )
    yield Condition(
        PolicyCode.ADVISORIES,
        "allowed_advisories",
        set(claims.standing.advisory_ids) <= set(rule.allowed_advisories),
        ", ".join(claims.standing.advisory_ids) or "none",
        f"none but {', '.join(rule.allowed_advisories)}" if rule.allowed_advisories else "none",
    )
    if rule.asked_for is not None:
        found = asked_for.lower() if asked_for else "no name"
        held = asked_for is not None and found in rule.asked_for
        yield Condition(
            PolicyCode.ASKED_FOR, "asked_for", held, found[:255], _any_of(rule.asked_for)
        )


def _trust_root(claims: Claims, policy: Policy) -> Condition:
    root = claims.standing.trust_root_sha256
    if policy.trust_root is None:
        held = not claims.simulated
        code, expected = PolicyCode.SIMULATED, "Intel's SGX Root CA"
    else:
        held = root == policy.trust_root
        code, expected = PolicyCode.TRUST_ROOT, policy.trust_root.hex()
    found = f"{root.hex()} (SIMULATED)" if claims.simulated else "Intel's SGX Root CA"
    return Condition(code, "trust_root", held, found, expected)


def _enclave(claims: Claims, rule: Rule) -> Iterator[Condition]:
    if rule.mr_enclave is not None:
        yield Condition(
            PolicyCode.MEASUREMENT,
            "mr_enclave",
            claims.target.mr_enclave in rule.mr_enclave,
            claims.target.mr_enclave.hex(),
            _any_of([measurement.hex() for measurement in rule.mr_enclave]),
        )
    if rule.mr_signer is not None and rule.minimum_isv_svn is not None:
        yield Condition(
            PolicyCode.SIGNER,
            "mr_signer",
            claims.target.mr_signer == rule.mr_signer,
            claims.target.mr_signer.hex(),
            rule.mr_signer.hex(),
        )
        yield Condition(
            PolicyCode.PRODUCT,
            "isv_prod_id",
            claims.target.isv_prod_id == rule.isv_prod_id,
            str(claims.target.isv_prod_id),
            str(rule.isv_prod_id),
        )
        yield Condition(
            PolicyCode.SVN,
            "minimum_isv_svn",
            claims.target.isv_svn >= rule.minimum_isv_svn,
            str(claims.target.isv_svn),
            f"{rule.minimum_isv_svn} or more",
        )


def _debug(claims: Claims, *, allowed: bool) -> Condition:
    return Condition(
        PolicyCode.DEBUG,
        "dangerously_allow_debug_enclaves" if allowed else "no debug enclave",
        allowed or not claims.target.debug,
        "a debug enclave" if claims.target.debug else "a production enclave",
        "a production enclave: a debugger can read the memory of a debug one",
    )


def _result(
    code: PolicyCode,
    outcome: RuleOutcome | None,
    outcomes: tuple[RuleOutcome, ...],
    claims: Claims,
    grant: Grant | None,
) -> AttestationResult:
    lines = [
        f"rule {each.rule!r}: {condition}" for each in outcomes for condition in each.conditions
    ]
    if not outcomes:
        lines.append("the policy has no rules, and what no rule allows is denied")
    lines.append(
        f"TCB status {claims.standing.tcb_status}, advisories {', '.join(claims.standing.advisory_ids) or 'none'}"
    )
    if claims.simulated:
        lines.append("SIMULATED: the trust root is not Intel's")
    return AttestationResult(
        allowed=code is PolicyCode.ALLOWED,
        code=code,
        rule=outcome.rule if outcome else None,
        explanation=tuple(lines),
        grant=grant,
        outcomes=outcomes,
    )


def _any_of(values: tuple[str, ...] | list[str]) -> str:
    return values[0] if len(values) == 1 else f"one of {', '.join(values)}"
