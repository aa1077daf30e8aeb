"""Doubts about rules: those that can never grant, or grant more than was meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sealserve.appraisal.policy import Policy, Rule
from sealserve.appraisal.secret_names import EVERY
from sealserve.policies.finding import Doubt, Severity
from sealserve.policies.reach import UNNAMED, Ask, Reach

_NARROWEST_FIRST: Final = "order the rules from the narrowest to the widest"


def doubts_of_rules(policy: Policy, reach: Reach) -> Iterator[Doubt]:
    """What is doubtful in the rules as a whole."""
    if not policy.rules:
        yield Doubt(
            Severity.WARNING,
            ("rules",),
            "no-rules",
            "there are no rules: everything is denied",
            "add a [[rules]] entry for each secret",
        )
    used = {name for rule in policy.rules for name in rule.identities}
    for index, identity in enumerate(policy.identities):
        if identity.name not in used:
            yield Doubt(
                Severity.WARNING,
                ("identities", index, "name"),
                "unused-identity",
                f"no rule uses the identity {identity.name!r}",
                "name it in a rule's identities, or remove it",
            )
    for index, rule in enumerate(policy.rules):
        yield from _every_secret(index, rule)
        yield from _reachability(index, rule, reach)


def _every_secret(index: int, rule: Rule) -> Iterator[Doubt]:
    for place, pattern in enumerate(rule.secrets or ()):
        if pattern == EVERY:
            yield Doubt(
                Severity.WARNING,
                ("rules", index, "secrets", place),
                "every-secret",
                f"the rule {rule.name!r} grants every secret there is, and each that is added",
                "name the secrets, or the beginning that their names have in common",
            )


def _reachability(index: int, rule: Rule, reach: Reach) -> Iterator[Doubt]:
    shadows = reach.shadows(rule)
    if all(shadows):
        found = list(dict.fromkeys(shadow.name for each in shadows for shadow in each))
        same = all(_does_the_same(shadow, rule) for each in shadows for shadow in each)
        yield Doubt(
            Severity.ERROR,
            ("rules", index),
            "unreachable-rule",
            f"the rule {rule.name!r} can never grant: {_names_of(found)} grants before it to "
            "everything that it is for",
            "remove it" if same else _NARROWEST_FIRST,
        )
        return
    yield from _asks(index, rule, reach.taken(rule))
    for place, (name, each) in enumerate(zip(rule.identities, shadows, strict=True)):
        if each:
            yield Doubt(
                Severity.WARNING,
                ("rules", index, "identities", place),
                "unreachable-identity",
                f"the rule {rule.name!r} never grants to {name!r}: "
                f"{_names_of([shadow.name for shadow in each])} grants before it",
                f"{_NARROWEST_FIRST}, or remove the name here",
            )


def _asks(index: int, rule: Rule, taken: Mapping[Ask, Rule]) -> Iterator[Doubt]:
    """What a rule that can grant never grants by."""
    if UNNAMED in taken:
        yield Doubt(
            Severity.WARNING,
            ("rules", index, "secret"),
            "only-by-name",
            f"the rule {rule.name!r} grants to who asks for {rule.secret!r} by name alone: to who "
            f"names no secret the rule {taken[UNNAMED].name!r} grants before it",
            f'write secrets = ["{rule.secret}"], if that is meant; otherwise {_NARROWEST_FIRST}',
        )
    for place, pattern in enumerate(rule.secrets or ()):
        if pattern in taken:
            yield Doubt(
                Severity.WARNING,
                ("rules", index, "secrets", place),
                "unreachable-secret",
                f"the rule {rule.name!r} never grants {pattern!r}: the rule "
                f"{taken[pattern].name!r} grants before it",
                f"{_NARROWEST_FIRST}, or remove the name here",
            )


def _does_the_same(earlier: Rule, later: Rule) -> bool:
    return earlier.encoding == later.encoding and later.names.within(earlier.names)


def _names_of(names: list[str]) -> str:
    different = dict.fromkeys(names)
    only = f"the rule {next(iter(different))!r}"
    return only if len(different) == 1 else "one of the rules before it"
