"""When requests are due, and how many clients there are: the shape of a load over time.

A load is constant within a step and changes from one step to the next. In an open loop it is a
rate, and requests are due at moments that no answer moves; in a closed loop it is a number of
clients, each of which waits for its answer.

Moments come from the load's integral: a request is due whenever it has grown by one (`constant`),
or by a gap that is exponentially distributed with mean one, which makes a Poisson process of the
same rate.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sealserve.errors import UsageError

MAX_STEPS = 100


@dataclass(frozen=True)
class Step:
    """`load` (requests per second, or clients) for so many seconds."""

    load: float
    seconds: float


def ramp(first: float, last: float, steps: int, *, seconds: float) -> tuple[Step, ...]:
    """Equal steps from one load to another, which take `seconds` together."""
    if not 2 <= steps <= MAX_STEPS:
        raise UsageError(f"a ramp of {steps} steps; expected 2 to {MAX_STEPS}")
    rise = (last - first) / (steps - 1)
    return tuple(Step(first + index * rise, seconds / steps) for index in range(steps))


def constant_gaps(first: float = 0.5) -> Iterator[float]:
    """Gaps of one after `first`, which keeps clear of where steps meet, and processes apart."""
    yield first
    while True:
        yield 1.0


def poisson_gaps(seed: int) -> Iterator[float]:
    """Exponentially distributed gaps of mean one, the same for the same seed."""
    source = random.Random(seed)  # noqa: S311 - arrivals, no secret
    while True:
        yield source.expovariate(1.0)


def arrivals(steps: Sequence[Step], gaps: Iterator[float]) -> Iterator[tuple[float, int]]:
    """Each request's moment in seconds from the start, in order, and the index of its step."""
    begin = 0.0
    gap = next(gaps)
    for index, step in enumerate(steps):
        grown, whole = 0.0, step.load * step.seconds
        while grown + gap <= whole:
            grown += gap
            yield begin + grown / step.load, index
            gap = next(gaps)
        gap -= whole - grown
        begin += step.seconds
