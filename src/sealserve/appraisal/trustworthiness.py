"""An appraisal in the words of AR4SI: a trustworthiness vector, and the tier it comes to.

What is asserted, and by which number, is the table in docs/results.md, and nothing else is: a claim
that nobody appraised is left out, which means "none". Where several rows fit, the worst stands.
A target under debug is contraindicated whatever a policy's exception says: the exception is its
owner's own risk, and not that of whoever reads the result.

Source: draft-ietf-rats-ar4si-09, sections 2.3.2 to 2.3.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Final

from sealserve.appraisal.appraise import AttestationResult
from sealserve.appraisal.conditions import About, PolicyCode
from sealserve.appraisal.revocations import MEASUREMENTS, PLATFORMS, SIGNERS
from sealserve.appraisal.target import debug
from sealserve.verifier.claims import Claims, DcapStanding, TcbStatus, TrustDomain

AFFIRMED: Final = 2
NO_KNOWN_VULNERABILITY: Final = 3  # of a configuration
APPROVED_AT_START: Final = 3  # of executables: what the measurement covers
VULNERABLE: Final = 32  # of hardware and configuration: known vulnerabilities
NOT_RECOGNISED: Final = 33  # of executables
NOT_SHOWN: Final = 36  # of a configuration: what matters was not looked at
CONTRAINDICATED: Final = 96
UNKNOWN_PLATFORM: Final = 97  # of hardware and instances: not one that is recognised
SIMULATED: Final = -33  # our own, a warning: no hardware vouches for any of it

VECTOR: Final = (
    "instance-identity",
    "configuration",
    "executables",
    "file-system",
    "hardware",
    "runtime-opaque",
    "storage-opaque",
    "sourced-data",
)

_HARDWARE_STATUSES = frozenset(TcbStatus) - {TcbStatus.UP_TO_DATE, TcbStatus.CONFIGURATION_NEEDED}
_CONFIGURATION_STATUSES = frozenset(
    {
        TcbStatus.CONFIGURATION_NEEDED,
        TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED,
        TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
        TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED,
    }
)
# What measures a TD from its firmware to its kernel; RTMR3 is the application's own.
_TD_MEASUREMENTS = frozenset(
    {PolicyCode.MR_TD, PolicyCode.RTMR0, PolicyCode.RTMR1, PolicyCode.RTMR2}
)
_SETUP = frozenset({PolicyCode.DYNAMIC_PLATFORM, PolicyCode.CACHED_KEYS, PolicyCode.SMT_ENABLED})
_FOREIGN_ROOT = frozenset({PolicyCode.SIMULATED, PolicyCode.TRUST_ROOT})


class Tier(StrEnum):
    """What a result comes to, best last but for `NONE`, which says nothing."""

    CONTRAINDICATED = "contraindicated"
    WARNING = "warning"
    AFFIRMING = "affirming"
    NONE = "none"


def tier_of(value: int) -> Tier:
    """The tier of one claim of a vector, -128 to 127 (AR4SI, section 2.3.2)."""
    if -1 <= value <= 1:
        return Tier.NONE
    magnitude = value if value > 0 else -value - 1  # -2 is the first of ours, as 2 is of AR4SI's
    if magnitude < 32:
        return Tier.AFFIRMING
    return Tier.WARNING if magnitude < 96 else Tier.CONTRAINDICATED


def worst(values: Iterable[int]) -> Tier:
    """The tier of the worst claim; `NONE` where nothing is claimed."""
    tiers = {tier_of(value) for value in values}
    return next((tier for tier in Tier if tier in tiers), Tier.NONE)


def status(result: AttestationResult, vector: Mapping[str, int]) -> Tier:
    """The tier of an appraisal: what is denied is contraindicated, whatever the vector says."""
    return worst(vector.values()) if result.allowed else Tier.CONTRAINDICATED


def vector_of(result: AttestationResult, claims: Claims) -> dict[str, int]:
    """What an appraisal of `claims` asserts."""
    conditions = result.decisive.conditions if result.decisive else ()
    held = {each.code: each.held for each in conditions}
    revoked = {e.subject for e in conditions if e.code is PolicyCode.REVOKED and not e.held}
    asserted = {
        "instance-identity": _instance(held),
        "configuration": _worst_of(_configuration(claims, held)),
        "executables": _executables(claims, held, revoked),
        "hardware": _worst_of(_hardware(claims, held, revoked)),
        "runtime-opaque": AFFIRMED if debug(claims.target).held else CONTRAINDICATED,
    }
    return {name: value for name, value in asserted.items() if value is not None}


def _instance(held: Mapping[PolicyCode, bool]) -> int | None:
    """Only where the policy expects certain machines, and the verifier tells them apart."""
    if PolicyCode.PLATFORM_ID not in held:
        return None
    return AFFIRMED if held[PolicyCode.PLATFORM_ID] else UNKNOWN_PLATFORM


def _executables(
    claims: Claims, held: Mapping[PolicyCode, bool], revoked: AbstractSet[str]
) -> int | None:
    if revoked & {MEASUREMENTS, SIGNERS}:
        return CONTRAINDICATED
    measured = {code for code in held if code.about is About.TARGET} - {PolicyCode.TEE}
    if not held.get(PolicyCode.TEE, True) or not all(held[code] for code in measured):
        return NOT_RECOGNISED
    if isinstance(claims.target, TrustDomain):
        return APPROVED_AT_START if measured >= _TD_MEASUREMENTS else None
    return APPROVED_AT_START if measured else None


def _hardware(
    claims: Claims, held: Mapping[PolicyCode, bool], revoked: AbstractSet[str]
) -> Iterator[int]:
    failed = {code for code, holds in held.items() if not holds}
    if PLATFORMS in revoked and isinstance(claims.standing, DcapStanding):
        yield CONTRAINDICATED  # where nobody states the platform, nothing is known against it
    if failed & _FOREIGN_ROOT or PolicyCode.FMSPC in failed:
        yield UNKNOWN_PLATFORM
    elif any(code.about is About.VERIFIER for code in failed):
        return  # who says so is not believed
    if _may_be_revoked(claims):
        return
    if failed & {PolicyCode.ADVISORIES, PolicyCode.EVALUATION_DATA_NUMBER}:
        yield CONTRAINDICATED
    if claims.standing.tcb_status in _HARDWARE_STATUSES:
        yield CONTRAINDICATED if PolicyCode.TCB_STATUS in failed else VULNERABLE
    if isinstance(claims.standing, DcapStanding) and claims.standing.advisory_ids:
        yield VULNERABLE
    if claims.simulated:
        yield SIMULATED
    yield AFFIRMED


def _configuration(claims: Claims, held: Mapping[PolicyCode, bool]) -> Iterator[int]:
    standing = claims.standing
    failed = {code for code, holds in held.items() if not holds}
    if standing.tcb_status is None or any(code.about is About.VERIFIER for code in failed):
        return
    if _may_be_revoked(claims):
        yield NOT_SHOWN
    if failed & _SETUP:
        yield CONTRAINDICATED
    if standing.tcb_status in _CONFIGURATION_STATUSES:
        yield CONTRAINDICATED if PolicyCode.TCB_STATUS in failed else VULNERABLE
    yield NO_KNOWN_VULNERABILITY


def _may_be_revoked(claims: Claims) -> bool:
    """Whoever verified skipped revocation, by its unsafe name."""
    standing = claims.standing
    return isinstance(standing, DcapStanding) and not standing.revocation_checked


def _worst_of(values: Iterator[int]) -> int | None:
    """The first of the worst tier: AR4SI's own numbers come before ours."""
    listed = list(values)
    tier = worst(listed)
    return next((value for value in listed if tier_of(value) is tier), None)
