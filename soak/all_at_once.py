"""The slow loris of many sources, the flood and the scale-out, all at the same time.

Everybody shares the processors of this machine, attackers, enclaves and service alike.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from soak import flood as flood_alone
from soak import loris as loris_alone
from soak import scale_out
from soak._enclaves import Together, gathered, start
from soak._hostile import flood, loris, sources
from soak._ledger import Ledger
from soak._report import Figure, counts, figure, latencies, mebibytes, promise
from soak._service import serving
from soak._site import Site


@dataclass(frozen=True)
class Size:
    """The sizes of the three."""

    loris: loris_alone.Size
    flood: flood_alone.Size
    crowd: scale_out.Size


FULL = Size(loris_alone.FULL, flood_alone.FULL, scale_out.FULL)
QUICK = Size(loris_alone.QUICK, flood_alone.QUICK, scale_out.QUICK)


def run(size: Size) -> Iterator[Figure]:
    """One crowd, amid the others."""
    with tempfile.TemporaryDirectory() as name:
        site = Site.create(Path(name))
        ledger = Ledger(site)
        port, server = site.copies[0].port, site.copies[0].server
        crowd = size.crowd
        together = Together(server, crowd.enclaves, crowd.seconds, crowd.processes)
        with (
            serving(site.copies[0]) as service,
            gathered(site.folder, together) as enclaves,
            loris(
                port,
                size.loris.connections,
                sources(size.loris.rounds[-1].sources, 1),
            ) as stalled,
            flood(site.folder, port, sources(size.flood.sources, 2)) as one,
            flood(site.folder, port, sources(size.flood.sources, 3)) as another,
        ):
            tally = start(enclaves)
            sent: Counter[str] = one.stop()[-1] + another.stop()[-1]
            held = stalled.stop()[-1]["held at most"]
            refusals = service.refusals()
            service.look()
        ledger.look()
        missing = ledger.unrecorded(tally.asked)
        released = sent.pop("got a secret", 0)
        yield figure("stalled connections at a time", held)
        yield figure("bad sessions meanwhile", f"{sum(sent.values()):,}")
        yield figure("start to key, p50 / p99 / max", latencies(a.seconds for a in tally.asked))
        yield figure("enclaves that tried again", sum(each.tries > 1 for each in tally.asked))
        yield figure("refusals, by reason", counts(refusals))
        served = len(tally.served())
        yield promise(
            "every enclave got its key",
            f"{served:,} of {crowd.enclaves:,}",
            holds=served == crowd.enclaves,
        )
        yield promise(
            "nobody was answered wrongly, nothing left without its record",
            f"{len(tally.wrong()) + released} wrong, {len(missing)} without",
            holds=not tally.wrong() and not missing and not released,
        )
        limit = flood_alone.MEMORY
        yield promise(
            f"memory stays below {mebibytes(limit)}",
            mebibytes(service.peak),
            holds=service.peak < limit,
        )
        yield promise("the log verifies", f"{ledger.verify_all():,} records", holds=True)
