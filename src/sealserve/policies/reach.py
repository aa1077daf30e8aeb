"""Which rules of a policy can grant, and which never can, as earlier ones grant first.

Identities are compared by what they let in, host names and exceptions by what they are for, and
secrets by what they may be asked for by: each pattern of a rule on its own, as several earlier
rules may between them take all that it is for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final, TypeAlias

from sealserve.appraisal.policy import Policy, Rule
from sealserve.policies.extent import any_of, extents, within

UNNAMED: Final = None
Ask: TypeAlias = str | None
"""What a secret may be asked for by: a pattern of names, or `UNNAMED`, by none."""


class Reach:
    """What earlier rules leave to each rule of a policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._extents = {each.name: (each.tee, extents(each)) for each in policy.identities}
        self._covers = cache(self._is_covered)
        self._granting = _Granting(policy.rules)
        self._shadows = {
            rule.name: tuple(self._of_identity(index, rule, name) for name in rule.identities)
            for index, rule in enumerate(policy.rules)
        }

    def shadows(self, rule: Rule) -> tuple[tuple[Rule, ...], ...]:
        """For each identity of the rule, the earlier rules that always grant first, whatever is
        asked for; none of them where the rule can grant."""
        found = [tuple(asks.values()) for asks in self._shadows[rule.name]]
        return tuple(tuple(filter(None, each)) if all(each) else () for each in found)

    def taken(self, rule: Rule) -> Mapping[Ask, Rule]:
        """What the rule never grants by, to none of its identities, and who does so before it."""
        first, *others = self._shadows[rule.name]
        return {
            ask: shadow
            for ask, shadow in first.items()
            if shadow and all(asks[ask] for asks in others)
        }

    def _of_identity(self, index: int, rule: Rule, identity: str) -> Mapping[Ask, Rule | None]:
        asks: tuple[Ask, ...] = rule.patterns
        if rule.secret is not None:
            asks = (*asks, UNNAMED)
        return {ask: self._shadow(index, rule, identity, ask) for ask in asks}

    def _shadow(self, index: int, rule: Rule, identity: str, ask: Ask) -> Rule | None:
        for place in self._granting.by(ask):
            earlier = self._policy.rules[place]
            if place >= index:
                return None
            if (
                any(self._covers(name, identity) for name in earlier.identities)
                and any_of(rule.asked_for).within(any_of(earlier.asked_for))
                and self._as_lenient(earlier, rule)
            ):
                return earlier
        return None

    def _is_covered(self, wide: str, narrow: str) -> bool:
        (tee, outer), (other, inner) = self._extents[wide], self._extents[narrow]
        return tee == other and all(within(inner[key], outer[key]) for key in outer)

    def _as_lenient(self, earlier: Rule, later: Rule) -> bool:
        """Whether each exception for the later rule is one for the earlier rule, too."""
        return all(
            each.rules is None or later.name not in each.rules or earlier.name in each.rules
            for each in self._policy.exceptions
        )


class _Granting:
    """Which rules grant all that is asked for by a pattern, or by none, at once for all rules."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._by: dict[Ask, list[int]] = defaultdict(list)
        for place, rule in enumerate(rules):
            for pattern in rule.names.patterns:
                self._by[pattern].append(place)
            if rule.secret is not None:
                self._by[UNNAMED].append(place)

    def by(self, ask: Ask) -> Iterable[int]:
        """The places of these rules, in their order."""
        if ask is UNNAMED:
            return self._by.get(UNNAMED, ())
        beginning = ask.removesuffix("*")
        wider = (f"{beginning[:length]}*" for length in range(len(beginning) + 1))
        return sorted({place for each in (ask, *wider) for place in self._by.get(each, ())})
