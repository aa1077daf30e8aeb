"""A condition of a policy: what was found, what was expected, and what would make it hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from sealserve.appraisal.policy import PolicyException

_SHOWN = 8  # entries of a list


class About(StrEnum):
    """What a condition is about."""

    REVOKED = "revoked"  # what its owner took back, of target or platform
    VERIFIER = "verifier"  # who spoke, and on what that rested
    PLATFORM = "platform"
    TARGET = "target"
    STATE = "state"  # what changes with time, and what an exception may carry
    ASKING = "asking"


class PolicyCode(StrEnum):
    """The outcome; for a denial, the first condition that failed where the policy came nearest.

    In the order in which conditions are judged; docs/policy-reference.md has cause and cure of
    each.
    """

    about: About | None

    def __new__(cls, value: str, about: About | None = None) -> PolicyCode:
        member = str.__new__(cls, value)
        member._value_ = value
        member.about = about
        return member

    ALLOWED = "policy.allowed"
    EMPTY = "policy.empty"

    REVOKED = "policy.revoked", About.REVOKED

    MAA = "policy.maa", About.VERIFIER
    MAA_ISSUER = "policy.maa-issuer", About.VERIFIER
    MAA_POLICY = "policy.maa-policy", About.VERIFIER
    MAA_AGE = "policy.maa-age", About.VERIFIER
    SIMULATED = "policy.simulated", About.VERIFIER
    TRUST_ROOT = "policy.trust-root", About.VERIFIER
    REVOCATION = "policy.revocation", About.VERIFIER
    COLLATERAL_AGE = "policy.collateral-age", About.VERIFIER

    FMSPC = "policy.fmspc", About.PLATFORM
    PLATFORM_ID = "policy.platform-id", About.PLATFORM
    EVALUATION_DATA_NUMBER = "policy.evaluation-data-number", About.PLATFORM
    DYNAMIC_PLATFORM = "policy.dynamic-platform", About.PLATFORM
    CACHED_KEYS = "policy.cached-keys", About.PLATFORM
    SMT_ENABLED = "policy.smt-enabled", About.PLATFORM

    TEE = "policy.tee", About.TARGET
    MEASUREMENT = "policy.measurement", About.TARGET
    SIGNER = "policy.signer", About.TARGET
    PRODUCT = "policy.product", About.TARGET
    SVN = "policy.svn", About.TARGET
    SVN_ABOVE = "policy.svn-above", About.TARGET
    ATTRIBUTES = "policy.attributes", About.TARGET
    MISC_SELECT = "policy.misc-select", About.TARGET
    CONFIG_ID = "policy.config-id", About.TARGET
    EXT_PRODUCT = "policy.ext-product", About.TARGET
    FAMILY = "policy.family", About.TARGET
    CONFIG_SVN = "policy.config-svn", About.TARGET
    MR_TD = "policy.mr-td", About.TARGET
    RTMR0 = "policy.rtmr0", About.TARGET
    RTMR1 = "policy.rtmr1", About.TARGET
    RTMR2 = "policy.rtmr2", About.TARGET
    RTMR3 = "policy.rtmr3", About.TARGET
    TD_ATTRIBUTES = "policy.td-attributes", About.TARGET
    XFAM = "policy.xfam", About.TARGET
    MR_SEAM = "policy.mr-seam", About.TARGET
    MR_SIGNER_SEAM = "policy.mr-signer-seam", About.TARGET
    MR_CONFIG_ID = "policy.mr-config-id", About.TARGET
    MR_OWNER = "policy.mr-owner", About.TARGET
    MR_OWNER_CONFIG = "policy.mr-owner-config", About.TARGET
    MR_SERVICE_TD = "policy.mr-service-td", About.TARGET
    SEAM_ATTRIBUTES = "policy.seam-attributes", About.TARGET

    DEBUG = "policy.debug", About.STATE
    TCB_STATUS = "policy.tcb-status", About.STATE
    ADVISORIES = "policy.advisories", About.STATE

    ASKED_FOR = "policy.asked-for", About.ASKING
    SECRET = "policy.secret", About.ASKING


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: the code it denies with, whether it held, on what, and by which exception."""

    code: PolicyCode
    subject: str
    """The policy's key, or what is judged without one."""
    held: bool
    found: str
    expected: str
    fix: str | None
    """What would make it hold; None where it held."""
    exception: str | None = None
    """The exception without which it would not have held."""

    def __str__(self) -> str:
        if not self.held:
            return f"{self.subject} FAILS: found {self.found}, expected {self.expected}"
        if self.exception is not None:
            return f"{self.subject} holds by exception {self.exception!r}: {self.found}"
        return f"{self.subject} holds: {self.found}"


def judged(
    code: PolicyCode, subject: str, held: bool, *, found: str, expected: str, fix: str
) -> Condition:
    """A condition that no exception carries."""
    return Condition(code, subject, held, found, expected, None if held else fix)


@dataclass(frozen=True, slots=True)
class Cover:
    """A policy's exceptions, as they stand for one rule, one platform and one moment."""

    exceptions: tuple[PolicyException, ...]
    rule: str
    fmspc: bytes | None
    """None: the verifier does not say."""
    now: datetime

    def carry(self, condition: Condition, excepts: Callable[[PolicyException], bool]) -> Condition:
        """`condition`; if it failed, held by the first exception in force that `excepts` it.

        Where one does that is not in force here, the fix says why not.
        """
        if condition.held:
            return condition
        misses = []
        for each in filter(excepts, self.exceptions):
            missing = "; ".join(self._missing(each))
            if not missing:
                return replace(condition, held=True, fix=None, exception=each.name)
            misses.append(f"exception {each.name!r} would do, but {missing}")
        return replace(condition, fix="; ".join([str(condition.fix), *misses]))

    def _missing(self, each: PolicyException) -> Iterator[str]:
        if not each.in_force(self.now):
            yield f"it ended on {each.expires.isoformat()}"
        if each.rules is not None and self.rule not in each.rules:
            yield "it is not for this rule"
        if each.fmspcs is not None and self.fmspc not in each.fmspcs:
            yield "it is not for this platform's FMSPC"


def any_of(values: Iterable[str]) -> str:
    """`a`, or `one of a, b`, or the first few of many."""
    listed = tuple(values)
    if len(listed) == 1:
        return listed[0]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return f"one of {', '.join(listed[:_SHOWN])}{more}"
