"""What one input costs a parser: processor time, and the most memory that it holds at once.

Processor time of this thread is measured and not what passes on the clock, which a busy machine
stretches. Memory is measured twice, and the larger number counts: what Python allocates (exactly,
by tracemalloc), and how far the resident set grows (what native code allocates shows there alone).
"""

from __future__ import annotations

import contextlib
import functools
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

SECONDS_LIMIT = 0.050
BYTES_LIMIT = 16 << 20

_SURELY_CHEAP = SECONDS_LIMIT / 5
_ROUNDS = 5
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5), clear_refs: sets VmHWM to the present size

Run = Callable[[bytes], object]


def processor_seconds(run: Run, data: bytes) -> float:
    """Of one call; where the first is not far below the limit, the median of five."""
    first = _once(run, data)
    if first < _SURELY_CHEAP:
        return first
    return statistics.median(_once(run, data) for _ in range(_ROUNDS))


def peak_bytes(run: Run, data: bytes) -> int:
    """The most that one call holds beyond what was there before it."""
    forget()
    _CLEAR.write_text(_RESET_PEAK)
    before = _resident("VmRSS")
    _call(run, data)
    grown = _resident("VmHWM") - before
    forget()
    tracemalloc.start()
    try:
        _call(run, data)
        allocated = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return max(grown, allocated)


def forget() -> None:
    """Empty what our own code remembers, so that each measurement begins like the first."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "sealserve":
            for value in vars(module).values():
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()


def _once(run: Run, data: bytes) -> float:
    forget()
    start = time.thread_time()
    _call(run, data)
    return time.thread_time() - start


def _call(run: Run, data: bytes) -> None:
    with contextlib.suppress(Exception):  # whether it may raise this is not asked here
        run(data)


def _resident(field: str) -> int:
    lines = _STATUS.read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) << 10
