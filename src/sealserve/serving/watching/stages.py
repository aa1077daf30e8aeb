"""Where the time of a start goes: stages by name, told in one event once the server is ready.

    event=started seconds=1.21 import=0.31 key=0.01 unseal=0.11 load=0.42 compile=0.09 rest=0.27

A stage's seconds are its own, without those of stages inside it, so that together with `rest`,
which is what lies in none, they add up to all; only stages of several threads at a time may add up
to more. `import` is from the start of the process. A process starts once: `STARTING` is one for all
of it, like the log, and measures nothing once it has been told.

Source of the start of a process: proc(5), stat, field 22, in ticks since the system's boot.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealserve.logline import Line, line

IMPORT = "import"
_START_TIME = 22 - 3  # among the fields behind the command's name, which may have spaces


class Stages:
    """Seconds by stage, from the start of the process. May be used from several threads."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._inside = _Inside()
        self._began = time.monotonic()
        self._told = False

    def imported(self) -> None:
        """The program is loaded and begins its work: what passed until now is `import`."""
        age = process_age()
        self._began = time.monotonic() - age
        self._add(IMPORT, age)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The block is part of this stage, whether it succeeds or not."""
        if self._told:
            yield
            return
        outer, self._inside.seconds = self._inside.seconds, 0.0
        began = time.monotonic()
        try:
            yield
        finally:
            passed = time.monotonic() - began
            self._add(name, passed - self._inside.seconds)
            self._inside.seconds = outer + passed

    def told(self) -> Line:
        """The event, in the order in which stages ended first; nothing is measured from here on."""
        self._told = True
        seconds = time.monotonic() - self._began
        with self._lock:
            stages = dict(self._seconds)
        rest = max(seconds - sum(stages.values()), 0.0)
        facts = {"seconds": seconds, **stages, "rest": rest}
        return line("started", **{name: round(value, 3) for name, value in facts.items()})

    def _add(self, name: str, seconds: float) -> None:
        with self._lock:
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds


class _Inside(threading.local):
    """Seconds of the stages inside the one that a thread is in."""

    seconds = 0.0


def process_age() -> float:
    """Seconds since this process was started; 0.0 where the system does not say."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        if fields[_START_TIME] == "0":  # Gramine's LibOS
            return 0.0
        started = int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 0.0)


STARTING = Stages()
