"""kill -9 at random points of a release, again and again; SQLite.

1. A service of one process is killed.
2. Of a service with two workers each is killed in turn, and then everything at once or, every
   other time, their parent alone.

Enclaves, and strangers among them, ask all the while. After each restart the log is followed and
verified, and what the enclaves received is held against it.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from soak._enclaves import Crowd, Tally, crowd, gather
from soak._ledger import Ledger
from soak._process import Helper
from soak._report import Figure, counts, figure, promise
from soak._service import Service
from soak._site import Site


@dataclass(frozen=True)
class Size:
    """How often a service of one process is killed, and one with two workers as a whole."""

    one: int
    two: int


FULL, QUICK = Size(110, 36), Size(1, 1)
LONGEST_LIFE = 0.4  # seconds until the next kill


@dataclass
class Run:
    """One site through its crashes."""

    ledger: Ledger
    service: Service
    enclaves: Helper
    tally: Tally = field(default_factory=Tally)
    kills: int = 0
    starts: list[float] = field(default_factory=list)
    unrecorded: int = 0
    checked: int = 0

    def start(self) -> None:
        """Restart it, and look at what was left."""
        self.starts.append(self.service.start())
        self.look()

    def look(self) -> None:
        """Whoever has received something by now must be in the log by now."""
        gather(self.enclaves, self.tally)
        self.ledger.look()
        self.unrecorded += len(self.ledger.unrecorded(self.tally.asked[self.checked :]))
        self.checked = len(self.tally.asked)

    def live_on(self) -> None:
        """Until some point of some release."""
        time.sleep(random.uniform(0, LONGEST_LIFE))


def run(size: Size) -> Iterator[Figure]:
    """Both kinds of service."""
    yield from _crash("one process", 1, size.one)
    yield from _crash("two workers", 2, size.two)


def _crash(title: str, workers: int, times: int) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as name:
        site = Site.create(Path(name), workers=workers)
        plan = Crowd((site.copies[0].server,), threads=6, pause=0.01, timeout=20.0)
        with Service(site.copies[0]) as service, crowd(site.folder, plan) as enclaves:
            this = Run(Ledger(site), service, enclaves)
            for number in range(times):
                _kill_in_turn(this, workers)
                this.live_on()
                if number % 2:
                    service.kill_first()
                else:
                    service.kill()
                this.kills += 1
                this.start()
            time.sleep(1.0)
            gather(enclaves, this.tally, stop=True)
            this.look()
        yield from _figures(title, this)


def _kill_in_turn(this: Run, workers: int) -> None:
    """Each of several workers; whoever is left serves, and the parent starts another."""
    for number in range(workers if workers > 1 else 0):
        this.live_on()
        this.service.kill_worker(number)
        this.kills += 1
        this.look()


def _figures(title: str, this: Run) -> Iterator[Figure]:
    tally, ledger = this.tally, this.ledger
    served = len(tally.served())
    released = sum(ledger.released.values())
    yield figure(f"{title}: kills, restarts", f"{this.kills}, {len(this.starts)}")
    yield figure(f"{title}: start to ready, median", f"{statistics.median(this.starts):.2f} s")
    yield figure(f"{title}: asks, secrets received", f"{len(tally.asked):,}, {served:,}")
    yield figure(f"{title}: asks that failed", counts(tally.failures()))
    yield figure(f"{title}: on record as released, never received", released - served)
    yield promise(
        f"{title}: no secret left without its record",
        f"{this.unrecorded} of {served:,}",
        holds=this.unrecorded == 0 < served,
    )
    yield promise(
        f"{title}: no request was answered wrongly",
        f"{len(tally.wrong())} of {sum(each.answered for each in tally.asked):,}",
        holds=not tally.wrong(),
    )
    yield promise(
        f"{title}: no release is on record twice",
        sum(count > 1 for count in ledger.released.values()),
        holds=max(ledger.released.values(), default=0) <= 1,
    )
    yield promise(
        f"{title}: the log verified after every restart, and as a whole",
        f"{ledger.looks} times, {ledger.verify_all():,} records",
        holds=True,
    )
