"""Forecast: which platforms a policy will refuse, from when, and why. Nothing is fetched here.

Three things bring a refusal on a known day: collateral or a certificate in it ends (if nothing
newer can be had), an exception of the policy expires, Intel's early TCB data puts a platform on a
lower level. Each is found by asking the verifier and the policy about that day (`prospect`).

The day on which early data becomes the standard is in no data. It is estimated from the newest
level's date, which is that of the disclosure: "commonly approximately 6 weeks after" (Intel PCCS,
API version 4, `update`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sealserve.appraisal.conditions import Condition, PolicyCode
from sealserve.appraisal.policy import Policy
from sealserve.collateral.examination import Examination
from sealserve.collateral.prospect import (
    AGE,
    STANDING,
    failures,
    rules_for,
    sound_standing,
    standing,
)
from sealserve.collateral.sightings import PlatformTcb
from sealserve.errors import VerificationError
from sealserve.verifier import Code, Platform, VerifiedCollateral
from sealserve.verifier.claims import DcapStanding

EARLY_TO_STANDARD: Final = timedelta(weeks=6)
_INSTANT: Final = timedelta(seconds=1)  # ends are included


class Reason(StrEnum):
    """What brings the refusal."""

    REFUSED_ALREADY = "refused-already"
    UNUSABLE = "unusable-collateral"
    COLLATERAL = "collateral-expiry"
    CERTIFICATE = "certificate-expiry"
    EXCEPTION = "exception-expiry"
    EARLY = "early-tcb-data"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Platforms that will be refused."""

    platform: Platform
    tcb: PlatformTcb | None
    """At which versions; None: at any."""
    rules: tuple[str, ...]
    """Which rules of the policy will refuse them."""
    begins: datetime
    is_estimate: bool
    reason: Reason
    code: str
    """Of the check that will refuse them: the verifier's or the policy's."""
    message: str


def forecast(
    present: Mapping[Platform, Examination],
    early: Mapping[Platform, Examination],
    seen: Collection[PlatformTcb],
    policy: Policy,
    at: datetime,
) -> list[Refusal]:
    """The refusals that can be foreseen at `at`, in the order in which they begin.

    `present` is the collateral in use, `early` the same of Intel's early edition, where it is
    known; both examined at `at`. Platforms without collateral are left out.
    """
    question = _Question(policy, at)
    found: list[Refusal] = []
    for platform, examination in present.items():
        if not question.rules(platform):
            told = f"no rule of the policy has an identity of {platform.tee}"
            reason, code = Reason.REFUSED_ALREADY, PolicyCode.TEE
            found.append(Refusal(platform, None, (), at, False, reason, code, told))
            continue
        found += _of_collateral(platform, examination, question)
        if examination.verified is None:
            continue
        coming = early[platform].verified if platform in early else None
        for tcb in seen:
            if tcb.platform == platform:
                found += _of_standing(tcb, examination.verified, question)
                if coming is not None:
                    found += _of_early(tcb, examination.verified, coming, question)
    return sorted(found, key=lambda each: each.begins)


@dataclass(frozen=True, slots=True)
class _Question:
    """Under which policy, and from when on."""

    policy: Policy
    at: datetime

    def rules(self, platform: Platform) -> tuple[str, ...]:
        return tuple(rules_for(self.policy, platform.tee))

    def moments(self, *more: datetime) -> list[datetime]:
        """Now, and every later day on which the answer may change."""
        ends = [each.expires for each in self.policy.exceptions]
        return sorted({self.at, *(each for each in (*ends, *more) if each > self.at)})


def _of_collateral(
    platform: Platform, examination: Examination, question: _Question
) -> Iterator[Refusal]:
    rules, error = question.rules(platform), examination.error
    if examination.verified is None:
        if error is not None:
            reason, told = Reason.UNUSABLE, error.message
            yield Refusal(platform, None, rules, question.at, False, reason, error.code, told)
        return
    first = next(part for part in examination.parts if part.is_certificate)
    ends, code = first.valid_until + _INSTANT, Code.COLLATERAL_VALIDITY
    yield Refusal(
        platform, None, rules, ends, False, Reason.CERTIFICATE, code, f"{first.name} ends"
    )
    yield from _of_age(platform, examination, examination.verified, question)


