"""PostgreSQL is killed and started again under load; two copies of the service are on it.

Nobody touches the services: they are to go on by themselves. What was being committed as the
database died is unknown to them, so nothing may be released on it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from soak._database import postgres, site_on
from soak._enclaves import Crowd, Tally, crowd, gather, until_served
from soak._ledger import Ledger
from soak._report import Figure, counts, figure, latencies, promise
from soak._service import serving


@dataclass(frozen=True)
class Size:
    """How often."""

    times: int


FULL, QUICK = Size(20), Size(1)
PATIENCE = 30.0  # seconds until somebody has a secret again


@dataclass
class Run:
    """What happened."""

    tally: Tally = field(default_factory=Tally)
    recoveries: list[float] = field(default_factory=list)
    unrecorded: int = 0


def run(size: Size) -> Iterator[Figure]:
    """Kill, wait, start, see."""
    this = Run()
    with postgres() as (database, folder):
        site = site_on(database, folder, copies=2, workers=1)
        ledger = Ledger(site)
        one, another = site.copies
        both = (f"{one.server};{another.server}", f"{another.server};{one.server}")
        with (
            serving(one),
            serving(another),
            crowd(site.folder, Crowd(both, threads=6, timeout=20.0)) as enclaves,
        ):
            for _ in range(size.times):
                time.sleep(random.uniform(0.3, 1.0))
                database.kill()
                time.sleep(random.uniform(0.0, 1.0))
                database.start()
                began = time.monotonic()
                this.recoveries.append(until_served(enclaves, this.tally, began, PATIENCE))
                ledger.look()
                this.unrecorded += len(ledger.unrecorded(this.tally.asked))
            gather(enclaves, this.tally, stop=True)
        ledger.look()
        this.unrecorded += len(ledger.unrecorded(this.tally.asked))
        yield from _figures(this, ledger)


def _figures(this: Run, ledger: Ledger) -> Iterator[Figure]:
    tally = this.tally
    served, released = len(tally.served()), sum(ledger.released.values())
    answered = sum(each.answered for each in tally.asked)
    yield figure("kills of the database", len(this.recoveries))
    yield figure("asks, secrets received", f"{len(tally.asked):,}, {served:,}")
    yield figure("asks that failed", counts(tally.failures()))
    yield figure("on record as released, never received", released - served)
    yield promise(
        "releases go on by themselves: from its start, p50 / p99 / max",
        latencies(this.recoveries),
        holds=max(this.recoveries) < PATIENCE,
    )
    yield promise(
        "no secret left without its record",
        f"{this.unrecorded} of {served:,}",
        holds=this.unrecorded == 0 < served,
    )
    yield promise(
        "no request was answered wrongly",
        f"{len(tally.wrong())} of {answered:,}",
        holds=not tally.wrong(),
    )
    yield promise(
        "the log verified after every start, and as a whole",
        f"{ledger.looks} times, {ledger.verify_all():,} records",
        holds=True,
    )
