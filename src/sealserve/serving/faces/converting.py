"""Where a face converts what it takes and gives: small things at once, large ones in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_INLINE_BYTES = 64 << 10  # up to here converting in the event loop is faster than a thread


async def in_thread_if_large(
    size: int, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """The step's result; in a thread if `size` bytes would keep the event loop from others."""
    if size <= _INLINE_BYTES:
        return step(*args, **kwargs)
    return await asyncio.to_thread(step, *args, **kwargs)
