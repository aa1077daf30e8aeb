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

__all__ = [
    "AttestationResult",
    "Condition",
    "Grant",
    "Policy",
    "PolicyCode",
    "PolicyException",
    "Rule",
    "RuleOutcome",
    "appraise",
    "appraise_by_default",
    "parse_policy",
]
