"""The service's clock is stepped under load: a year ahead, back a day, back ten days, and right.

A small library (`_clock.c`), compiled here and preloaded, shows the service another time of day
from one moment to the next; its monotonic clock goes on, as on a machine whose time of day is set.
(libfaketime 0.9.10 will not do: it breaks clock_nanosleep by the monotonic clock.) The lab's
endorsements are of three days ago and hold for thirty: a year ahead they have ended, a day back
they hold, ten days back there were none. What is asked for from a second after each step must come
out as the clock says.
"""

from __future__ import annotations

import math
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from soak._enclaves import Asked, Crowd, Tally, crowd, gather
from soak._hostile import CLIENT_HELLO, connect
from soak._ledger import Ledger
from soak._process import Helper
from soak._report import Figure, Missing, counts, figure, latencies, promise
from soak._service import serving
from soak._site import ISSUED_DAYS_AGO, Site

SETTLING = 1.0  # seconds in which what was asked before a step may still come out as before it
HANDSHAKE = 4.0  # seconds, the service's deadline
ENDORSED_DAYS = 30


@dataclass(frozen=True)
class Step:
    """A clock that is so many days ahead, and whether anything may be released by it."""

    days: int
    allowed: bool

    @property
    def title(self) -> str:
        """For the table."""
        return "right" if self.days == 0 else f"{self.days:+d} days"


@dataclass(frozen=True)
class Size:
    """Seconds of each step, and the steps."""

    seconds: float
    steps: tuple[Step, ...]


RIGHT, YEAR, DAY, TEN = Step(0, True), Step(365, False), Step(-1, True), Step(-10, False)
FULL = Size(3.0, (RIGHT, YEAR, DAY, RIGHT, TEN, YEAR, RIGHT))
QUICK = Size(0.5, (YEAR, DAY, RIGHT))


@dataclass
class Run:
    """What happened in each step."""

    clock: Path
    tally: Tally = field(default_factory=Tally)
    asked: list[tuple[Step, list[Asked]]] = field(default_factory=list)

    def step(self, step: Step) -> None:
        """Set the service's clock, from now on."""
        with self.clock.open("r+b", buffering=0) as stream:  # in place: the service maps it
            stream.write(struct.pack("=q", step.days * 86400))

    def through(self, step: Step, seconds: float, enclaves: Helper) -> None:
        """One step, and what was asked in it once it had settled."""
        self.step(step)
        time.sleep(SETTLING)
        began = time.monotonic()
        time.sleep(seconds)
        ended = time.monotonic()
        time.sleep(SETTLING / 2)
        gather(enclaves, self.tally)
        asked = [a for a in self.tally.since(began) if a.began + a.seconds < ended]
        self.asked.append((step, asked))


def run(size: Size) -> Iterator[Figure]:
    """One service through all steps."""
    with tempfile.TemporaryDirectory() as name:
        library = _library(Path(name))
        site = Site.create(Path(name), limits=f"handshake_seconds = {HANDSHAKE}")
        ledger, this = Ledger(site), Run(Path(name) / "clock")
        this.clock.write_bytes(bytes(8))
        shown = {"LD_PRELOAD": str(library), "SOAK_CLOCK": str(this.clock)}
        plan = Crowd((site.copies[0].server,), threads=6, timeout=20.0)
        with serving(site.copies[0], shown), crowd(site.folder, plan) as enclaves:
            with ThreadPoolExecutor(1) as pool:
                stalled = pool.submit(_stall, site.copies[0].port)
                for step in size.steps:
                    this.through(step, size.seconds, enclaves)
                lived = stalled.result()
            gather(enclaves, this.tally, stop=True)
        ledger.look()
        yield from _figures(this, ledger, lived)


def _library(folder: Path) -> Path:
    """The compiled library; raises Missing where there is no compiler."""
    source, target = Path(__file__).with_name("_clock.c"), folder / "clock.so"
    compiler = shutil.which("cc")
    if compiler is None:
        raise Missing("there is no C compiler (Debian: apt-get install gcc libc6-dev)")
    words = [compiler, "-shared", "-fPIC", "-O1", "-o", str(target), str(source), "-ldl"]
    subprocess.run(words, check=True)
    return target


def _stall(port: int) -> float:
    """Begin a handshake and go no further: seconds until the service ends it, or infinity."""
    with connect(port, "127.0.0.66") as stream:
        stream.settimeout(10 * HANDSHAKE)
        began = time.monotonic()
        stream.sendall(CLIENT_HELLO[:3])
        try:
            while stream.recv(4096):
                continue
        except TimeoutError:
            return math.inf
        except OSError:
            pass
        return time.monotonic() - began


def _figures(this: Run, ledger: Ledger, lived: float) -> Iterator[Figure]:
    for number, (step, asked) in enumerate(this.asked, 1):
        honest = [each for each in asked if each.role != "stranger"]
        served = sum(each.outcome == "served" for each in honest)
        yield promise(
            f"step {number}, clock {step.title}: {'all' if step.allowed else 'none'} are served",
            f"{served} of {len(honest)}, {latencies(each.seconds for each in honest)}",
            holds=bool(honest) and served == (len(honest) if step.allowed else 0),
        )
    strangers = sum(each.wrongly for each in this.tally.asked if each.role == "stranger")
    yield promise("no stranger is ever served", strangers, holds=strangers == 0)
    broken = [a for a in this.tally.asked if not a.answered]
    yield promise(
        "no session breaks or hangs",
        f"{len(broken)} of {len(this.tally.asked):,}: {counts(this.tally.failures())} without",
        holds=not broken,
    )
    yield promise(
        f"a stalled handshake ends at its deadline of {HANDSHAKE:g} s",
        f"{lived:.1f} s",
        holds=0.9 * HANDSHAKE <= lived < 5 * HANDSHAKE,  # it is measured from the other end
    )
    yield from _by_the_log(ledger, this.tally.asked)


def _by_the_log(ledger: Ledger, asked: Sequence[Asked]) -> Iterator[Figure]:
    now = datetime.now(UTC)
    first = now - timedelta(days=ISSUED_DAYS_AGO, minutes=10)
    last = first + timedelta(days=ENDORSED_DAYS)
    released = [
        datetime.fromisoformat(each["claims"]["verified_at"])
        for each in ledger.newest
        if each.get("outcome") == "released"
    ]
    outside = sum(not first <= when <= last for when in released)
    yield promise(
        "on record, no release rests on a time without endorsements",
        f"{outside} of {len(released):,}",
        holds=outside == 0 < len(released),
    )
    times = [datetime.fromisoformat(each["time"]) for each in ledger.newest]
    back = sum(earlier - later > timedelta(hours=12) for earlier, later in pairwise(times))
    yield figure("on record, times that the clock was set back", back)
    missing = len(ledger.unrecorded(asked))
    yield promise("no secret left without its record", missing, holds=missing == 0)
    yield promise(
        "the log verifies: its order is that of its index",
        f"{ledger.verify_all():,} records",
        holds=True,
    )
