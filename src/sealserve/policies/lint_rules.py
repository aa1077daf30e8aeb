"""Doubts about rules: those that can never grant, and identities that no rule uses."""

from __future__ import annotations

from collections.abc import Iterator

from sealserve.appraisal.policy import Policy, Rule
from sealserve.policies.extent import any_of, extents, within
from sealserve.policies.finding import Doubt, Severity


class Reach:
    """Which rules of a policy can grant, and which never can, as earlier ones grant first."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._extents = {each.name: (each.tee, extents(each)) for each in policy.identities}
        self._shadows = {
            rule.name: tuple(self._shadow(index, rule, name) for name in rule.identities)
            for index, rule in enumerate(policy.rules)
        }

    def shadows(self, rule: Rule) -> tuple[Rule | None, ...]:
        """For each identity of the rule, the earlier rule that always grants first, if any."""
        return self._shadows[rule.name]

    def _shadow(self, index: int, rule: Rule, identity: str) -> Rule | None:
        for earlier in self._policy.rules[:index]:
            if (
                any(self._covers(name, identity) for name in earlier.identities)
                and any_of(rule.asked_for).within(any_of(earlier.asked_for))
                and self._as_lenient(earlier, rule)
            ):
                return earlier
        return None

    def _covers(self, wide: str, narrow: str) -> bool:
        (tee, outer), (other, inner) = self._extents[wide], self._extents[narrow]
        return tee == other and all(within(inner[key], outer[key]) for key in outer)

    def _as_lenient(self, earlier: Rule, later: Rule) -> bool:
        """Whether each exception for the later rule is one for the earlier rule, too."""
        return all(
            each.rules is None or later.name not in each.rules or earlier.name in each.rules
            for each in self._policy.exceptions
        )


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
        yield from _reachability(index, rule, reach.shadows(rule))


def _reachability(index: int, rule: Rule, shadows: tuple[Rule | None, ...]) -> Iterator[Doubt]:
    found = [shadow for shadow in shadows if shadow]
    if len(found) == len(shadows):
        same = all(shadow.secret == rule.secret for shadow in found)
        yield Doubt(
            Severity.ERROR,
            ("rules", index),
            "unreachable-rule",
            f"the rule {rule.name!r} can never grant: {_names_of(found)} grants before it to "
            "everything that it is for",
            "remove it" if same else "order the rules from the narrowest to the widest",
        )
        return
    for place, (name, shadow) in enumerate(zip(rule.identities, shadows, strict=True)):
        if shadow:
            yield Doubt(
                Severity.WARNING,
                ("rules", index, "identities", place),
                "unreachable-identity",
                f"the rule {rule.name!r} never grants to {name!r}: the rule {shadow.name!r} "
                "grants before it",
                "order the rules from the narrowest to the widest, or remove the name here",
            )


def _names_of(shadows: list[Rule]) -> str:
    names = dict.fromkeys(shadow.name for shadow in shadows)
    return f"the rule {next(iter(names))!r}" if len(names) == 1 else "one of the rules before it"
