"""The disk of the database is filled to its last byte under load, and emptied again; SQLite.

The database, the state folder and the journal are on a file system in memory, of their own.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from soak._enclaves import Crowd, Tally, crowd, gather, until_served
from soak._ledger import Ledger
from soak._process import Helper
from soak._report import Figure, Missing, counts, figure, latencies, promise
from soak._service import Service, serving
from soak._site import Site


@dataclass(frozen=True)
class Size:
    """How often it is filled, and seconds that it stays so."""

    times: int
    seconds: float


FULL, QUICK = Size(5, 3.0), Size(1, 0.5)
BYTES = 16 << 20
PATIENCE = 30.0
READY_SECONDS = 5.0


@dataclass
class Run:
    """What happened."""

    tally: Tally = field(default_factory=Tally)
    recoveries: list[float] = field(default_factory=list)
    released_when_full: int = 0
    said_so: int = 0
    unrecorded: int = 0


def run(size: Size) -> Iterator[Figure]:
    """Fill, wait, make room, see."""
    this = Run()
    with tempfile.TemporaryDirectory() as name, small_disk(Path(name) / "disk") as disk:
        site = Site.create(Path(name), database="disk/keyservice.db", state="disk/state")
        ledger = Ledger(site)
        plan = Crowd((site.copies[0].server,), threads=6, timeout=20.0)
        with serving(site.copies[0]) as service, crowd(site.folder, plan) as enclaves:
            for _ in range(size.times):
                until_served(enclaves, this.tally, time.monotonic(), PATIENCE)
                _fill_and_empty(this, service, enclaves, disk, size.seconds)
                ledger.look()
                this.unrecorded += len(ledger.unrecorded(this.tally.asked))
            fill(disk / "filler")
            while service.is_ready():
                time.sleep(0.05)
            gather(enclaves, this.tally, stop=True)
            (disk / "filler").unlink()
            ready = _becomes_ready(service)
        ledger.look()
        this.unrecorded += len(ledger.unrecorded(this.tally.asked))
        yield from _figures(this, ledger, size, ready)


def _fill_and_empty(
    this: Run, service: Service, enclaves: Helper, disk: Path, seconds: float
) -> None:
    filler = disk / "filler"
    end = time.monotonic() + PATIENCE
    fill(filler)
    while service.is_ready():  # what the journal had room for already is still written
        fill(filler)
        if time.monotonic() > end:
            raise RuntimeError("the disk is full, and the service does not notice")
        time.sleep(0.05)
    this.said_so += 1
    full = time.monotonic()
    time.sleep(seconds)
    gather(enclaves, this.tally)
    this.released_when_full += sum(a.outcome == "served" for a in this.tally.since(full))
    filler.unlink()
    this.recoveries.append(until_served(enclaves, this.tally, time.monotonic(), PATIENCE))


def _becomes_ready(service: Service) -> bool:
    """Whether it says so, though nobody asks it for anything any more."""
    end = time.monotonic() + READY_SECONDS
    while not service.is_ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def fill(filler: Path) -> None:
    """Take all the room that there is."""
    with filler.open("ab", buffering=0) as stream:
        for piece in (1 << 16, 1 << 12, 1):
            with suppress(OSError):
                while os.write(stream.fileno(), bytes(piece)):
                    continue


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of BYTES; raises Missing where nothing can be mounted."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={BYTES},mode=0700", "tmpfs", str(folder)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Missing("there is no mount command") from None
    if done.returncode:
        raise Missing(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _figures(this: Run, ledger: Ledger, size: Size, ready: bool) -> Iterator[Figure]:
    tally = this.tally
    served = len(tally.served())
    yield figure("times that the disk was full", len(this.recoveries))
    yield figure("asks, secrets received", f"{len(tally.asked):,}, {served:,}")
    yield figure("asks that failed", counts(tally.failures()))
    yield promise(
        "the service says when it is not ready, and when again, though nobody asks it",
        f"{this.said_so} times",
        holds=this.said_so == size.times and ready,
    )
    yield promise(
        "nothing is released once it takes no record",
        this.released_when_full,
        holds=this.released_when_full == 0,
    )
    yield promise(
        "no secret left without its record",
        f"{this.unrecorded} of {served:,}",
        holds=this.unrecorded == 0 < served,
    )
    yield promise("no request was answered wrongly", len(tally.wrong()), holds=not tally.wrong())
    yield promise(
        "releases go on by themselves: from room again, p50 / p99 / max",
        latencies(this.recoveries),
        holds=max(this.recoveries) < PATIENCE,
    )
    yield promise("the log verifies", f"{ledger.verify_all():,} records", holds=True)
