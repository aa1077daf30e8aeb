"""Doubts about exceptions: those that ended or soon will, are too wide, or can never be used."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from sealserve.appraisal.policy import Policy, PolicyException
from sealserve.policies.extent import any_of
from sealserve.policies.finding import Doubt, Severity
from sealserve.policies.reach import Reach
from sealserve.verifier.claims import TcbStatus

SOON: Final = timedelta(days=30)
LONGEST: Final = timedelta(days=366)

_TDX_ONLY: Final = {
    TcbStatus.TD_RELAUNCH_ADVISED,
    TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED,
}
_NOT_EXCEPTED: Final = {TcbStatus.UP_TO_DATE, TcbStatus.REVOKED}
_OUT_OF_DATE: Final = {TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED}
# Intel names an advisory with every level of these statuses, so the status alone carries nothing.
_WITH_ADVISORIES: Final = {
    TcbStatus.SW_HARDENING_NEEDED,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED,
}


def doubts_of_exceptions(policy: Policy, reach: Reach, now: datetime) -> Iterator[Doubt]:
    """What is doubtful in each exception."""
    for index, each in enumerate(policy.exceptions):
        yield from _dates(index, each, now)
        yield from _width(index, each, policy)
        yield from _use(index, each, policy, reach)


def _dates(index: int, each: PolicyException, now: datetime) -> Iterator[Doubt]:
    path = ("exceptions", index, "expires")
    left = each.expires - now
    if not each.in_force(now):
        yield Doubt(
            Severity.ERROR,
            path,
            "expired",
            f"the exception {each.name!r} ended at {each.expires.isoformat()}: what needs it is "
            "denied",
            "remove it; or give it a new date, if its reason still holds",
        )
    elif left <= SOON:
        yield Doubt(
            Severity.WARNING,
            path,
            "expires-soon",
            f"the exception {each.name!r} ends in {max(left.days, 0)} days, at "
            f"{each.expires.isoformat()}",
            "`sealserve policy replay` with --at after that date says which decisions change",
        )
    elif left > LONGEST:
        yield Doubt(
            Severity.ERROR,
            path,
            "too-long",
            f"the exception {each.name!r} lasts for {left.days} days, at most {LONGEST.days} are "
            "sound",
            "end it when its reason ends, and look at it again then",
        )


def _width(index: int, each: PolicyException, policy: Policy) -> Iterator[Doubt]:
    def wide(key: str, code: str, message: str, hint: str) -> Doubt:
        name = f"the exception {each.name!r} {message}"
        return Doubt(Severity.WARNING, ("exceptions", index, key), code, name, hint)

    if each.rules is None and each.fmspcs is None and len(policy.rules) > 1:
        yield wide(
            "name",
            "no-scope",
            "holds for every rule and every platform",
            "name the rules or the fmspcs that it is for",
        )
    if set(each.tcb_statuses) >= set(TcbStatus) - _NOT_EXCEPTED - _TDX_ONLY:
        yield wide(
            "tcb_statuses",
            "every-status",
            "accepts every status but Revoked",
            "name the statuses that your platforms have",
        )
    elif _OUT_OF_DATE & set(each.tcb_statuses):
        yield wide(
            "tcb_statuses",
            "out-of-date",
            "accepts platforms with known holes for which updates are out",
            "update the platforms; until then, name their fmspcs here",
        )
    if each.dangerously_allow_debug:
        yield wide(
            "dangerously_allow_debug",
            "debug",
            "releases secrets to targets whose memory their host can read",
            "use it with secrets of no value alone, in a policy of their own",
        )


def _use(index: int, each: PolicyException, policy: Policy, reach: Reach) -> Iterator[Doubt]:
    def useless(key: str, code: str, message: str, hint: str) -> Doubt:
        name = f"the exception {each.name!r} {message}"
        return Doubt(Severity.WARNING, ("exceptions", index, key), code, name, hint)

    rules = [rule for rule in policy.rules if each.rules is None or rule.name in each.rules]
    if all(all(reach.shadows(rule)) for rule in rules):
        yield useless("name", "useless", "is for no rule that can grant", "remove it")
        return
    tee = {identity.name: identity.tee for identity in policy.identities}
    tees = {tee[name] for rule in rules for name in rule.identities}
    if "TDX" not in tees and _TDX_ONLY & set(each.tcb_statuses):
        yield useless(
            "tcb_statuses",
            "useless-status",
            "names a status of trust domains, and is for rules of enclaves",
            "remove that status",
        )
    if _WITH_ADVISORIES & set(each.tcb_statuses) and not _advisories_beside(each, policy):
        yield useless(
            "tcb_statuses",
            "no-advisories",
            "accepts a status that Intel gives with advisories, and no exception accepts any",
            "name the advisories that you have looked at in advisory_ids",
        )
    for other in policy.exceptions[:index]:
        if _within(each, other):
            yield useless(
                "name",
                "covered",
                f"grants nothing that {other.name!r} does not grant",
                "remove one of them",
            )
            return


def _advisories_beside(each: PolicyException, policy: Policy) -> bool:
    """Whether some exception for the same rules and platforms accepts advisories."""
    return any(
        other.advisory_ids
        and _overlap(each.rules, other.rules)
        and _overlap(each.fmspcs, other.fmspcs)
        for other in policy.exceptions
    )


def _overlap(first: tuple[object, ...] | None, second: tuple[object, ...] | None) -> bool:
    return first is None or second is None or bool(set(first) & set(second))


def _within(each: PolicyException, other: PolicyException) -> bool:
    return (
        set(each.tcb_statuses) <= set(other.tcb_statuses)
        and set(each.advisory_ids) <= set(other.advisory_ids)
        and each.collateral_grace <= other.collateral_grace
        and each.dangerously_allow_debug <= other.dangerously_allow_debug
        and each.expires <= other.expires
        and any_of(each.rules).within(any_of(other.rules))
        and any_of(each.fmspcs).within(any_of(other.fmspcs))
    )
