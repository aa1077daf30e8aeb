"""A condition of a policy: what was found, what was expected, and what would make it hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from sealserve.appraisal.policy import PolicyException

_SHOWN = 8  # entries of a list


class PolicyCode(StrEnum):
    """The outcome; for a denial, the first condition that failed where the policy came nearest.

    The order is that in which conditions are judged. docs/policy-reference.md has cause and cure
    of each.
    """

    ALLOWED = "policy.allowed"
    EMPTY = "policy.empty"

    # The verifier that spoke, and on what it rested.
    SIMULATED = "policy.simulated"
    TRUST_ROOT = "policy.trust-root"
    REVOCATION = "policy.revocation"
    COLLATERAL_AGE = "policy.collateral-age"
    MAA = "policy.maa"
    MAA_ISSUER = "policy.maa-issuer"
    MAA_POLICY = "policy.maa-policy"
    MAA_AGE = "policy.maa-age"

    # The platform.
    FMSPC = "policy.fmspc"
    PLATFORM_ID = "policy.platform-id"
    EVALUATION_DATA_NUMBER = "policy.evaluation-data-number"

    # The target.
    TEE = "policy.tee"
    MEASUREMENT = "policy.measurement"
    SIGNER = "policy.signer"
    PRODUCT = "policy.product"
    SVN = "policy.svn"
    ATTRIBUTES = "policy.attributes"
    MISC_SELECT = "policy.misc-select"
    CONFIG_ID = "policy.config-id"
    CONFIG_SVN = "policy.config-svn"
    EXT_PRODUCT = "policy.ext-product"
    FAMILY = "policy.family"
    MR_TD = "policy.mr-td"
    RTMR0 = "policy.rtmr0"
    RTMR1 = "policy.rtmr1"
    RTMR2 = "policy.rtmr2"
    RTMR3 = "policy.rtmr3"
    MR_SEAM = "policy.mr-seam"
    MR_SIGNER_SEAM = "policy.mr-signer-seam"
    SEAM_ATTRIBUTES = "policy.seam-attributes"
    MR_CONFIG_ID = "policy.mr-config-id"
    MR_OWNER = "policy.mr-owner"
    MR_OWNER_CONFIG = "policy.mr-owner-config"
    MR_SERVICE_TD = "policy.mr-service-td"
    TD_ATTRIBUTES = "policy.td-attributes"
    XFAM = "policy.xfam"

    # What an exception may carry.
    DEBUG = "policy.debug"
    TCB_STATUS = "policy.tcb-status"
    ADVISORIES = "policy.advisories"

    ASKED_FOR = "policy.asked-for"


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