def _of_age(
    platform: Platform,
    examination: Examination,
    collateral: VerifiedCollateral,
    question: _Question,
) -> Iterator[Refusal]:
    """From when each rule finds the collateral too old, by the grace that it has then."""
    first = next(part for part in examination.parts if not part.is_certificate)
    found = replace(sound_standing(platform, collateral), collateral_valid_until=first.valid_until)
    graces = {timedelta(0), *(each.collateral_grace for each in question.policy.exceptions)}
    moments = question.moments(*(first.valid_until + grace + _INSTANT for grace in graces))
    ends: dict[datetime, list[str]] = {}
    for rule in question.rules(platform):
        for moment in moments:
            if failures(found, platform.tee, question.policy, rule, AGE, moment):
                ends.setdefault(moment, []).append(rule)
                break
    for moment, rules in ends.items():
        told = f"{first.name} is to be replaced by {first.valid_until:%Y-%m-%d %H:%M} UTC"
        code = PolicyCode.COLLATERAL_AGE
        yield Refusal(platform, None, tuple(rules), moment, False, Reason.COLLATERAL, code, told)


def _of_standing(
    tcb: PlatformTcb, collateral: VerifiedCollateral, question: _Question
) -> Iterator[Refusal]:
    """From when each rule finds the platform's standing too low, as exceptions expire."""
    rules = question.rules(tcb.platform)
    found = _standing(tcb, collateral)
    if isinstance(found, VerificationError):
        yield _already(tcb, rules, question, found.code, found.message)
        return
    for rule in rules:
        for moment in question.moments():
            failed = failures(found, tcb.platform.tee, question.policy, rule, STANDING, moment)
            if not failed:
                continue
            if moment == question.at:
                yield _already(tcb, (rule,), question, failed[0].code, _told(failed))
            else:
                named = [each.name for each in question.policy.exceptions if each.expires == moment]
                told = f"exception {', '.join(map(repr, named))} expires; {_told(failed)}"
                reason, code = Reason.EXCEPTION, failed[0].code
                yield Refusal(tcb.platform, tcb, (rule,), moment, False, reason, code, told)
            break


def _of_early(
    tcb: PlatformTcb,
    collateral: VerifiedCollateral,
    coming: VerifiedCollateral,
    question: _Question,
) -> Iterator[Refusal]:
    """What the early data refuses, once it is the standard, that the present data does not."""
    begins = max(question.at, _becomes_standard(coming))
    is_estimate = begins > question.at
    rules, reason = question.rules(tcb.platform), Reason.EARLY
    now, then = _standing(tcb, collateral), _standing(tcb, coming)
    if isinstance(now, VerificationError):
        return
    if isinstance(then, VerificationError):
        code, told = then.code, then.message
        yield Refusal(tcb.platform, tcb, rules, begins, is_estimate, reason, code, told)
        return
    tee, policy = tcb.platform.tee, question.policy
    for rule in rules:
        for moment in question.moments(begins):
            failed = failures(then, tee, policy, rule, STANDING, moment)
            if moment < begins or not failed:
                continue
            if not failures(now, tee, policy, rule, STANDING, moment):
                estimated, code = is_estimate and moment == begins, failed[0].code
                told = _told(failed)
                yield Refusal(tcb.platform, tcb, (rule,), moment, estimated, reason, code, told)
            break


def _standing(tcb: PlatformTcb, collateral: VerifiedCollateral) -> DcapStanding | VerificationError:
    try:
        return standing(tcb, collateral)
    except VerificationError as error:
        return error


def _becomes_standard(early: VerifiedCollateral) -> datetime:
    dates = [level.date for level in early.tcb_info.levels]
    dates += [level.date for level in early.qe_identity.levels]
    for module in early.tcb_info.tdx_module_identities:
        dates += [level.date for level in module.levels]
    return max(dates, default=early.tcb_info.issue_date) + EARLY_TO_STANDARD


def _already(
    tcb: PlatformTcb, rules: tuple[str, ...], question: _Question, code: str, told: str
) -> Refusal:
    reason = Reason.REFUSED_ALREADY
    return Refusal(tcb.platform, tcb, rules, question.at, False, reason, code, told)


def _told(failed: tuple[Condition, ...]) -> str:
    return "; ".join(map(str, failed))
