"""The conditions of one appraisal, in their order: what rules have in common is judged once.

Of a rule, what is judged depends on its identities, on the exceptions that are for it, and on what
it asks of whoever asks. Rules that differ in the last alone, as those of a policy with a rule for
each secret do, cost no more than a look at the names. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple, TypeAlias

from sealserve.appraisal import platforms, standing, target
from sealserve.appraisal.conditions import Condition, Cover, PolicyCode, any_of, judged
from sealserve.appraisal.identities import Identity
from sealserve.appraisal.policy import Policy, Rule
from sealserve.appraisal.revocations import Revocations, of_revocations
from sealserve.verifier.claims import Claims, DcapStanding

_SHOWN = 255  # characters of a name that was asked for

_Scope: TypeAlias = tuple[bool, ...]
"""Of each exception, whether it is for the rule."""


class Asked(NamedTuple):
    """Under which name the target asked, and for the secret of which name; None for neither."""

    under: str | None
    secret: str | None


class Judging:
    """Judges `claims` by the rules of `policy`, at `now`, as far as nothing of them is revoked."""

    def __init__(
        self, claims: Claims, policy: Policy, asked: Asked, revoked: Revocations, now: datetime
    ) -> None:
        self._claims = claims
        self._policy = policy
        self._asked = asked
        self._now = now
        self._revoked = tuple(of_revocations(claims, revoked))
        self._identities = {identity.name: identity for identity in policy.identities}
        self._judged: dict[tuple[str, _Scope], tuple[Condition, ...]] = {}

    def conditions(self, rule: Rule, identity: str) -> tuple[Condition, ...]:
        """Every condition of `rule` for its identity of that name."""
        scope = tuple(
            each.rules is None or rule.name in each.rules for each in self._policy.exceptions
        )
        common = self._judged.get((identity, scope))
        if common is None:
            common = (*self._revoked, *self._judge(rule, self._identities[identity]))
            self._judged[identity, scope] = common
        return (*common, *self._asking(rule))

    def _judge(self, rule: Rule, identity: Identity) -> Iterator[Condition]:
        claims, policy = self._claims, self._policy
        fmspc = claims.standing.fmspc if isinstance(claims.standing, DcapStanding) else None
        cover = Cover(policy.exceptions, rule.name, fmspc, self._now)
        yield from standing.of_verifier(claims, policy, cover)
        yield from platforms.of_platform(claims, policy.platform)
        yield from target.of_identity(claims.target, identity)
        yield target.debug_unless_excepted(claims.target, cover)
        yield from standing.of_tcb(claims, cover)

    def _asking(self, rule: Rule) -> Iterator[Condition]:
        under, secret = self._asked
        if rule.asked_for is not None:
            found = under.lower() if under else "no name"
            yield judged(
                PolicyCode.ASKED_FOR,
                "asked_for",
                under is not None and found in rule.asked_for,
                found=found[:_SHOWN],
                expected=any_of(rule.asked_for),
                fix="ask under a name that the rule is for",
            )
        if secret is not None or rule.secret is None:
            accepted = any_of(rule.patterns)
            yield judged(
                PolicyCode.SECRET,
                "secrets" if rule.secret is None else "secret",
                rule.granted(secret) is not None,
                found="no name" if secret is None else secret[:_SHOWN],
                expected=accepted,
                fix=f"ask for {accepted} by name; or, if this target may have the one that it "
                "asked for, name that in a rule",
            )
