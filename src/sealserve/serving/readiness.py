"""Whether this server should be sent requests: one word, and who wants to hear it change.

A server is ready once everything is loaded and it listens; it stops being ready when it is told to
end, while it still serves, so that whoever sends it requests can turn to others first. That is
final. Readiness knows no wire: the gRPC health service and the ready routes of REST ask it.

All methods belong to the event loop.
"""

from __future__ import annotations

import asyncio


class Readiness:
    """Not ready, then ready, then never again."""

    def __init__(self) -> None:
        self._ready = False
        self._over = False
        self._changed = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here now."""
        return self._ready

    def turn_on(self) -> None:
        """Everything is loaded and listens. Without effect once it was turned off."""
        self._become(not self._over)

    def turn_off(self) -> None:
        """The server is going to end."""
        self._over = True
        self._become(False)

    async def other_than(self, known: bool) -> bool:
        """Wait until it is not what is known; what it is then. Returns at once where it differs."""
        while self._ready == known:
            await self._changed.wait()
        return self._ready

    def _become(self, ready: bool) -> None:
        if ready != self._ready:
            self._ready = ready
            self._changed.set()
            self._changed = asyncio.Event()  # those who wait have the other one
