"""Appraisal: claims against the owner's policy, with an explanation of the outcome. Pure."""

from sealserve.appraisal.appraise import (
    AttestationResult,
    Grant,
    RuleOutcome,
    appraise,
    appraise_by_default,
)
from sealserve.appraisal.conditions import Condition, PolicyCode
from sealserve.appraisal.policy import Policy, PolicyException, Rule, parse_policy
from sealserve.appraisal.revocations import NOTHING_REVOKED, Revocations

__all__ = [
    "NOTHING_REVOKED",
    "AttestationResult",
    "Condition",
    "Grant",
    "Policy",
    "PolicyCode",
    "PolicyException",
    "Revocations",
    "Rule",
    "RuleOutcome",
    "appraise",
    "appraise_by_default",
    "parse_policy",
]
