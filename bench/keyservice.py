"""The key service beside its peers: releases, waits, durable records, memory, growth, PostgreSQL.

Ours is `sealserve keyservice run` as it is started everywhere, with full RA-TLS: a new connection
for each release, both certificates, the quote verified, the policy asked, the record durable on a
real disk before the secret leaves. The bare peer (`bench._bare`) does the same handshakes through
the same library with the same certificates and clients, verifies nothing, records nothing, and
answers the bytes of Gramine's protocol to everybody.

The clients (`bench._load`) are two processes on the same machine: on two cores they take about a
third of both, and a row says how much. So a *rate* is of both ends together, and beside each there
is the processor time that one release costs the server alone, which no client has a part in.
Subjects take turns in rounds, and a ratio is the median over the rounds: what else runs on the
machine slows all of them.

Databases are in `build/`, on the disk of the repository: the kind of its file system stands beside
what depends on it; were it memory, durable would cost nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import (
    _keyservice_growth,
    _keyservice_postgres,
    _keyservice_records,
    _keyservice_releases,
    _keyservice_sessions,
)
from bench._load import clients
from bench._site import make_site
from bench.measure import PROJECT, Result

_PARTS = (
    _keyservice_releases,
    _keyservice_records,
    _keyservice_sessions,
    _keyservice_growth,
    _keyservice_postgres,
)


def run() -> Iterator[Result]:
    """All of it, about six minutes on two cores."""
    build = PROJECT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build, prefix="keyservice-") as name, clients() as asking:
        site = make_site(Path(name))
        for part in _PARTS:
            yield from part.measure(site, asking)
