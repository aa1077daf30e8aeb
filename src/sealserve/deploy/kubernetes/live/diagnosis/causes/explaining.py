"""Findings of all kinds from what is seen: the same ones once, causes before what follows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from sealserve.deploy.kubernetes.live.diagnosis.causes.catalogue import FOLLOWING, Cause, Finding
from sealserve.deploy.kubernetes.live.diagnosis.causes.ending import ending
from sealserve.deploy.kubernetes.live.diagnosis.causes.giving import giving
from sealserve.deploy.kubernetes.live.diagnosis.causes.keys import keys
from sealserve.deploy.kubernetes.live.diagnosis.causes.placing import placing
from sealserve.deploy.kubernetes.live.diagnosis.causes.rolling import rolling
from sealserve.deploy.kubernetes.live.diagnosis.causes.starting import starting
from sealserve.deploy.kubernetes.live.seen import Seen
from sealserve.deploy.weakness import Severity

_RULES: Final = (giving, placing, starting, keys, ending, rolling)
_ORDER: Final = {cause: place for place, cause in enumerate(Cause)}
_OF_KEY_SERVICE: Final = (Cause.UNREACHED, Cause.BROKEN)


def explain(seen: Seen) -> tuple[Finding, ...]:
    """What is wrong, errors first, then in the catalogue's order; empty where nothing is."""
    found = _merged(each for rule in _RULES for each in rule(seen))
    sick = {
        each.component
        for each in found
        if each.severity is Severity.ERROR and each.cause not in FOLLOWING
    }
    told = [each for each in found if not _follows(each, sick)]
    return tuple(sorted(told, key=lambda each: (each.severity is not Severity.ERROR, _place(each))))


def worst(findings: Iterable[Finding]) -> int:
    """The exit code of the first error; 0 where there is none."""
    return next((each.exit_code for each in findings if each.severity is Severity.ERROR), 0)


def _place(finding: Finding) -> int:
    return _ORDER[finding.cause]


def _follows(finding: Finding, sick: set[str]) -> bool:
    """Whether another finding is told that this one comes from."""
    if finding.cause in _OF_KEY_SERVICE:
        return "keyservice" in sick
    return finding.cause in FOLLOWING and finding.component in sick


def _merged(found: Iterable[Finding]) -> list[Finding]:
    """Each finding once, with the pods of all that say the same."""
    merged: dict[tuple[str, str, Severity], Finding] = {}
    for each in found:
        key = (each.code, each.what, each.severity)
        before = merged.get(key)
        pods = (*before.pods, *each.pods) if before else each.pods
        merged[key] = replace(each, pods=tuple(dict.fromkeys(pods)))
    return list(merged.values())
