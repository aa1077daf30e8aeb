"""Free memory, back to the system.

gRPC receives a large message in many pieces, whichever of its threads is awake, and glibc keeps
what a thread has freed for that thread: some large messages later the process holds a multiple of
each (mallopt(3), M_ARENA_MAX; malloc_trim(3)). Where the C library has no such function, and hence
no such arenas, nothing happens.
"""

from __future__ import annotations

import ctypes

LARGE_BYTES = 8 << 20  # of a message: below, to look for free memory takes longer than it is worth

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """Let the system have what is free. Milliseconds, in which other Python threads run."""
    if _trim is not None:
        _trim(0)
