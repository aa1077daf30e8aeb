"""Verify a quote by TCB infos of 5 to 250 levels that were verified before: the cost stays flat.

The platform reaches the last level alone, so that all are looked at. Intel's TCB infos of today
have about 20. The goal is that 250 levels cost at most 1.2 times what 5 do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from bench._evidence import NOW, with_levels
from bench.measure import Result, compared, interleave
from sealserve.verifier import verify_quote

VERIFICATIONS = 200
LEVELS = (5, 20, 100, 250)
FLAT = 1 / 1.2


def run() -> Iterator[Result]:
    """Quotes a second for each size, against the smallest."""
    times = interleave(
        {_name(count): _verify_again(count) for count in LEVELS}, rounds=9, clock=time.process_time
    )
    smallest, *larger = map(_name, LEVELS)
    for name in larger:
        yield compared(
            *(f"verify by {name}", times, name, smallest),
            work=VERIFICATIONS,
            unit="quotes/s",
            goal=FLAT,
        )


def _name(count: int) -> str:
    return f"{count} levels"


def _verify_again(count: int) -> Callable[[], object]:
    scene = with_levels(count)
    (quote,), verified = scene.quotes, scene.verified()
    return lambda: [verify_quote(quote, verified, NOW) for _ in range(VERIFICATIONS)]
