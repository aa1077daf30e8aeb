"""Two copies on one PostgreSQL, upgraded in turn under load: SIGTERM, its end, a new start.

Some clients name both copies, some a balancer before them; each asks once, with no try of its own
after a failure. So every ask that fails is a release that failed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from soak._balancer import balancer
from soak._database import postgres, site_on
from soak._enclaves import Crowd, Tally, crowd, gather
from soak._ledger import Ledger
from soak._process import Helper
from soak._report import Figure, Missing, counts, figure, latencies, promise
from soak._service import Service, serving
from soak._site import Site


@dataclass(frozen=True)
class Size:
    """How often each copy is replaced, and seconds between two."""

    turns: int
    pause: float


FULL, QUICK = Size(10, 0.5), Size(1, 0.1)


@dataclass
class Run:
    """What happened."""

    named: Tally = field(default_factory=Tally)
    balanced: Tally | None = None
    starts: list[float] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)


def run(size: Size) -> Iterator[Figure]:
    """Each copy, turn by turn."""
    with postgres() as (database, folder):
        site = site_on(database, folder, copies=2, workers=2)
        ledger, this = Ledger(site), Run()
        with ExitStack() as stack:
            services = [stack.enter_context(serving(copy)) for copy in site.copies]
            crowds = list(_crowds(stack, site, this))
            for _ in range(size.turns):
                for service in services:
                    _upgrade(this, service, size.pause)
                    for enclaves, tally in crowds:
                        gather(enclaves, tally)
            for enclaves, tally in crowds:
                gather(enclaves, tally, stop=True)
        ledger.look()
        yield from _figures(this, ledger)


def _crowds(stack: ExitStack, site: Site, this: Run) -> Iterator[tuple[Helper, Tally]]:
    one, another = site.copies
    both = (f"{one.server};{another.server}", f"{another.server};{one.server}")
    yield stack.enter_context(crowd(site.folder, Crowd(both, threads=6, pause=0.05))), this.named
    try:
        before = stack.enter_context(balancer(Path(site.folder) / "nginx", site.copies))
    except Missing:
        return
    this.balanced = Tally()
    plan = Crowd((before,), threads=3, pause=0.05, source="127.0.0.3")
    yield stack.enter_context(crowd(site.folder, plan)), this.balanced


def _upgrade(this: Run, service: Service, pause: float) -> None:
    this.stops.append(service.stop())
    this.starts.append(service.start())
    time.sleep(pause)


def _figures(this: Run, ledger: Ledger) -> Iterator[Figure]:
    yield figure("copies replaced", len(this.stops))
    yield figure("SIGTERM to end, p50 / p99 / max", latencies(this.stops))
    yield figure("start to ready, p50 / p99 / max", latencies(this.starts))
    everybody = list(this.named.asked)
    for title, tally in (
        ("clients that name both", this.named),
        ("clients of nginx before them", this.balanced),
    ):
        if tally is None:
            yield figure(title, "nginx with its stream module is not installed")
            continue
        everybody += [] if tally is this.named else tally.asked
        honest = tally.honest()
        served = [each for each in honest if each.outcome == "served"]
        yield figure(
            f"{title}: asks, p50 / p99 / max",
            f"{len(tally.asked):,}, {latencies(each.seconds for each in served)}",
        )
        yield promise(
            f"{title}: no release failed",
            f"{len(honest) - len(served)} of {len(honest):,}: {counts(tally.failures())}",
            holds=len(served) == len(honest) > 0,
        )
        yield promise(
            f"{title}: nobody was answered wrongly",
            len(tally.wrong()),
            holds=not tally.wrong(),
        )
    missing = len(ledger.unrecorded(everybody))
    yield promise("no secret left without its record", missing, holds=missing == 0)
    yield promise("the log verifies", f"{ledger.verify_all():,} records", holds=True)
