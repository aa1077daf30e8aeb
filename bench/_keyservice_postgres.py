"""The same service with its database in PostgreSQL: one copy of it, and two on one server.

The server is a real one with its own settings for durability, on the same disk; its processes want
their share of the same cores, so two copies cannot be twice as fast here. What is shown is what
going over a socket to another process costs, and that two copies do not hinder one another at the
head of the log, which both lock for every transaction. SQLite, one worker, is the peer.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from bench._keyservice_releases import run_service, start
from bench._load import Clients, Target, rounds, seconds_of
from bench._site import Site, fill
from bench.measure import PROJECT, Result, compared

ROUNDS = 3
REQUESTS = 400
AT_A_TIME = 32
COPIES = ("postgresql-a", "postgresql-b")


def measure(site: Site, clients: Clients) -> Iterator[Result]:
    """Rates beside SQLite's; nothing, after a line that says so, where there is no PostgreSQL."""
    with ExitStack() as stack:
        database = _database(stack, site)
        if database is None:
            print("PostgreSQL is not installed, and its rows are left out", file=sys.stderr)
            return
        password = site.folder / "database.password"
        password.touch(0o600)
        password.write_text(database.password)
        for name in COPIES:
            site.configure(name, database=database.url, password=password)
        fill(site, site.folder / f"{COPIES[0]}.toml")
        copies = [run_service(stack, site, name) for name in COPIES]
        file = start(stack, site, "sqlite", workers=1)
        targets = {
            "SQLite, 1 worker": (file,),
            "1 copy": tuple(copies[:1]),
            "2 copies": tuple(copies),
        }
        found = rounds(
            {
                name: partial(
                    clients.ask, Target(site, servers), requests=REQUESTS, at_a_time=AT_A_TIME
                )
                for name, servers in targets.items()
            },
            ROUNDS,
        )
    for name, peer_name in (
        ("1 copy", "SQLite, 1 worker"),
        ("2 copies", "SQLite, 1 worker"),
        ("2 copies", "1 copy"),
    ):
        yield compared(
            f"releases on PostgreSQL, {name}",
            seconds_of(found),
            name,
            peer_name,
            work=REQUESTS,
            unit="releases/s",
            goal=None,
        )


def _database(stack: ExitStack, site: Site) -> Any:
    """A server as the tests start it, until the stack is closed; None where there is none."""
    path = PROJECT / "tests" / "support" / "postgres.py"
    spec = importlib.util.spec_from_file_location("bench_postgres", path)
    assert spec is not None and spec.loader is not None
    support = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(support)
    try:
        binaries = support.find_postgres()
    except support.pytest.skip.Exception:
        return None
    site.folder.chmod(0o755)  # it runs as a user of its own
    server = support.PostgresServer(binaries, site.folder / "postgresql")
    server.start()
    stack.callback(server.stop)
    return server
