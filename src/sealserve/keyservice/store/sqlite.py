"""SQLite: a private file with a write-ahead log, synced by every commit.

The file is the one that was opened. Where another is put in its place, a connection would go on
writing into the one that nobody finds any more: it is given up, and the next one reads what is
there now. What becomes of an older file there is the log's matter, not ours.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from sealserve.errors import ConfigError
from sealserve.files import PRIVATE
from sealserve.keyservice.store import pool

# What is deleted is overwritten: a data key under an old key-encryption key, say.
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON")
STEPS = 10_000  # of SQLite's machine, between two looks at the clock: less than a millisecond
_FILE = "sealserve_file"


def open_file(url: URL, *, create: bool) -> Engine:
    """The engine of a file; `create` allows that there is none yet. Raises ConfigError."""
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
        return sqlite3.connect(there, uri=True, timeout=pool.WAIT_SECONDS, check_same_thread=False)

    engine = pool.make_engine(url, creator=connect)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: ConnectionPoolEntry) -> None:
        record.info[_FILE] = _identity(path)
        connection.isolation_level = None  # the driver begins nothing by itself
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").fetchall()

    @event.listens_for(engine, "checkout")
    def look(_connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        if record.info[_FILE] != _identity(path):
            raise DisconnectionError("the file was replaced by another")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        _bound(connection, options.get(pool.UNTIL))
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(pool.WRITING) else "BEGIN")

    return engine


def check_durable(connection: Connection, name: str) -> None:
    """Raise ConfigError where the file system allows no write-ahead log."""
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if mode != "wal":
        raise ConfigError(
            f"the database {name} takes the journal mode {mode}, and no write-ahead log",
            hint="put it on a local file system, not on one of a network",
        )


def _bound(connection: Connection, until: float | None) -> None:
    """Interrupt what this transaction does after `until`; nothing where there is no end."""
    driver: Any = connection.connection.driver_connection
    late = None if until is None else lambda: time.monotonic() > until
    driver.set_progress_handler(late, STEPS)


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells the file at `path` from one that is put in its place."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
