"""The states of the secrets as the log has them: against rows that were put back.

A secret's row is authentic, and so is an older one of the same version: whoever writes to the
database can put that back, and a retired version is usable again. The log has every change; read
whole, and found to be the one that was signed, it says how each version has to stand. Revocations
need none of this: no row of a secret holds them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Protocol

from sealserve.errors import AuditError
from sealserve.keyservice.administration.values import Consistency, Query, Record, Status
from sealserve.keyservice.store.secrets import SecretFacts, State


class Source(Protocol):
    """As much of an `Administration` as is asked here."""

    def status(self) -> Status:
        """How it stands."""
        ...

    def secrets(self) -> list[SecretFacts]:
        """Every version of every secret."""
        ...

    def checkpoint(self) -> str:
        """The signed note of the log's head."""
        ...

    def records(self, query: Query) -> list[Record]:
        """At most PAGE records."""
        ...

    def consistency(self, old_size: int) -> Consistency:
        """Proof that nothing before `old_size` was touched."""
        ...


class RecordedStates:
    """A source whose records are listened to as they are read, from the first to the last."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._states: dict[tuple[str, int], State] = {}
        self._next = 0

    def checkpoint(self) -> str:
        """Of the source."""
        return self._source.checkpoint()

    def consistency(self, old_size: int) -> Consistency:
        """Of the source."""
        return self._source.consistency(old_size)

    def records(self, query: Query) -> list[Record]:
        """Of the source; those that come next in the log are listened to."""
        found = self._source.records(query)
        for record in found:
            if record.index == self._next:
                self._next += 1
                self._listen(record.data)
        return found

    def compare(self, revision: int) -> bool:
        """Whether the secrets could be compared: nothing was changed since `revision`.

        Raises AuditError `audit.secrets` where they are not as the records leave them.
        """
        before = self._source.status().revision
        facts = self._source.secrets()
        if not before == self._source.status().revision == revision:
            return False
        found = {(each.name, each.version): each.state for each in facts}
        for key in sorted(found.keys() | self._states.keys()):
            if found.get(key) != self._states.get(key):
                raise _differs(*key, found.get(key), self._states.get(key))
        return True

    def _listen(self, data: bytes) -> None:
        """One record; what is no change of a secret, or not written as ours are, says nothing."""
        try:
            match json.loads(data):
                case {"kind": "change", "what": "secret.add" | "secret.rotate",
                      "secret": str(name), "version": int(version)}:  # fmt: skip
                    if self._states.get((name, version - 1)) is State.CURRENT:
                        self._states[name, version - 1] = State.USABLE
                    self._states[name, version] = State.CURRENT
                case {"kind": "change", "what": "secret.retire",
                      "secret": str(name), "versions": list(versions)}:  # fmt: skip
                    self._retire(name, versions)
        except (ValueError, RecursionError):
            return

    def _retire(self, name: str, versions: Iterable[object]) -> None:
        for version in versions:
            if isinstance(version, int):
                self._states[name, version] = State.RETIRED


def _differs(name: str, version: int, found: State | None, recorded: State | None) -> AuditError:
    return AuditError(
        f"version {version} of the secret {name!r} is {found or 'missing'} in the database, and"
        f" {recorded or 'not there'} by the log: its row was put back, removed or added",
        code="audit.secrets",
        hint="restore a backup; what must not be released is revoked, not only retired",
    )
