"""Sessions that come to nothing, as fast as two processes can begin them, from 200 sources.

Certificates without evidence, with a forged quote signature, huge ones, and noise in place of a
ClientHello, in turn. What fails verification is a decision, and on record; so a flood grows the
log, and the figure says how fast. Enclaves of another source ask meanwhile.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from soak._enclaves import Crowd, Tally, crowd, gather
from soak._hostile import flood, sources
from soak._ledger import Ledger
from soak._report import Figure, counts, figure, latencies, mebibytes, promise
from soak._service import serving
from soak._site import Site


@dataclass(frozen=True)
class Size:
    """Addresses of each flooding process, and for how long."""

    sources: int
    seconds: float


FULL, QUICK = Size(100, 30.0), Size(20, 2.0)
MEMORY = 768 << 20  # bytes that two workers and their parent may have, whatever comes


def run(size: Size) -> Iterator[Figure]:
    """One flood."""
    tally, sent = Tally(), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        site = Site.create(Path(name))
        ledger, port = Ledger(site), site.copies[0].port
        with (
            serving(site.copies[0]) as service,
            flood(site.folder, port, sources(size.sources, 1)) as one,
            flood(site.folder, port, sources(size.sources, 2)) as another,
            crowd(site.folder, Crowd((site.copies[0].server,))) as enclaves,
        ):
            began, before = time.monotonic(), disk_use(site)
            time.sleep(size.seconds)
            took, grown = time.monotonic() - began, disk_use(site) - before
            gather(enclaves, tally, stop=True)
            for each in (one, another):
                sent += each.stop()[-1]
            refusals = service.refusals()
            ends = service.metrics().get("sessions_ended_total", {})
            service.look()
        ledger.look()
        missing = ledger.unrecorded(tally.asked)
        honest, served = tally.honest(), [a for a in tally.honest() if a.outcome == "served"]
        released = sent.pop("got a secret", 0)
        yield figure("sent", counts(dict(sent)))
        yield figure("bad sessions per second", f"{sum(sent.values()) / took:.0f}")
        yield figure("how sessions ended", counts(ends))
        yield figure("refusals, by reason", counts(refusals))
        yield figure("records in the log", f"{ledger.records:,}")
        yield figure("growth of database and log, per second", mebibytes(grown / took))
        yield figure(
            "honest asks, p50 / p99 / max",
            f"{len(honest):,}, {latencies(each.seconds for each in served)}",
        )
        yield promise(
            "every honest enclave was served at its first try",
            f"{len(served):,} of {len(honest):,}; {counts(tally.failures())} failed",
            holds=len(served) == len(honest) > 0,
        )
        yield promise(
            "nobody was answered wrongly, nothing left without its record",
            f"{len(tally.wrong()) + released} wrong, {len(missing)} without",
            holds=not tally.wrong() and not missing and not released,
        )
        yield promise(
            f"memory stays below {mebibytes(MEMORY)}",
            mebibytes(service.peak),
            holds=service.peak < MEMORY,
        )
        yield promise("the log verifies", f"{ledger.verify_all():,} records", holds=True)


def disk_use(site: Site) -> int:
    """Bytes of the database, its journal and the service's log."""
    wanted = ("keyservice.db", "keyservice.db-wal", "ks-0.log")
    return sum((site.folder / name).stat().st_size for name in wanted)
