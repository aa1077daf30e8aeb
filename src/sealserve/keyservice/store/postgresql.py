"""PostgreSQL: durable whatever its defaults are, reached by one verified way, waited for so long.

The server bounds locks and statements by itself. What it cannot bound is that it does not answer at
all: then the connection is closed from here. Importing this module needs `psycopg`.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from sqlalchemy import URL, Connection, Engine, event, text

from sealserve.errors import ConfigError
from sealserve.files import read_secret
from sealserve.hosts import is_loopback
from sealserve.keyservice.store import pool

PASSWORD_LIMIT = 4096  # bytes
PATIENCE = 2  # times as long as the server is told to wait
# Of libpq: what may stand in a URL, each once. Others choose hosts, or hold passwords.
PARAMETERS = frozenset({"host", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl"})

T = TypeVar("T")


def open_server(url: URL, password: Path | None) -> Engine:
    """The engine of a server; raises ConfigError for one that is reached unverified."""
    settings = _settings()
    host = _host(url)
    if not host.startswith("/") and not is_loopback(host):
        if url.query.get("sslmode", "verify-full") != "verify-full":
            raise ConfigError(
                f"the database {url} is reached over a network without verifying its certificate",
                hint="write sslmode=verify-full, or leave it out",
            )
        settings["sslmode"] = "verify-full"
    if password is not None:
        _read_password(password)  # what is wrong with it is said now
    engine = pool.make_engine(url, connect_args=settings, pool_pre_ping=True)

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, words: Any, options: Any) -> BoundedConnection:
        if password is not None:  # which may have been changed since the last connection
            options = {**options, "password": _read_password(password)}
        return BoundedConnection.connect(*words, **options)

    return engine


def check_durable(connection: Connection, name: str) -> None:
    """Raise ConfigError for a server that does not sync what it says is committed."""
    fsync = connection.execute(text("SHOW fsync")).scalar_one()
    if fsync != "on":
        raise ConfigError(
            f"the PostgreSQL server of {name} runs with fsync = {fsync}: it would lose audit"
            " records whose secrets have left",
            hint="set fsync = on in postgresql.conf",
        )


class BoundedConnection(psycopg.Connection[Any]):
    """A connection on which every wait for the server ends."""

    def wait(self, gen: Generator[Any, Any, T], *rest: Any, **options: Any) -> T:
        """What `gen` comes to; raises OperationalError, closed, where the server is silent."""
        return super().wait(self._bounded(gen), *rest, **options)

    def _bounded(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """`gen`, step by step; psycopg resumes it a few times a second, whatever comes."""
        end = time.monotonic() + PATIENCE * pool.WAIT_SECONDS
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > end:
                    self.pgconn.finish()
                    raise psycopg.OperationalError("the server does not answer")
                wanted = gen.send(ready)
        except StopIteration as done:
            found: T = done.value
            return found


def _read_password(path: Path) -> str:
    """The password in a private file; raises ConfigError."""
    try:
        return read_secret(path, limit=PASSWORD_LIMIT).decode().rstrip("\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text, expected a password") from None


def _settings() -> dict[str, Any]:
    milliseconds = pool.WAIT_SECONDS * 1000
    options = (
        "synchronous_commit=on",
        f"statement_timeout={milliseconds}",
        f"lock_timeout={milliseconds}",
        f"idle_in_transaction_session_timeout={milliseconds}",
        "default_transaction_isolation=read\\ committed",
    )
    return {
        "connect_timeout": max(pool.WAIT_SECONDS // 2, 2),
        "tcp_user_timeout": milliseconds,
        "application_name": "sealserve",
        "options": " ".join(f"-c {each}" for each in options),
    }


def _host(url: URL) -> str:
    """The one host, or folder of a socket, that the URL names."""
    for name, value in url.query.items():
        if name not in PARAMETERS or not isinstance(value, str):
            raise ConfigError(
                f"the URL of the database has the parameter {name:.40}, or has it twice; allowed is"
                f" each of {', '.join(sorted(PARAMETERS))} once"
            )
    host = url.host or url.query.get("host")
    if not isinstance(host, str) or (url.host and "host" in url.query):
        raise ConfigError(
            "the URL of the database names no host, or two",
            hint="for the socket of this machine's: postgresql:///DATABASE?host=/run/postgresql",
        )
    return host
