"""Appraisal: claims against the owner's policy, with an explanation of the outcome. Pure."""

from sealserve.appraisal.appraise import (
    AttestationResult,
    Grant,
    PolicyCode,
    appraise,
    appraise_by_default,
)
from sealserve.appraisal.policy import Policy, Rule, parse_policy

__all__ = [
    "AttestationResult",
    "Grant",
    "Policy",
    "PolicyCode",
    "Rule",
    "appraise",
    "appraise_by_default",
    "parse_policy",
]
