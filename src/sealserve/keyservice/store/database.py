"""A database, opened so that what is committed is durable and every wait ends.

SQLite: write-ahead log with `synchronous=FULL` (a commit returns after the log file is synced); a
writer takes its lock as the transaction begins. PostgreSQL: `synchronous_commit=on` whatever the
server's default is, a server with `fsync=off` is refused, and over a network its certificate is
verified. Whatever goes wrong in a transaction is a StoreError, and nothing of it is there; only
where the connection breaks *during* the commit it may be there all the same, unknown to us.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, inspect, select, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from sealserve.errors import ConfigError, StoreError
from sealserve.files import PRIVATE, read_secret
from sealserve.hosts import is_loopback
from sealserve.keyservice.store.schema import META, METADATA

WAIT_SECONDS = 10  # for a lock, a statement, a connection
POOL = 8  # connections of one process
PASSWORD_LIMIT = 4096  # bytes
_WRITING, _FILE = "sealserve_writing", "sealserve_file"
# Of libpq: what may stand in a URL, each once. Others choose hosts, or hold passwords.
_PARAMETERS = frozenset({"host", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl"})
_SCRIPTS = Path(__file__).parent / "migrations"


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
        engine = _sqlite(url, create) if url.drivername == "sqlite" else _postgresql(url, password)
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
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes: durable when the block has ended, nothing of it otherwise."""
        with self._transaction({_WRITING: True}) as connection:
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
            command.upgrade(_alembic(connection), "head")
        return _our_revision()

    def check_schema(self) -> None:
        """Raise ConfigError unless the tables have the form that this version reads."""
        with self.reading() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        wanted = _our_revision()
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
        found = MigrationContext.configure(connection).get_current_revision()
        if found is None:
            theirs = set(inspect(connection).get_table_names()) & set(METADATA.tables)
            if theirs:
                raise ConfigError(
                    f"the database {self.name} has tables {sorted(theirs)} of another program",
                    code="database-in-use",
                    hint="give the key service a database of its own",
                )
        elif found not in _our_revisions():
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
            if connection.dialect.name != "postgresql":
                inspect(connection).get_table_names()  # is it a database at all?
                mode = connection.execute(text("PRAGMA journal_mode")).scalar_one()
                if mode != "wal":
                    raise ConfigError(
                        f"the database {self.name} takes the journal mode {mode}, and no"
                        " write-ahead log",
                        hint="put it on a local file system, not on one of a network",
                    )
                return
            fsync = connection.execute(text("SHOW fsync")).scalar_one()
        if fsync != "on":
            raise ConfigError(
                f"the PostgreSQL server of {self.name} runs with fsync = {fsync}: it would lose"
                " audit records whose secrets have left",
                hint="set fsync = on in postgresql.conf",
            )


def _sqlite(url: URL, create: bool) -> Engine:
    path = Path(url.database or "")
    if not create and not path.exists():
        raise ConfigError(
            f"there is no database {path}", hint="sealserve keyservice init --config CONFIG"
        )
    if create:
        try:
            path.touch(PRIVATE)
        except OSError as error:
            raise ConfigError(f"cannot make the database {path}: {error.strerror}") from error

    def connect() -> sqlite3.Connection:
        there = f"file:{quote(str(path.absolute()))}?mode=rw"  # never an empty one in its place
        return sqlite3.connect(there, uri=True, timeout=WAIT_SECONDS, check_same_thread=False)

    engine = create_engine(
        url,
        creator=connect,
        pool_size=POOL,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: ConnectionPoolEntry) -> None:
        record.info[_FILE] = _identity(path)
        connection.isolation_level = None  # the driver begins nothing by itself
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").fetchall()

    @event.listens_for(engine, "checkout")
    def look(_connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        if record.info[_FILE] != _identity(path):  # else we would write what nobody reads again
            raise DisconnectionError("the file was replaced by another")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get(_WRITING)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _postgresql(url: URL, password: Path | None) -> Engine:
    settings: dict[str, Any] = {
        "connect_timeout": WAIT_SECONDS // 2,
        "tcp_user_timeout": WAIT_SECONDS * 1000,
        "application_name": "sealserve",
        "options": " ".join(
            f"-c {setting}"
            for setting in (
                "synchronous_commit=on",
                f"statement_timeout={WAIT_SECONDS * 1000}",
                f"lock_timeout={WAIT_SECONDS * 1000}",
                f"idle_in_transaction_session_timeout={WAIT_SECONDS * 1000}",
                "default_transaction_isolation=read\\ committed",
            )
        ),
    }
    if password is not None:
        settings["password"] = read_secret(password, limit=PASSWORD_LIMIT).decode().rstrip("\n")
    host = _host(url)
    if not host.startswith("/") and not is_loopback(host):
        if url.query.get("sslmode", "verify-full") != "verify-full":
            raise ConfigError(
                f"the database {url} is reached over a network without verifying its certificate",
                hint="write sslmode=verify-full, or leave it out",
            )
        settings["sslmode"] = "verify-full"
    try:
        return create_engine(
            url,
            connect_args=settings,
            pool_size=POOL,
            max_overflow=0,
            pool_timeout=WAIT_SECONDS,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"PostgreSQL needs the Python package {error.name!r}, which is missing",
            hint="pip install 'sealserve[postgresql]'",
        ) from error


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells the file at `path` from one that is put in its place."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _host(url: URL) -> str:
    """The one host, or folder of a socket, that a URL of PostgreSQL names."""
    for name, value in url.query.items():
        if name not in _PARAMETERS or not isinstance(value, str):
            raise ConfigError(
                f"the URL of the database has the parameter {name:.40}, or has it twice; allowed is"
                f" each of {', '.join(sorted(_PARAMETERS))} once"
            )
    host = url.host or url.query.get("host")
    if not isinstance(host, str) or (url.host and "host" in url.query):
        raise ConfigError(
            "the URL of the database names no host, or two",
            hint="for the socket of this machine's: postgresql:///DATABASE?host=/run/postgresql",
        )
    return host


def _store_error(name: str, error: Exception) -> StoreError:
    """Its first line: the others may quote values. Of what is not the driver's, its kind alone."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    said = str(cause) if isinstance(error, DBAPIError | sqlite3.Error) else ""
    reason = (said.splitlines() or [type(error).__name__])[0]
    return StoreError(
        f"the database {name}: {reason[:300]}",
        hint="is it running, reachable, and does its disk have room?",
    )


def _alembic(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _our_revisions() -> set[str]:
    return {each.revision for each in ScriptDirectory(str(_SCRIPTS)).walk_revisions()}


def _our_revision() -> str:
    head = ScriptDirectory(str(_SCRIPTS)).get_current_head()
    if head is None:
        raise RuntimeError("there are no migrations")
    return head
