"""Memory that was freed, back to the system.

glibc keeps what is freed for the next time, which after a large model was unloaded may never come:
the machine would have less for other servers than it has. Source: malloc_trim(3). Elsewhere than
with glibc this does nothing.
"""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Blocks for some milliseconds, without Python's lock: not for an event loop."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
