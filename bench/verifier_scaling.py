"""Verify quotes in four threads and in four processes, beside one thread doing the same work.

The collateral was verified before. The work is the same for each subject, so the ratio is the
scaling: 4 would be perfect on four processors, and no more than the processors that there are is to
be had. Python's interpreter runs one thread at a time, and `cryptography` holds it while it
verifies one signature, as `dcap-qvl` does for a whole quote.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

from bench._evidence import NOW, Scene, one_platform, other_verification, other_verifier
from bench.measure import Result, compared, interleave
from sealserve.verifier import VerifiedCollateral, verify_quote

QUOTES = 1600
WORKERS = 4
ONE, THREADS, PROCESSES = "one", "four threads", "four processes"
OTHER_ONE, OTHER_THREADS = "dcap-qvl, one", "dcap-qvl, four threads"

_SPAWN = multiprocessing.get_context("spawn")
_ready: list[tuple[list[bytes], VerifiedCollateral]] = []


def run() -> Iterator[Result]:
    """Quotes a second of each, and how many times those of one."""
    scene = one_platform(QUOTES)
    prepare(scene)
    with (
        ThreadPoolExecutor(WORKERS) as threads,
        ProcessPoolExecutor(WORKERS, _SPAWN, prepare, (scene,)) as processes,
    ):
        subjects: dict[str, Callable[[], object]] = {
            ONE: lambda: verify_share(0, 1),
            THREADS: lambda: _shared(threads),
            PROCESSES: lambda: _shared(processes),
        }
        if other := other_verifier():
            verification = other_verification(other, scene)
            subjects[OTHER_ONE] = lambda: list(map(verification, scene.quotes))
            subjects[OTHER_THREADS] = lambda: list(threads.map(verification, scene.quotes))
        times = interleave(subjects)
    for many, one in ((THREADS, ONE), (PROCESSES, ONE), (OTHER_THREADS, OTHER_ONE)):
        if many in times:
            name = f"scaling on {os.cpu_count()} processors: {many}"
            yield compared(name, times, many, one, work=QUOTES, unit="quotes/s", goal=None)


def _shared(pool: Executor) -> None:
    """A share for each worker; all have prepared."""
    for share in [pool.submit(verify_share, n, WORKERS) for n in range(WORKERS)]:
        share.result()


def prepare(scene: Scene) -> None:
    """Have the quotes and the verified collateral ready, in this process."""
    _ready.append((scene.quotes, scene.verified()))


def verify_share(start: int, step: int) -> None:
    """Every `step`th quote from `start` on."""
    quotes, verified = _ready[0]
    for quote in quotes[start::step]:
        verify_quote(quote, verified, NOW)
