"""Stores in real databases, SQLite and PostgreSQL, and what an attacker does to them by SQL.

A `Place` is a database of a test's own. `audited` reads a whole log and computes its tree anew, by
the RFC's definition and without a line of `sealserve.transparency`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import shutil
import sqlite3
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import URL, make_url

from postgres import PostgresServer, find_postgres
from sealserve.files import write_file
from sealserve.keyservice.administration.local import LocalAdministration
from sealserve.keyservice.administration.values import Actor, Role
from sealserve.keyservice.asking import Receipt
from sealserve.keyservice.store.appender import BATCH, Appender
from sealserve.keyservice.store.database import Database
from sealserve.keyservice.store.log import Leaf
from sealserve.keyservice.store.memory import Memory
from sealserve.keyservice.store.schema import TABLES
from sealserve.keyservice.store.store import Store
from sealserve.keyservice.wrapping.file import FileKey

ORIGIN = "keys.example.com/test"
KEK = FileKey(bytes(range(32)))
OWNER = Actor("local:alice", Role.OWNER, "r-1")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@dataclass
class Place:
    """A database of a test's own; everything that it opened is closed at the test's end."""

    url: URL
    folder: Path
    password: Path | None = None
    opened: list[Database] = field(default_factory=list)

    @property
    def is_file(self) -> bool:
        return self.url.drivername == "sqlite"

    @property
    def file(self) -> Path:
        return Path(self.url.database or "")

    def database(self, *, create: bool = False) -> Database:
        found = Database.open(self.url, password=self.password, create=create)
        self.opened.append(found)
        return found

    def new(self, kek: FileKey = KEK, origin: str = ORIGIN) -> Store:
        database = self.database(create=True)
        database.migrate()
        return Store.initialise(database, kek, origin=origin)

    def reopen(self, kek: FileKey = KEK) -> Store:
        """As another process, or after a restart."""
        return Store.open(self.database(), kek)

    def memory(self, store: Store) -> Memory:
        """What one copy remembers."""
        (self.folder / "state").mkdir(exist_ok=True)
        return Memory(self.folder / "state", store.log)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What somebody does who owns the database; `?` stands for a value."""
        with self.raw() as connection:
            done = connection.execute(self._statement(statement), values)
            rows = done.fetchall() if done.description else []
            connection.commit()
        return rows

    @contextmanager
    def raw(self) -> Iterator[Any]:
        """A connection of the driver's."""
        if self.is_file:
            with closing(sqlite3.connect(self.file, timeout=30)) as connection:
                yield connection
            return
        import psycopg

        assert self.password is not None
        url = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, password=self.password.read_text().strip()) as connection:
            yield connection

    def keep(self) -> Callable[[], None]:
        """Copy the database now; what is returned puts the copy back."""
        if self.is_file:
            self.sql("PRAGMA wal_checkpoint(TRUNCATE)")
            copy = self.folder / f"{secrets.token_hex(4)}.copy"
            shutil.copy(self.file, copy)
            return lambda: self._put_file_back(copy)
        held = {table.name: self.sql(f'SELECT * FROM "{table.name}"') for table in TABLES}
        return lambda: self._put_rows_back(held)

    def _put_file_back(self, copy: Path) -> None:
        for end in ("-wal", "-shm"):
            Path(f"{self.file}{end}").unlink(missing_ok=True)
        shutil.copy(copy, f"{self.file}.new")
        Path(f"{self.file}.new").replace(self.file)

    def _put_rows_back(self, held: dict[str, list[tuple[Any, ...]]]) -> None:
        with self.raw() as connection, connection.cursor() as cursor:
            for name, rows in held.items():
                cursor.execute(f'DELETE FROM "{name}"')
                for row in rows:
                    marks = ", ".join(["%s"] * len(row))
                    cursor.execute(f'INSERT INTO "{name}" VALUES ({marks})', row)
            connection.commit()

    def _statement(self, statement: str) -> str:
        return statement if self.is_file else statement.replace("?", "%s")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server whose default is to lose what it has just committed."""
    with postgres_server(synchronous_commit="off") as server:
        yield server


@contextmanager
def postgres_server(**settings: str) -> Iterator[PostgresServer]:
    """A server of its own; its folder is one that another user can enter, as pytest's is not."""
    binaries = find_postgres()
    with TemporaryDirectory(prefix="sealserve-postgres-") as name:
        Path(name).chmod(0o755)
        server = PostgresServer(binaries, Path(name) / "cluster", **settings)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Iterator[Place]:
    url = URL.create("sqlite", database=str(tmp_path / "keys.db"))
    with closing_place(Place(url, tmp_path)) as place:
        yield place


