"""A database, opened so that what is committed is durable and every wait ends.

SQLite: write-ahead log with `synchronous=FULL` (a commit returns after the log file is synced); a
writer takes its lock as the transaction begins. PostgreSQL: `synchronous_commit=on` whatever the
server's default is, a server with `fsync=off` is refused, and over a network its certificate is
verified. Whatever goes wrong in a transaction is a StoreError, and nothing of it is there; only
where the connection breaks *during* the commit it may be there all the same, unknown to us.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, func, inspect, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from sealserve.errors import ConfigError, StoreError
from sealserve.keyservice.store import pool, sqlite
from sealserve.keyservice.store.schema import META, METADATA, REVISIONS, VERSION


class Database:
    """An open database. Safe to use from several threads; not across a fork."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        postgresql = engine.dialect.name == "postgresql"
        self._reading = {"isolation_level": "REPEATABLE READ"} if postgresql else {}

    @classmethod
    def open(cls, url: URL, *, password: Path | None = None, create: bool = False) -> Database:
        """Connect and look at it; raises ConfigError for a database that is not one of ours.

        `create` allows that there is none yet. Raises StoreError when it cannot be reached.
        """
        engine = _open(url, password, create)
        database = cls(engine)
        try:
            database._check_durable()
        except BaseException:
            engine.dispose()
            raise
        return database

    @property
    def name(self) -> str:
        """How people know it; no password is in it."""
        return self._engine.url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view, in which nothing is written."""
        with self._transaction(self._reading) as connection:
            yield connection

    @contextmanager
    def searching(self) -> Iterator[Connection]:
        """The same as `reading`, for what could have to look at every row: it ends in time.

        PostgreSQL bounds every statement so; SQLite none.
        """
        until = time.monotonic() + pool.WAIT_SECONDS
        with self._transaction({**self._reading, pool.UNTIL: until}) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes: durable when the block has ended, nothing of it otherwise."""
        with self._transaction({pool.WRITING: True}) as connection:
            yield connection

    def has_no_keys(self) -> bool:
        """Whether its tables are still as they were made."""
        with self.reading() as connection:
            return connection.execute(select(func.count()).select_from(META)).scalar_one() == 0

    def migrate(self) -> str:
        """Bring the tables to this version's form; returns its revision."""
        with self.writing() as connection:
            if connection.dialect.name == "postgresql":  # two copies may begin at once
                connection.execute(text("SELECT pg_advisory_xact_lock(7325614)"))
            self._check_ours(connection)
            # Only here: whoever just opens a database need not wait for what this is made of.
            from sealserve.keyservice.store.migrations import upgrade

            upgrade(connection)
        return REVISIONS[-1]

    def check_schema(self) -> None:
        """Raise ConfigError unless the tables have the form that this version reads."""
        with self.reading() as connection:
            found = _revision(connection)
        wanted = REVISIONS[-1]
        if found is None:
            raise ConfigError(
                f"the database {self.name} is empty",
                code="database-empty",
                hint="sealserve keyservice init --config CONFIG",
            )
        if found != wanted:
            raise ConfigError(
                f"the database {self.name} has the tables of revision {found}, and this version"
                f" reads {wanted}",
                code="database-revision",
                hint="sealserve keyservice init --config CONFIG brings older tables up to date",
            )

    def _check_ours(self, connection: Connection) -> None:
        """Raise ConfigError for tables of another program, or of a later version of this one."""
        found = _revision(connection)
        if found is None:
            theirs = set(inspect(connection).get_table_names()) & set(METADATA.tables)
            if theirs:
                raise ConfigError(
                    f"the database {self.name} has tables {sorted(theirs)} of another program",
                    code="database-in-use",
                    hint="give the key service a database of its own",
                )
        elif found not in REVISIONS:
            raise ConfigError(
                f"the database {self.name} has the tables of revision {found:.40}, of a later"
                " version or of another program",
                code="database-revision",
                hint="run the version that made it, or name another database",
            )

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, options: dict[str, Any]) -> Iterator[Connection]:
        try:
            with (
                self._engine.connect().execution_options(**options) as connection,
                connection.begin(),
            ):
                yield connection
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise _store_error(self.name, error) from None  # its text may quote a row

    def _check_durable(self) -> None:
        with self.reading() as connection:
            if connection.dialect.name == "sqlite":
                inspect(connection).get_table_names()  # is it a database at all?
                sqlite.check_durable(connection, self.name)
                return
            from sealserve.keyservice.store import postgresql

            postgresql.check_durable(connection, self.name)


def _open(url: URL, password: Path | None, create: bool) -> Engine:
    if url.drivername == "sqlite":
        return sqlite.open_file(url, create=create)
    try:
        from sealserve.keyservice.store import postgresql
    except ImportError as error:
        raise ConfigError(
            f"PostgreSQL needs the Python package 'psycopg', with libpq: {error}",
            hint="pip install 'sealserve[postgresql]'",
        ) from error
    return postgresql.open_server(url, password)


def _store_error(name: str, error: Exception) -> StoreError:
    """Its first line: the others may quote values. Of what is not the driver's, its kind alone."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    said = str(cause) if isinstance(error, DBAPIError | sqlite3.Error) else ""
    reason = (said.splitlines() or [type(error).__name__])[0]
    took_long = any(words in reason for words in ("interrupted", "statement timeout"))
    return StoreError(
        f"the database {name}: {reason[:300]}",
        hint="it took too long: look for less, by evidence, by secret or by time"
        if took_long
        else "is it running, reachable, and does its disk have room?",
    )


def _revision(connection: Connection) -> str | None:
    """Of the tables that are there, as Alembic keeps it; None where it has made none."""
    if not inspect(connection).has_table(VERSION.name):
        return None
    found = connection.execute(select(VERSION.c.version_num)).scalar_one_or_none()
    return None if found is None else str(found)
