"""Durable records: what putting many into one transaction is worth, and what a disk allows.

The load on the service is the same twice: once the appender takes what waits, as it does, once one
record at a time. Then the appender alone, without TLS and decisions, beside what any durable log
costs: as many bytes written and synced (fdatasync), for each record, and for as many as there are
in a transaction.
"""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from bench._copy import serve_copy
from bench._load import Clients, Target, rounds, seconds_of
from bench._page import file_system
from bench._process import Server, peer
from bench._site import Site, decisions, fill
from bench.measure import Result, compared, interleave
from sealserve.keyservice.administration.opening import open_store
from sealserve.keyservice.config import load_config
from sealserve.keyservice.store.appender import BATCH, Appender
from sealserve.keyservice.store.log import Leaf
from sealserve.keyservice.store.memory import Memory

ROUNDS = 3
REQUESTS = 600
AT_A_TIME = 64
RECORDS = 1024


class Unwatched:
    """An observer of the appender that looks away."""

    def open_sessions(self) -> int:
        """See `sealserve.keyservice.store.appender.Observer`."""
        return 0

    def record_batch(self, records: int, seconds: float) -> None:
        """See there."""

    def log_head(self, size: int, revision: int) -> None:
        """See there."""

    def database(self, ok: bool) -> None:
        """See there."""

    def record_failed(self) -> None:
        """See there."""

    def rolled_back(self) -> None:
        """See there."""


def measure(site: Site, clients: Clients) -> Iterator[Result]:
    """The service with and without group commit, then the appender alone."""
    yield from _service(site, clients)
    yield from _alone(site)


def _service(site: Site, clients: Clients) -> Iterator[Result]:
    names = {"group commit": BATCH, "a transaction for each record": 1}
    with ExitStack() as stack:
        subjects = {
            name: partial(
                clients.ask,
                Target(site, (_copy(stack, site, batch),)),
                requests=REQUESTS,
                at_a_time=AT_A_TIME,
            )
            for name, batch in names.items()
        }
        found = rounds(subjects, ROUNDS)
    yield compared(
        f"releases with group commit, 1 worker, {AT_A_TIME} at a time",
        seconds_of(found),
        *names,
        work=REQUESTS,
        unit="releases/s",
        goal=None,
    )


def _copy(stack: ExitStack, site: Site, batch: int) -> Server:
    config = site.configure(f"batch-{batch}")
    fill(site, config)
    return stack.enter_context(peer(serve_copy, config, batch))


def _alone(site: Site) -> Iterator[Result]:
    leaves = decisions(RECORDS)
    kind = file_system(site.folder)
    length = round(statistics.mean(len(leaf.data) for leaf in leaves))
    plain = site.folder / "plain"
    with (
        plain.open("ab", buffering=0) as stream,
        appending(site, BATCH) as many,
        appending(site, 1) as one,
        asyncio.Runner() as runner,
    ):
        times = interleave(
            {
                "one fdatasync each": lambda: _write(stream.fileno(), leaves, 1),
                "each": lambda: runner.run(append(one, leaves)),
                "one fdatasync for all of a transaction": lambda: _write(
                    stream.fileno(), leaves, BATCH
                ),
                "many": lambda: runner.run(append(many, leaves)),
            },
            rounds=ROUNDS,
        )
    what = f"records of {length} bytes ({kind})"
    for name, subject, limit in (
        (f"{what}, a transaction each", "each", "one fdatasync each"),
        (f"{what}, up to {BATCH} in one", "many", "one fdatasync for all of a transaction"),
    ):
        yield compared(name, times, subject, limit, work=RECORDS, unit="records/s", goal=None)
    yield compared(
        f"{what}, group commit", times, "many", "each", work=RECORDS, unit="records/s", goal=None
    )


@contextmanager
def appending(site: Site, batch: int, name: str = "appender") -> Iterator[Appender]:
    """An appender of its own database, `NAME-BATCH.db`, running."""
    path = site.configure(f"{name}-{batch}")
    fill(site, path)
    config = load_config(path)
    store = open_store(config)
    try:
        appender = Appender(store, Memory(config.state, store.log), Unwatched(), batch=batch)
        appender.start()
        try:
            yield appender
        finally:
            appender.close()
    finally:
        store.close()


async def append(appender: Appender, leaves: Sequence[Leaf]) -> None:
    """All of them wait at once, as if each had a session of its own."""
    await asyncio.gather(*(appender.append([leaf], None) for leaf in leaves))


def _write(file: int, leaves: Sequence[Leaf], batch: int) -> None:
    for start in range(0, len(leaves), batch):
        os.write(file, b"".join(leaf.data for leaf in leaves[start : start + batch]))
        os.fdatasync(file)
