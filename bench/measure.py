"""Measure so that noise does not decide the outcome; results are as `bench` describes them."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
CHILD_DEADLINE = 600.0


@dataclass(frozen=True)
class Result:
    """One line of a benchmark; the fields are described in `bench`."""

    name: str
    value: float
    unit: str
    against: str | None
    ratio: float | None
    goal: str | None
    holds: bool | None


def interleave(
    subjects: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each subject in each round; all take turns, after one round that does not count.

    What slows the machine down for a while then slows all of them. For subjects that wait for
    nothing, `clock` may be `time.process_time`, which does not run while others have the processor.
    """
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(rounds + 1):
        for name, subject in subjects.items():
            start = clock()
            subject()
            if turn:
                times[name].append(clock() - start)
    return times


def compared(
    name: str,
    times: Mapping[str, list[float]],
    ours: str,
    peer: str,
    *,
    work: float,
    unit: str,
    goal: float | None,
) -> Result:
    """A throughput, `work` per second in `unit`, beside its peer's; the goal is the ratio's."""
    ratio = statistics.median(
        theirs / own for own, theirs in zip(times[ours], times[peer], strict=True)
    )
    return Result(
        name,
        work / min(times[ours]),
        unit,
        f"{peer} ({work / min(times[peer]):.3g} {unit})",
        ratio,
        None if goal is None else f"ratio >= {goal:g}",
        None if goal is None else ratio >= goal,
    )


def limited(name: str, value: float, unit: str, *, against: str, limit: float) -> Result:
    """A number that must not be more than its limit."""
    return Result(name, value, unit, against, None, f"value <= {limit:g}", value <= limit)


def peak_memory(statement: str) -> float:
    """MiB that a process of its own has at most while it runs a Python statement."""
    code = f"{statement}\nprint(next(l for l in open('/proc/self/status') if l[:6] == 'VmHWM:'))"
    output = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
        timeout=CHILD_DEADLINE,
    ).stdout
    return int(output.split()[1]) / 1024
