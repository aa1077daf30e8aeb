"""The secrets: versions of named values, each sealed under the data key.

The newest version of a name is *current*: it is what an enclave gets. Older ones stay *usable*, for
enclaves that ask by name and files that are not yet sealed anew, until they are *retired*. Whether
one is revoked is not here but in the rules, which no older row can undo.

A row's document (JSON, with the model record that belongs to the secret) and its sealed value are
under one MAC; the value is sealed for its name and version, so that no row passes as another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from sealserve.errors import ConfigError
from sealserve.keyservice.asking import Secret
from sealserve.keyservice.datakey import DataKey
from sealserve.keyservice.store.schema import SECRETS

VALUE_LIMIT: Final = 16 << 10  # bytes; in hexadecimal it still fits Gramine's protocol
VERSIONS_LIMIT: Final = 1000  # of one name
NAME_LIMIT: Final = 128  # characters


class State(StrEnum):
    """Where a version is in its life."""

    CURRENT = "current"
    USABLE = "usable"
    RETIRED = "retired"


@dataclass(frozen=True)
class SecretFacts:
    """What is known of one version, but for its value."""

    name: str
    version: int
    state: State
    size: int
    """Bytes of the value."""
    created_at: datetime
    created_by: str
    changed_at: datetime
    changed_by: str
    model: str | None = None
    """The model that the record names."""
    record: bytes | None = None
    """The model record, canonical JSON."""

    def turned(self, state: State, *, now: datetime, by: str) -> SecretFacts:
        """The same version in another state."""
        return replace(self, state=state, changed_at=now, changed_by=by)


@dataclass(frozen=True)
class StoredSecret:
    """One version with its sealed value."""

    facts: SecretFacts
    sealed: bytes

    def open(self, key: DataKey) -> Secret:
        """The secret itself; raises IntegrityError."""
        name, version = self.facts.name, self.facts.version
        return Secret(name, version, key.open(self.sealed, _value_context(name, version)))


def read_versions(connection: Connection, name: str, key: DataKey) -> list[StoredSecret]:
    """All versions of one name, newest first; raises IntegrityError.

    A name that no secret can have is not looked for: not every database takes every text.
    """
    if not (name.isascii() and name.isprintable() and len(name) <= NAME_LIMIT):
        return []
    rows = connection.execute(_BY_NAME, {"name": name})
    return [_stored(row, key) for row in rows]


def read_all(connection: Connection, key: DataKey) -> Iterator[StoredSecret]:
    """All versions of all names, by name, newest first; raises IntegrityError."""
    for row in connection.execute(_ROWS):
        yield _stored(row, key)


def add_version(connection: Connection, facts: SecretFacts, value: bytes, key: DataKey) -> None:
    """Put a new version there."""
    sealed = key.seal(value, _value_context(facts.name, facts.version))
    connection.execute(insert(SECRETS).values(**_row(StoredSecret(facts, sealed), key)))


def change(connection: Connection, stored: StoredSecret, key: DataKey) -> None:
    """Put other facts in the place of a version's."""
    row = _row(stored, key)
    where = (SECRETS.c.name == stored.facts.name) & (SECRETS.c.version == stored.facts.version)
    connection.execute(update(SECRETS).where(where).values(**row))


def _stored(row: Row[*tuple[Any, ...]], key: DataKey) -> StoredSecret:
    document, sealed = bytes(row.document), bytes(row.sealed)
    key.check_mac(document + sealed, _row_context(row.name, row.version, len(document)), row.mac)
    return StoredSecret(_decode(document), sealed)


def _row(stored: StoredSecret, key: DataKey) -> dict[str, object]:
    name, version = stored.facts.name, stored.facts.version
    document = _encode(stored.facts)
    context = _row_context(name, version, len(document))
    return {
        "name": name,
        "version": version,
        "document": document,
        "sealed": stored.sealed,
        "mac": key.mac(document + stored.sealed, context),
    }


def _row_context(name: str, version: int, length: int) -> bytes:
    return f"secret {name} {version} {length}".encode("ascii")


def _value_context(name: str, version: int) -> bytes:
    return f"value {name} {version}".encode("ascii")


def _encode(facts: SecretFacts) -> bytes:
    document = {
        "name": facts.name,
        "version": facts.version,
        "state": facts.state,
        "size": facts.size,
        "created_at": facts.created_at.isoformat(),
        "created_by": facts.created_by,
        "changed_at": facts.changed_at.isoformat(),
        "changed_by": facts.changed_by,
        "model": facts.model,
        "record": facts.record.decode("utf-8") if facts.record else None,
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _decode(document: bytes) -> SecretFacts:
    """Of a document that is authentic: what is wrong with it is a fault of ours."""
    try:
        fields: dict[str, Any] = json.loads(document)
        record = fields.pop("record")
        return SecretFacts(
            **{
                **fields,
                "state": State(fields["state"]),
                "created_at": datetime.fromisoformat(fields["created_at"]),
                "changed_at": datetime.fromisoformat(fields["changed_at"]),
            },
            record=record.encode("utf-8") if record else None,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigError(
            "a secret in the database is of another version", code="database-revision"
        ) from error


_ROWS: Final = select(
    SECRETS.c.name, SECRETS.c.version, SECRETS.c.document, SECRETS.c.sealed, SECRETS.c.mac
).order_by(SECRETS.c.name, SECRETS.c.version.desc())
_BY_NAME: Final = _ROWS.where(SECRETS.c.name == bindparam("name"))
