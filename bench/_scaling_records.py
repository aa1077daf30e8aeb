"""What a transaction of the log costs, and each record in it; and how much the database grows.

Two points make a line: transactions of one record and of as many as there may be. Bytes are of the
database's file, beside those of the records themselves; what its write-ahead log still holds is a
few pages.
"""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Iterator, Sequence

from bench._keyservice_records import append, appending
from bench._page import file_system
from bench._site import Site, decisions
from bench.measure import Result, interleave
from sealserve.keyservice.store.appender import BATCH, Appender
from sealserve.keyservice.store.log import Leaf

RECORDS = 1024
GROWN = 10_240
ROUNDS = 3


def measure(site: Site, measured: dict[str, float]) -> Iterator[Result]:
    """Costs, then growth."""
    leaves = decisions(RECORDS)
    plain = site.folder / "plain"
    with (
        plain.open("ab", buffering=0) as stream,
        appending(site, BATCH, "records") as many,
        appending(site, 1, "records") as one,
        asyncio.Runner() as runner,
    ):
        times = interleave(
            {
                "each": lambda: runner.run(append(one, leaves)),
                "many": lambda: runner.run(append(many, leaves)),
                "write": lambda: _write(stream.fileno(), leaves),
            },
            rounds=ROUNDS,
        )
        grown = _grown(site, many, runner)
    each, of_many, write = (min(times[name]) / RECORDS for name in ("each", "many", "write"))
    record = max((of_many * BATCH - each) / (BATCH - 1), 0.0)
    measured["record_seconds"] = record
    measured["transaction_seconds"] = each - record
    limit = f"one write and fdatasync ({write * 1000:.3g} ms)"
    kind = file_system(site.folder)
    name = f"one transaction of the log ({kind}), but for its records"
    yield Result(name, (each - record) * 1000, "ms", limit, write / (each - record), None, None)
    name = f"each record in a transaction of up to {BATCH}"
    yield Result(name, record * 1000, "ms", None, None, None, None)
    length = statistics.mean(len(leaf.data) for leaf in leaves)
    measured["record_bytes"] = round(length)
    measured["stored_record_bytes"] = round(grown)
    limit = f"the record itself ({length:.0f} bytes)"
    yield Result("the database, for each record", grown, "bytes", limit, length / grown, None, None)


def _grown(site: Site, appender: Appender, runner: asyncio.Runner) -> float:
    """Bytes of the database for each of many records."""
    database = site.folder / f"records-{BATCH}.db"
    before = database.stat().st_size
    for start in range(RECORDS, RECORDS + GROWN, RECORDS):
        runner.run(append(appender, decisions(RECORDS, start)))
    return (database.stat().st_size - before) / GROWN


def _write(file: int, leaves: Sequence[Leaf]) -> None:
    for leaf in leaves:
        os.write(file, leaf.data)
        os.fdatasync(file)
