"""500 connections that send nothing, or a byte now and then: of one source, and of 250.

Whoever is closed connects again, as fast as it can. Enclaves of another source ask meanwhile, in
both protocols. A third round leaves the service half as many places as there are such connections:
then who stalled longest makes room, which a slow honest handshake may be, too; an enclave that asks
again, as our model server does, gets through.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from soak._enclaves import TRIES, Crowd, Tally, crowd, gather
from soak._hostile import loris, sources
from soak._ledger import Ledger
from soak._report import Figure, counts, figure, latencies, mebibytes, promise
from soak._service import serving
from soak._site import Site


@dataclass(frozen=True)
class Round:
    """From how many sources, and how many places the service has; None is its default."""

    sources: int
    places: int | None = None

    @property
    def title(self) -> str:
        """For the table."""
        who = "one source" if self.sources == 1 else f"{self.sources} sources"
        return who if self.places is None else f"{who}, {self.places} places"


@dataclass(frozen=True)
class Size:
    """Connections at a time, seconds of each round, and the rounds."""

    connections: int
    seconds: float
    rounds: tuple[Round, ...]


FULL = Size(500, 15.0, (Round(1), Round(250), Round(250, places=250)))
QUICK = Size(100, 1.0, (Round(50, places=50),))
MEMORY = 768 << 20  # bytes that two workers and their parent may have, whatever comes


def run(size: Size) -> Iterator[Figure]:
    """Every round has a service of its own."""
    for each in size.rounds:
        yield from _round(each, size)


def _round(this: Round, size: Size) -> Iterator[Figure]:
    tally, title, where = Tally(), this.title, sources(this.sources, 1)
    limits = f"max_sessions = {this.places}" if this.places else ""
    with tempfile.TemporaryDirectory() as name:
        site = Site.create(Path(name), limits=limits)
        plan = Crowd((site.copies[0].server,), threads=6, tries=TRIES if this.places else 1)
        with (
            serving(site.copies[0]) as service,
            loris(site.copies[0].port, size.connections, where) as attackers,
            crowd(site.folder, plan) as enclaves,
        ):
            time.sleep(size.seconds)
            gather(enclaves, tally, stop=True)
            refusals = service.refusals()
            held = attackers.stop()[-1]["held at most"]
            service.look()
        lost = Ledger(site)
        lost.look()
        missing = lost.unrecorded(tally.asked)
    honest = tally.honest()
    served = [each for each in honest if each.outcome == "served"]
    yield figure(f"{title}: stalled connections at a time", held)
    yield figure(
        f"{title}: honest asks, p50 / p99 / max",
        f"{len(honest):,}, {latencies(each.seconds for each in served)}",
    )
    yield figure(f"{title}: refusals, by reason", counts(refusals))
    yield figure(f"{title}: asks with more than one try", sum(a.tries > 1 for a in honest))
    yield promise(
        f"{title}: every honest enclave was served{'' if this.places else ' at its first try'}",
        f"{len(served):,} of {len(honest):,}; {counts(tally.failures())} failed",
        holds=len(served) == len(honest) > 0,
    )
    yield promise(
        f"{title}: nobody was answered wrongly, nothing left without its record",
        f"{len(tally.wrong())} wrong, {len(missing)} without",
        holds=not tally.wrong() and not missing,
    )
    yield promise(
        f"{title}: memory stays below {mebibytes(MEMORY)}",
        mebibytes(service.peak),
        holds=service.peak < MEMORY,
    )
