"""1,000 enclaves start within ten seconds, behind one address, each with evidence of its own.

That is the crowd that the default limits are made for. Each asks as our model server does: where
the service does not answer, again after a growing pause.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from soak._enclaves import Asked, Together, gathered, start
from soak._ledger import Ledger
from soak._report import Figure, counts, figure, latencies, mebibytes, promise
from soak._service import serving
from soak._site import Site


@dataclass(frozen=True)
class Size:
    """How many, in how many seconds, as threads of how many processes."""

    enclaves: int
    seconds: float
    processes: int


FULL, QUICK = Size(1000, 10.0, 4), Size(100, 1.0, 1)


def run(size: Size) -> Iterator[Figure]:
    """One crowd."""
    with tempfile.TemporaryDirectory() as name:
        site = Site.create(Path(name))
        ledger = Ledger(site)
        server = site.copies[0].server
        with (
            serving(site.copies[0]) as service,
            gathered(
                site.folder, Together(server, size.enclaves, size.seconds, size.processes)
            ) as enclaves,
        ):
            tally = start(enclaves)
            refusals = service.refusals()
            service.look()
        ledger.look()
        yield figure("enclaves, start within", f"{size.enclaves:,}, {size.seconds:g} s")
        yield figure("first start to last key", f"{_span(tally.asked):.1f} s")
        yield figure("start to key, p50 / p99 / max", latencies(a.seconds for a in tally.asked))
        again = Counter(each.tries for each in tally.asked if each.tries > 1)
        yield figure("enclaves that tried again", sum(again.values()))
        yield figure("refusals, by reason", counts(refusals))
        yield figure("memory of the service, peak", mebibytes(service.peak))
        served = len(tally.served())
        yield promise(
            "every enclave got its key",
            f"{served:,} of {size.enclaves:,}",
            holds=served == size.enclaves,
        )
        once = sum(ledger.released[each.evidence] == 1 for each in tally.asked)
        yield promise(
            "the log has exactly one released record for each",
            f"{once:,} of {sum(ledger.released.values()):,}",
            holds=once == size.enclaves == sum(ledger.released.values()),
        )
        yield promise("the log verifies", f"{ledger.verify_all():,} records", holds=True)


def _span(asked: Sequence[Asked]) -> float:
    return max(a.began + a.seconds for a in asked) - min(a.began for a in asked)