@pytest.fixture
def postgres_place(tmp_path: Path, postgres: PostgresServer) -> Iterator[Place]:
    with closing_place(place_on(postgres, tmp_path)) as place:
        yield place


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> Place:
    """The same test on either database."""
    name = "sqlite_place" if request.param == "sqlite" else "postgres_place"
    found: Place = request.getfixturevalue(name)
    return found


def place_on(server: PostgresServer, folder: Path) -> Place:
    """The database of `server`, emptied: a new one would cost a test a second."""
    password = folder / "db.password"
    write_file(password, f"{server.password}\n".encode())
    url = make_url(server.url).set(drivername="postgresql+psycopg")
    import psycopg

    with psycopg.connect(server.url, password=server.password) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return Place(url, folder, password)


@contextmanager
def closing_place(place: Place) -> Iterator[Place]:
    try:
        yield place
    finally:
        for each in place.opened:
            each.close()


@dataclass
class Watching:
    """An observer that keeps what it was told."""

    batches: list[int] = field(default_factory=list)
    failures: int = 0
    rollbacks: int = 0
    answers: list[bool] = field(default_factory=list)
    sessions: int = 0

    def open_sessions(self) -> int:
        return self.sessions

    def record_batch(self, records: int, seconds: float) -> None:
        self.batches.append(records)

    def log_head(self, size: int, revision: int) -> None:
        pass

    def database(self, ok: bool) -> None:
        self.answers.append(ok)

    def record_failed(self) -> None:
        self.failures += 1

    def rolled_back(self) -> None:
        self.rollbacks += 1


@contextmanager
def appending(
    place: Place, store: Store, watching: Watching | None = None, *, batch: int = BATCH
) -> Iterator[Appender]:
    """An appender at work, with this copy's memory."""
    appender = Appender(store, place.memory(store), watching or Watching(), batch=batch)
    appender.start()
    try:
        yield appender
    finally:
        appender.close()


def leaf(number: int = 0, **facts: object) -> Leaf:
    """A record."""
    return Leaf.of("decision", NOW, {"number": number, "outcome": "denied", **facts})


def append(appender: Appender, *leaves: Leaf, revision: int | None = None) -> list[Receipt]:
    """One append, waited for."""
    return asyncio.run(appender.append(leaves, revision))


def write(store: Store, *leaves: Leaf) -> None:
    """Records by a transaction of their own, without an appender."""
    with store.database.writing() as connection:
        head = store.log.lock(connection)
        head = store.log.append(connection, head, leaves)
    store.log.saw(head)


def owner(store: Store, **options: Any) -> LocalAdministration:
    """What an owner can do."""
    options = {"trust_root_sha256": None, "simulated": False, **options}
    return LocalAdministration(store, options.pop("actor", OWNER), **options)


def audited(place: Place) -> list[dict[str, Any]]:
    """All records, once every hash of the log is computed anew; AssertionError otherwise."""
    rows = place.sql('SELECT "index", leaf_hash, record FROM records ORDER BY "index"')
    assert [row[0] for row in rows] == list(range(len(rows)))
    hashes = [hashlib.sha256(b"\x00" + bytes(row[2])).digest() for row in rows]
    assert [bytes(row[1]) for row in rows] == hashes
    for level, index, found in place.sql('SELECT level, "index", hash FROM nodes'):
        assert bytes(found) == tree(hashes[index << level : (index + 1) << level])
    ((size, note),) = place.sql("SELECT size, checkpoint FROM head")
    assert size == len(rows)
    assert note.split("\n")[1:3] == [str(size), b64encode(tree(hashes)).decode()]
    return [json.loads(bytes(row[2])) for row in rows]


def tree(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes: RFC 9162, section 2.1.1, word for word."""
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    half = 1
    while half * 2 < len(hashes):
        half *= 2
    return hashlib.sha256(b"\x01" + tree(hashes[:half]) + tree(hashes[half:])).digest()
