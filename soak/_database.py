"""A real PostgreSQL for the scenarios that need one: the one of the tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from soak._report import Missing
from soak._site import Site
from tests.support.postgres import PostgresServer, find_postgres

PASSWORD = "database.password"


@contextmanager
def postgres() -> Iterator[tuple[PostgresServer, Path]]:
    """A server, running, and a folder for a site; raises Missing where there is none to be had."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # its user, who is another, comes through
        with _server(Path(name) / "postgres") as server:
            yield server, Path(name) / "site"


@contextmanager
def _server(folder: Path) -> Iterator[PostgresServer]:
    try:
        server = PostgresServer(find_postgres(), folder)
    except pytest.skip.Exception as reason:
        raise Missing(str(reason)) from None
    server.start()
    try:
        yield server
    finally:
        if server.process is not None:
            server.kill()


def site_on(server: PostgresServer, folder: Path, *, copies: int, workers: int) -> Site:
    """Copies of the service on its database."""
    return Site.create(
        folder,
        workers=workers,
        copies=copies,
        database=server.url,
        top=f'database_password = "{PASSWORD}"',
        files={PASSWORD: server.password.encode()},
    )
