"""The database with its keys: opened once for a process, and then asked for snapshots.

`meta` holds what opens the rest: the data key, wrapped by the key-encryption key, and the log's
signing key, sealed under the data key.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from sqlalchemy import Connection, insert, select, update

from sealserve.errors import AuditError, ConfigError
from sealserve.keyservice.datakey import DataKey
from sealserve.keyservice.store.database import Database
from sealserve.keyservice.store.log import Head, Log
from sealserve.keyservice.store.rules import Rules, read_rules, write_rules
from sealserve.keyservice.store.schema import META
from sealserve.keyservice.store.secrets import StoredSecret, read_versions
from sealserve.keyservice.store.snapshot import Snapshot
from sealserve.keyservice.wrapping import KeyEncryption
from sealserve.transparency.checkpoint import LogKey

_DATA_KEY, _LOG_KEY, _LOG_ORIGIN = "data_key", "log_key", "log_origin"
_SEED = b"log signing key"


class Store:
    """An open store. Safe to use from several threads; not across a fork."""

    def __init__(self, database: Database, key: DataKey, log_key: LogKey) -> None:
        self.database = database
        self.key = key
        self.log = Log(log_key)
        self._snapshot: Snapshot | None = None
        self._lock = threading.Lock()

    @classmethod
    def initialise(cls, database: Database, kek: KeyEncryption, *, origin: str) -> Store:
        """Make new keys and an empty log in a database of empty tables; ConfigError for others."""
        key, log_key = DataKey.generate(), LogKey.generate(origin)
        store = cls(database, key, log_key)
        with database.writing() as connection:
            if _read_meta(connection):
                raise ConfigError(
                    f"the database {database.name} is in use already", code="database-in-use"
                )
            _write_meta(connection, _DATA_KEY, key.wrapped_by(kek))
            _write_meta(connection, _LOG_KEY, key.seal(log_key.seed, _SEED))
            _write_meta(connection, _LOG_ORIGIN, origin.encode("ascii"))
            store.log.begin(connection)
            write_rules(connection, Rules(), 0, key)
        return store

    @classmethod
    def open(cls, database: Database, kek: KeyEncryption) -> Store:
        """Unwrap the keys; raises ConfigError for an empty database, IntegrityError for another's.

        Neither the head nor what decides is looked at yet.
        """
        database.check_schema()
        with database.reading() as connection:
            return cls.of(database, connection, kek)

    @classmethod
    def of(cls, database: Database, connection: Connection, kek: KeyEncryption) -> Store:
        """The same, by what a transaction sees."""
        meta = _read_meta(connection)
        if not meta:
            raise ConfigError(
                f"the database {database.name} has no keys",
                code="database-empty",
                hint="sealserve keyservice init --config CONFIG",
            )
        for missing in {_DATA_KEY, _LOG_KEY, _LOG_ORIGIN} - meta.keys():
            raise AuditError(f"the database lacks its {missing}", hint="restore a backup")
        key = DataKey.unwrap(meta[_DATA_KEY], kek)
        seed = key.open(meta[_LOG_KEY], _SEED)
        origin = meta[_LOG_ORIGIN].decode("ascii", "replace")  # another than its notes' is found
        return cls(database, key, LogKey.from_seed(origin, seed))

    @property
    def kept(self) -> Snapshot | None:
        """The last revision that was read, if one was."""
        return self._snapshot

    @property
    def snapshot(self) -> Snapshot:
        """The last revision that was read; raises as `refresh` does where none was."""
        return self._snapshot or self.refresh()

    def refresh(self) -> Snapshot:
        """Read the revision in force; raises StoreError, or AuditError for a head that is unsound.

        Several threads that find theirs outdated wait for one of them to read, and take what it
        found, unless this process has made a change since.
        """
        before, wanted = self._snapshot, self.log.revision
        with self._lock:
            found = self._snapshot
            if found is not None and found is not before and found.head.revision >= wanted:
                return found
            with self.database.reading() as connection:
                head = self.log.read(connection)
                self._snapshot = self.view(connection, head)
            self.log.saw(head)
            return self._snapshot

    def view(self, connection: Connection, head: Head) -> Snapshot:
        """What decides at `head`, in a transaction that sees it; raises IntegrityError."""
        before = self._snapshot
        if before is not None and before.head.revision == head.revision:
            return replace(before, head=head)  # with what it has read
        rules = read_rules(connection, head, self.key)
        return Snapshot.of(head, rules, self._versions, before)

    def rewrap(self, connection: Connection, kek: KeyEncryption) -> None:
        """Put the data key under another key-encryption key."""
        where = META.c.name == _DATA_KEY
        connection.execute(update(META).where(where).values(value=self.key.wrapped_by(kek)))

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def _versions(self, name: str) -> list[StoredSecret]:
        with self.database.reading() as connection:
            return read_versions(connection, name, self.key)


def _read_meta(connection: Connection) -> dict[str, bytes]:
    return {row.name: bytes(row.value) for row in connection.execute(select(META))}


def _write_meta(connection: Connection, name: str, value: bytes) -> None:
    connection.execute(insert(META).values(name=name, value=value))
