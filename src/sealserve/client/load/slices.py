"""What a process of a run measures, slice of time by slice of time.

A slice holds what ended in it, by the step that it was due in. It is handed over once its time is
over, so a process keeps one slice, however long the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sealserve.client.load.histogram import Histogram


@dataclass
class Outcome:
    """Latencies of what was answered, and a count of what failed, by code."""

    latencies: Histogram = field(default_factory=Histogram)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, other: Outcome) -> None:
        """Take in what `other` holds."""
        self.latencies.add(other.latencies)
        self.errors.update(other.errors)


@dataclass
class Slice:
    """The slice number `index` of a process: outcomes by step, and how late requests were sent."""

    index: int
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    lateness: Histogram = field(default_factory=Histogram)


class Recorder:
    """Makes slices of what it is told and hands each to `tell`, all of them and in order.

    Times are nanoseconds of the monotonic clock, which all processes of a machine share.
    """

    def __init__(self, start: int, interval: int, tell: Callable[[Slice], None]) -> None:
        self.start = start
        self.last_end = start
        self._interval = interval
        self._tell = tell
        self._slice = Slice(0)

    def ended(self, step: int, due: int, now: int, error: str | None) -> None:
        """A request that was due (or sent) at `due` has ended: answered, or failed with a code."""
        self.pass_until(now)
        self.last_end = now
        outcome = self._slice.outcomes.get(step)
        if outcome is None:
            outcome = self._slice.outcomes[step] = Outcome()
        if error is None:
            outcome.latencies.record(now - due)
        else:
            outcome.errors[error] += 1

    def sent(self, due: int, now: int) -> None:
        """A request that was due at `due` is sent now."""
        self._slice.lateness.record(now - due)

    def pass_until(self, now: int) -> None:
        """Hand over the slices whose time is over."""
        index = (now - self.start) // self._interval
        while self._slice.index < index:
            self._tell(self._slice)
            self._slice = Slice(self._slice.index + 1)

    def finish(self) -> None:
        """Hand over what is left."""
        self._tell(self._slice)
