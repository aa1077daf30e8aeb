"""Revocations one by one: what people name, in and out of the rules that decide."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sealserve.errors import UsageError
from sealserve.keyservice.administration.values import Target, TargetKind
from sealserve.keyservice.store.rules import Rules

LIMIT: Final = 10_000  # of each kind
_FIELDS: Final = {
    TargetKind.MEASUREMENT: "measurements",
    TargetKind.SIGNER: "signers",
    TargetKind.PLATFORM: "platforms",
}


def targets_of(rules: Rules) -> list[Target]:
    """Everything that the rules revoke, in order."""
    found = [Target(TargetKind.SECRET, name) for name in rules.revoked_secrets]
    for kind, field in _FIELDS.items():
        found += [Target(kind, value.hex()) for value in getattr(rules.revoked, field)]
    return sorted(found)


def is_revoked(rules: Rules, target: Target) -> bool:
    """Whether the rules name exactly this."""
    return target in targets_of(rules)


def revoked(rules: Rules, target: Target) -> Rules:
    """The rules with one more; raises UsageError where there are too many."""
    known = _values(rules, target.kind)
    if len(known) >= LIMIT and target.value not in known:
        raise UsageError(
            f"{LIMIT} of the kind {target.kind} are revoked, the most there can be",
            hint="narrow the policy instead, and lift those that it no longer allows",
        )
    return _with(rules, target.kind, known | {target.value})


def without(rules: Rules, target: Target) -> Rules:
    """The rules with one less."""
    return _with(rules, target.kind, _values(rules, target.kind) - {target.value})


def _values(rules: Rules, kind: TargetKind) -> frozenset[str]:
    if kind is TargetKind.SECRET:
        return rules.revoked_secrets
    return frozenset(value.hex() for value in getattr(rules.revoked, _FIELDS[kind]))


def _with(rules: Rules, kind: TargetKind, values: frozenset[str]) -> Rules:
    if kind is TargetKind.SECRET:
        return replace(rules, revoked_secrets=values)
    octets = frozenset(map(bytes.fromhex, values))
    return replace(rules, revoked=replace(rules.revoked, **{_FIELDS[kind]: octets}))
