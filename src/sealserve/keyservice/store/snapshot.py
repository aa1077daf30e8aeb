"""What decides at one moment: the policy, the revocations and the secrets of one revision.

A decision rests on one snapshot, and its record is only taken while that revision is in force
(`appender`): so a snapshot may be kept, and its rows read when they are first asked for, without
anybody asking whether it is still true.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sealserve.appraisal.policy import Policy, parse_policy
from sealserve.keyservice.asking import Secret
from sealserve.keyservice.datakey import DataKey
from sealserve.keyservice.store.log import Head
from sealserve.keyservice.store.rules import Rules
from sealserve.keyservice.store.secrets import NAME_LIMIT, State, StoredSecret

KEPT: Final = 20_000  # names; strangers choose some of them
NO_POLICY: Final = parse_policy("version = 2\n")

UNKNOWN: Final = "secret.unknown"
REVOKED: Final = "secret.revoked"
RETIRED: Final = "secret.retired"

Read = Callable[[str], list[StoredSecret]]


class NotAtHand(Exception):
    """The database has to be asked."""


@dataclass(frozen=True)
class Found:
    """A secret that may be released: versions in use, the current one first."""

    versions: tuple[StoredSecret, ...]

    @property
    def record(self) -> bytes | None:
        """The model record of the current version."""
        return self.versions[0].facts.record

    def open(self, key: DataKey) -> tuple[Secret, ...]:
        """The values."""
        return tuple(version.open(key) for version in self.versions)


@dataclass(frozen=True)
class Missing:
    """A secret that is not released to anybody; `code` is for the record, not for the asker."""

    code: str


@dataclass(frozen=True)
class Snapshot:
    """One revision. Safe to use from several threads."""

    head: Head
    rules: Rules
    policy: Policy
    policy_sha256: str | None
    _read: Read = field(repr=False)
    _kept: dict[str, Found | Missing] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def of(cls, head: Head, rules: Rules, read: Read, before: Snapshot | None) -> Snapshot:
        """The snapshot at `head`; a policy that is the one of `before` is not parsed again."""
        if before is not None and before.rules.policy == rules.policy:
            return cls(head, rules, before.policy, before.policy_sha256, read)
        if rules.policy is None:
            return cls(head, rules, NO_POLICY, None, read)
        digest = hashlib.sha256(rules.policy.encode("utf-8")).hexdigest()
        return cls(head, rules, parse_policy(rules.policy), digest, read)

    def has(self, name: str) -> bool:
        """Whether a secret of that name could be released at all."""
        return isinstance(self.secret(name), Found)

    def at_hand(self, name: str) -> Found | Missing:
        """The same as `secret`, if that takes no look at the database; raises NotAtHand."""
        found = self._kept.get(name)
        if found is None:
            raise NotAtHand
        return found

    def secret(self, name: str) -> Found | Missing:
        """What may be released under a name; raises StoreError or IntegrityError."""
        found = self._kept.get(name)
        if found is None:
            found = usable(self._read(name), self.rules.revoked_secrets)
            if len(name) > NAME_LIMIT:
                return found
            with self._lock:
                if len(self._kept) >= KEPT:
                    self._kept.clear()
                self._kept[name] = found
        return found


def usable(versions: list[StoredSecret], revoked: frozenset[str]) -> Found | Missing:
    """What of a name's versions, newest first, may be released.

    Where the current version is revoked, nothing is, until there is a newer one: an older key in
    its place would open files that its owner no longer stands behind. So it is, too, where a newer
    one was revoked and its row is gone from the database.
    """
    if not versions:
        return Missing(UNKNOWN)
    current = versions[0].facts
    if current.name in revoked or _newest_revoked(current.name, revoked) >= current.version:
        return Missing(REVOKED)
    if current.state is not State.CURRENT:
        return Missing(RETIRED)
    older = [
        each
        for each in versions[1:]
        if each.facts.state is State.USABLE
        and f"{each.facts.name}@{each.facts.version}" not in revoked
    ]
    return Found((versions[0], *older))


def _newest_revoked(name: str, revoked: frozenset[str]) -> int:
    """The highest version of a name that is revoked by itself; 0 for none."""
    start = f"{name}@"
    return max((int(each[len(start) :]) for each in revoked if each.startswith(start)), default=0)
