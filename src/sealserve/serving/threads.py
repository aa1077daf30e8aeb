"""The end of a thread pool whose work nobody can interrupt.

A run of the engine or a load that does not end would keep the whole process: Python waits for the
threads of every pool when it leaves.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor


async def ended(pool: ThreadPoolExecutor, seconds: float | None) -> bool:
    """Drop what waits in the pool; whether what runs ended within `seconds`, None: for ever."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    def wait() -> None:
        pool.shutdown(wait=True, cancel_futures=True)
        if not loop.is_closed():
            loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait, name="ending", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            await over.wait()
    except TimeoutError:
        return False
    return True
