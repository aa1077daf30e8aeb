"""What one policy lets in that another does not, in words.

Names are what ties the two files together: identities, rules and exceptions are compared with those
of the same name, and one that only changed its name is recognised by its content. Every difference
says whether it lets in more (`wider`), less (`narrower`), or neither can be said (`other`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from sealserve.appraisal.identities import Identity
from sealserve.appraisal.policy import Policy, PolicyException, Rule
from sealserve.policies.difference import Difference, differences, shown
from sealserve.policies.extent import Asks, Change, Extent, Range, any_of, extents

_INTEL = "Intel's"


def diff(old: Policy, new: Policy) -> tuple[Difference, ...]:
    """Every difference between two policies, in the order of a policy file; none for the same."""
    identities = _Pairs(old.identities, new.identities)
    rules = _Pairs(old.rules, new.rules)
    exceptions = _Pairs(old.exceptions, new.exceptions)
    return (
        *_whole(old, new),
        *_identities(identities, old, new),
        *_rules(rules, identities.renamed),
        *_order(rules, old, new),
        *_exceptions(exceptions, rules.renamed),
    )


class _Pairs:
    """The entries of two lists, side by side: by name, then by content."""

    def __init__(self, old: Iterable[Any], new: Iterable[Any]) -> None:
        before = {each.name: each for each in old}
        after = {each.name: each for each in new}
        self.both = [(before[name], after[name]) for name in before if name in after]
        self.removed = [each for name, each in before.items() if name not in after]
        self.added = [each for name, each in after.items() if name not in before]
        self.renamed: dict[str, str] = {}
        for each in list(self.removed):
            twin = next((other for other in self.added if _content(other) == _content(each)), None)
            if twin is not None:
                self.removed.remove(each)
                self.added.remove(twin)
                self.renamed[each.name] = twin.name


def _content(entry: BaseModel) -> Mapping[str, object]:
    return entry.model_dump(exclude={"name"})


def _whole(old: Policy, new: Policy) -> Iterator[Difference]:
    if old.trust_root != new.trust_root:
        roots = [
            _INTEL if root is None else root.hex() for root in (old.trust_root, new.trust_root)
        ]
        yield Difference(Change.OTHER, "trust_root", f"was {roots[0]}, is {roots[1]}")
    yield from differences("platform", _of_platform(old), _of_platform(new))
    yield from differences("maa", _of_azure(old), _of_azure(new))


def _of_platform(policy: Policy) -> Mapping[str, Extent]:
    platform = policy.platform
    return {
        "fmspcs": any_of(platform.fmspcs),
        "platform_ids": any_of(platform.platform_ids),
        "minimum_tcb_evaluation_data_number": Range(
            platform.minimum_tcb_evaluation_data_number or 0
        ),
        "dynamic_platform": _flag(platform.dynamic_platform),
        "cached_keys": _flag(platform.cached_keys),
        "smt_enabled": _flag(platform.smt_enabled),
    }


def _flag(wanted: bool | None) -> Extent:
    return any_of(None if wanted is None else ["true" if wanted else "false"])


def _of_azure(policy: Policy) -> Mapping[str, Extent]:
    return {
        "issuers": any_of(policy.maa.issuers if policy.maa else ()),
        "policy_hashes": any_of(policy.maa.policy_hashes if policy.maa else ()),
    }


def _identities(pairs: _Pairs, old: Policy, new: Policy) -> Iterator[Difference]:
    used_before, used = _used(old), _used(new)
    yield from _renames("identity", pairs)
    for each in pairs.removed:
        change = Change.NARROWER if each.name in used_before else Change.OTHER
        yield Difference(change, _place("identity", each), "removed")
    for each in pairs.added:
        change = Change.WIDER if each.name in used else Change.OTHER
        unused = "" if each.name in used else "; no rule uses it"
        text = f"added: {_shown_identity(each)}{unused}"
        yield Difference(change, _place("identity", each), text)
    for before, after in pairs.both:
        place = _place("identity", after)
        if before.tee != after.tee:
            yield Difference(Change.OTHER, place, f"was {before.tee}, is {after.tee}")
        else:
            yield from differences(place, extents(before), extents(after))


def _used(policy: Policy) -> set[str]:
    return {name for rule in policy.rules for name in rule.identities}


def _shown_identity(identity: Identity) -> str:
    written = identity.model_dump(exclude={"name", "tee"}, exclude_defaults=True)
    return ", ".join(f"{key} {shown(value)}" for key, value in written.items())


def _rules(pairs: _Pairs, renamed: Mapping[str, str]) -> Iterator[Difference]:
    yield from _renames("rule", pairs)
    for each in pairs.removed:
        yield Difference(Change.NARROWER, _place("rule", each), f"removed: {_grants(each)}")
    for each in pairs.added:
        yield Difference(Change.WIDER, _place("rule", each), f"added: {_grants(each)}")
    for before, after in pairs.both:
        place = _place("rule", after)
        yield from _secrets(place, before, after)
        if before.encoding != after.encoding:
            text = f"encoding was {before.encoding}, is {after.encoding}"
            yield Difference(Change.OTHER, place, text)
        yield from differences(place, _of_rule(before, renamed), _of_rule(after, {}))


def _secrets(place: str, before: Rule, after: Rule) -> Iterator[Difference]:
    if before.secret is None or after.secret is None:
        was, is_ = (
            {"secrets": Asks(each.names, each.secret is not None)} for each in (before, after)
        )
        yield from differences(place, was, is_)
    elif before.secret != after.secret:
        yield Difference(Change.OTHER, place, f"secret was {before.secret}, is {after.secret}")


def _of_rule(rule: Rule, renamed: Mapping[str, str]) -> Mapping[str, Extent]:
    return {
        "identities": any_of(renamed.get(name, name) for name in rule.identities),
        "asked_for": any_of(rule.asked_for),
    }


def _grants(rule: Rule) -> str:
    names = f" under {shown(rule.asked_for)}" if rule.asked_for else ""
    secret = repr(rule.secret) if rule.secret else f"{shown(rule.secrets)} by name"
    return f"{shown(rule.identities)} may have {secret} ({rule.encoding}){names}"


def _order(pairs: _Pairs, old: Policy, new: Policy) -> Iterator[Difference]:
    """The first rule that holds grants, so their order counts where two may hold."""
    kept = {after.name for _, after in pairs.both} | set(pairs.renamed.values())
    before = [pairs.renamed.get(rule.name, rule.name) for rule in old.rules]
    after = [rule.name for rule in new.rules]
    was, is_ = ([name for name in names if name in kept] for names in (before, after))
    if was != is_:
        yield Difference(Change.OTHER, "rules", f"the order was {shown(was)}, is {shown(is_)}")


def _exceptions(pairs: _Pairs, renamed: Mapping[str, str]) -> Iterator[Difference]:
    yield from _renames("exception", pairs)
    for each in pairs.removed:
        yield Difference(Change.NARROWER, _place("exception", each), "removed")
    for each in pairs.added:
        yield Difference(Change.WIDER, _place("exception", each), f"added: {_excepts(each)}")
    for before, after in pairs.both:
        place = _place("exception", after)
        yield from _end(place, before.expires, after.expires)
        if before.reason != after.reason:
            yield Difference(
                Change.OTHER, place, f"reason was {before.reason!r}, is {after.reason!r}"
            )
        yield from differences(place, _of_exception(before, renamed), _of_exception(after, {}))


def _end(place: str, was: datetime, is_: datetime) -> Iterator[Difference]:
    if was != is_:
        change = Change.WIDER if is_ > was else Change.NARROWER
        text = f"expires was {was.isoformat()}, is {is_.isoformat()}"
        yield Difference(change, place, text)


def _of_exception(each: PolicyException, renamed: Mapping[str, str]) -> Mapping[str, Extent]:
    rules = None if each.rules is None else [renamed.get(name, name) for name in each.rules]
    return {
        "tcb_statuses": any_of(each.tcb_statuses),
        "advisory_ids": any_of(each.advisory_ids),
        "collateral_grace_hours": Range(0, each.collateral_grace_hours or 0),
        "dangerously_allow_debug": any_of(["debug"] if each.dangerously_allow_debug else []),
        "rules": any_of(rules),
        "fmspcs": any_of(each.fmspcs),
    }


def _excepts(each: PolicyException) -> str:
    kept = {"tcb_statuses", "advisory_ids", "collateral_grace_hours", "dangerously_allow_debug"}
    kept |= {"rules", "fmspcs"}
    written = each.model_dump(include=kept, exclude_defaults=True)
    parts = ", ".join(f"{key} {shown(value)}" for key, value in written.items())
    return f"{parts}, until {each.expires.isoformat()}"


def _renames(kind: str, pairs: _Pairs) -> Iterator[Difference]:
    for was, is_ in pairs.renamed.items():
        yield Difference(Change.OTHER, f"{kind} {is_!r}", f"renamed: was {was!r}")


def _place(kind: str, entry: Identity | Rule | PolicyException) -> str:
    return f"{kind} {entry.name!r}"
