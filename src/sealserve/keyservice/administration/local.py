"""Changes and questions, put to the database itself.

A change locks the log's head, does what it does, puts a record of itself into the log and raises
the revision, all in one transaction: it is there with its record, or not at all, and from its
commit on no release rests on what was before (`sealserve.keyservice.store.appender`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from sealserve.errors import UsageError
from sealserve.keyservice.administration import dry_run, reading
from sealserve.keyservice.administration.targets import is_revoked, revoked, targets_of, without
from sealserve.keyservice.administration.values import (
    NAME,
    Actor,
    Consistency,
    DryRun,
    Inclusion,
    PolicyFacts,
    Query,
    Record,
    Status,
    Target,
    TargetKind,
)
from sealserve.keyservice.datakey import DataKey
from sealserve.keyservice.store.log import Leaf
from sealserve.keyservice.store.memory import Memory
from sealserve.keyservice.store.rules import Rules, write_rules
from sealserve.keyservice.store.secrets import (
    VALUE_LIMIT,
    VERSIONS_LIMIT,
    SecretFacts,
    State,
    StoredSecret,
    add_version,
    change,
    read_all,
    read_versions,
)
from sealserve.keyservice.store.snapshot import Snapshot
from sealserve.keyservice.store.store import Store
from sealserve.keyservice.wrapping import KeyEncryption
from sealserve.sealing.record import parse_record

REASON_LIMIT = 400  # characters


@dataclass(frozen=True)
class Change:
    """What a change did: the facts for its record, and the rules where it changed those."""

    facts: Mapping[str, object]
    rules: Rules | None = None


class LocalAdministration:
    """`sealserve.keyservice.administration.values.Administration`, by one person."""

    def __init__(
        self,
        store: Store,
        actor: Actor,
        *,
        trust_root_sha256: str | None,
        simulated: bool,
        memory: Memory | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._actor = actor
        self._trust_root_sha256 = trust_root_sha256
        self._simulated = simulated
        self._memory = memory
        self._clock = clock

    def status(self) -> Status:
        """How it stands."""
        snapshot = self._store.refresh()
        with self._store.database.reading() as connection:
            count = len({each.facts.name for each in read_all(connection, self._store.key)})
        return Status(
            database=self._store.database.name,
            log_origin=self._store.log.key.origin,
            log_size=snapshot.head.size,
            revision=snapshot.head.revision,
            policy_sha256=snapshot.policy_sha256,
            secrets=count,
            simulated=self._simulated,
        )

    def secrets(self) -> list[SecretFacts]:
        """Every version of every secret, without the models' records."""
        with self._store.database.reading() as connection:
            found = read_all(connection, self._store.key)
            return [replace(each.facts, record=None) for each in found]

    def secret(self, name: str) -> list[SecretFacts]:
        """Every version of one secret."""
        with self._store.database.reading() as connection:
            return [each.facts for each in self._versions(connection, name)]

    def add_secret(self, name: str, value: bytes, record: bytes | None = None) -> SecretFacts:
        """A new name."""
        if NAME.fullmatch(name) is None:
            raise UsageError(
                f"{name!r:.140} is no name of a secret: letters, digits, dots, hyphens and"
                " underscores, at most 128"
            )
        facts = self._new_facts(name, 1, value, record)

        def add(connection: Connection, _before: Snapshot) -> Change:
            if read_versions(connection, name, self._store.key):
                raise UsageError(
                    f"there is a secret {name!r} already",
                    code="secret-exists",
                    hint=f"for a new version of it: sealserve secret rotate {name}",
                )
            add_version(connection, facts, value, self._store.key)
            return Change({"what": "secret.add", "secret": name, "version": 1})

        self._change(add)
        return facts

    def rotate_secret(self, name: str, value: bytes, record: bytes | None = None) -> SecretFacts:
        """A new current version."""
        made: list[SecretFacts] = []

        def rotate(connection: Connection, _before: Snapshot) -> Change:
            versions = self._versions(connection, name)
            newest = versions[0]
            if newest.facts.version >= VERSIONS_LIMIT:
                raise UsageError(f"the secret {name!r} has {VERSIONS_LIMIT} versions, the most")
            if any(each.open(self._store.key).reveal() == value for each in versions):
                raise UsageError(
                    f"the secret {name!r} has that value already", hint="rotate to a new one"
                )
            if newest.facts.state is State.CURRENT:
                self._turn(connection, newest, State.USABLE)
            facts = self._new_facts(
                name, newest.facts.version + 1, value, record or newest.facts.record
            )
            add_version(connection, facts, value, self._store.key)
            made.append(facts)
            return Change({"what": "secret.rotate", "secret": name, "version": facts.version})

        self._change(rotate)
        return made[0]

    def retire_secret(self, name: str, version: int | None = None) -> list[SecretFacts]:
        """Release a version, or all of them, no more."""
        turned: list[SecretFacts] = []

        def retire(connection: Connection, _before: Snapshot) -> Change:
            versions = self._versions(connection, name)
            for each in _chosen(versions, version):
                if each.facts.state is not State.RETIRED:
                    turned.append(self._turn(connection, each, State.RETIRED))
            retired = [facts.version for facts in turned]
            return Change({"what": "secret.retire", "secret": name, "versions": retired})

        self._change(retire)
        return turned

    def revocations(self) -> list[Target]:
        """Everything that is revoked."""
        return targets_of(self._store.refresh().rules)

    def revoke(self, target: Target, reason: str) -> None:
        """From the next release on."""

        def added(connection: Connection, rules: Rules) -> Rules:
            if target.kind is TargetKind.SECRET:  # a name that is mistyped would revoke nothing
                name, _, version = target.value.partition("@")
                _chosen(self._versions(connection, name), int(version) if version else None)
            return revoked(rules, target)

        self._change_rules("revocation.add", target, reason, added)

    def lift(self, target: Target, reason: str) -> None:
        """Take a revocation back."""

        def lifted(_connection: Connection, rules: Rules) -> Rules:
            if not is_revoked(rules, target):
                raise UsageError(f"{target} is not revoked", code="not-revoked")
            return without(rules, target)

        self._change_rules("revocation.lift", target, reason, lifted)

    def policy(self) -> PolicyFacts:
        """The one in force."""
        return _policy_facts(self._store.refresh())

    def try_policy(self, text: str) -> DryRun:
        """Judge the newest decisions on record by another policy."""
        policy = dry_run.parse(text, self._trust_root_sha256)
        snapshot = self._store.refresh()
        with self._store.database.reading() as connection:
            return dry_run.run(connection, self._store.key, snapshot, policy, text)

    def apply_policy(self, text: str, token: str) -> PolicyFacts:
        """Put a policy in force that was tried on the revision that still is."""
        dry_run.parse(text, self._trust_root_sha256)
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest()

        def apply(_connection: Connection, before: Snapshot) -> Change:
            dry_run.check_token(self._store.key, before, text, token)
            rules = before.rules.with_policy(text, now=self._clock(), by=self._actor.name)
            return Change({"what": "policy.apply", "policy_sha256": digest}, rules)

        self._change(apply)
        return self.policy()

    def log_key(self) -> str:
        """The verifier key of the log."""
        return str(self._store.log.key.verifier)

    def checkpoint(self) -> str:
        """The signed note of the log's head."""
        with self._store.database.reading() as connection:
            return self._store.log.read(connection).note

    def records(self, query: Query) -> list[Record]:
        """At most PAGE records."""
        with self._store.database.searching() as connection:
            return reading.records(connection, self._store.log.read(connection), query)

    def inclusion(self, index: int) -> Inclusion:
        """Proof of one record under the head."""
        with self._store.database.reading() as connection:
            return reading.inclusion(connection, self._store.log.read(connection), index)

    def consistency(self, old_size: int) -> Consistency:
        """Proof that nothing before `old_size` was touched."""
        with self._store.database.reading() as connection:
            return reading.consistency(connection, self._store.log.read(connection), old_size)

    def rewrap(self, kek: KeyEncryption) -> None:
        """Put the data key under another key-encryption key, once that has opened it again.

        Not over the admin API: whoever does it has both keys.
        """
        key = self._store.key
        DataKey.unwrap(key.wrapped_by(kek), kek)  # a key that only wraps would be the end

        def rewrap(connection: Connection, _before: Snapshot) -> Change:
            self._store.rewrap(connection, kek)
            return Change({"what": "wrapping.change", "wrapping": kek.kind})

        self._change(rewrap)

    def _change(self, make: Callable[[Connection, Snapshot], Change]) -> None:
        """One change with its record."""
        store, actor = self._store, self._actor
        with store.database.writing() as connection:
            head = store.log.lock(connection)
            if self._memory is not None:
                self._memory.check(connection, head)
            before = store.view(connection, head)
            made = make(connection, before)
            revision, rules = head.revision + 1, head.rules
            if made.rules is not None:
                rules += 1
                write_rules(connection, made.rules, rules, store.key)
            facts = {
                "by": actor.name,
                "role": actor.role,
                "request_id": actor.request_id,
                "revision": revision,
                **made.facts,
            }
            leaf = Leaf.of("change", self._clock(), facts)
            head = store.log.append(connection, head, [leaf], revision=revision, rules=rules)
        store.log.saw(head)
        if self._memory is not None:  # nobody puts the database back to before a revocation
            self._memory.keep(head)

    def _change_rules(
        self,
        what: str,
        target: Target,
        reason: str,
        how: Callable[[Connection, Rules], Rules],
    ) -> None:
        if not reason.strip() or len(reason) > REASON_LIMIT:
            raise UsageError(
                f"a reason of 1 to {REASON_LIMIT} characters is needed: it goes on record"
            )

        def apply(connection: Connection, before: Snapshot) -> Change:
            facts = {"what": what, "target": str(target), "reason": reason}
            return Change(facts, how(connection, before.rules))

        self._change(apply)

    def _versions(self, connection: Connection, name: str) -> list[StoredSecret]:
        versions = read_versions(connection, name, self._store.key)
        if not versions:
            raise UsageError(f"there is no secret {name!r:.140}", code="no-secret")
        return versions

    def _turn(self, connection: Connection, stored: StoredSecret, state: State) -> SecretFacts:
        facts = stored.facts.turned(state, now=self._clock(), by=self._actor.name)
        change(connection, replace(stored, facts=facts), self._store.key)
        return facts

    def _new_facts(
        self, name: str, version: int, value: bytes, record: bytes | None
    ) -> SecretFacts:
        if not 0 < len(value) <= VALUE_LIMIT:
            raise UsageError(f"a secret of {len(value)} bytes: expected 1 to {VALUE_LIMIT}")
        parsed = parse_record(record) if record else None
        now, by = self._clock(), self._actor.name
        return SecretFacts(
            name=name,
            version=version,
            state=State.CURRENT,
            size=len(value),
            created_at=now,
            created_by=by,
            changed_at=now,
            changed_by=by,
            model=parsed.model if parsed else None,
            record=parsed.to_json() if parsed else None,
        )


def _chosen(versions: list[StoredSecret], version: int | None) -> list[StoredSecret]:
    found = [each for each in versions if version in (None, each.facts.version)]
    if not found:
        name = versions[0].facts.name
        raise UsageError(f"the secret {name!r} has no version {version}", code="no-version")
    return found


def _policy_facts(snapshot: Snapshot) -> PolicyFacts:
    rules = snapshot.rules
    return PolicyFacts(
        rules.policy,
        snapshot.policy_sha256,
        snapshot.head.revision,
        rules.applied_at,
        rules.applied_by,
    )
