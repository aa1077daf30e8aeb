"""An event loop whose look-ups of names end when nobody waits for them any more.

asyncio resolves names in a pool of threads, and at its end waits for them: a resolver that hangs
keeps a call, and then the whole process, for as long as the C library goes on asking (for minutes,
as /etc/resolv.conf may say). Here each look-up has a daemon thread of its own, because a look-up
cannot be interrupted: who waits leaves at its deadline, and the thread ends by itself.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any


class ResolvingLoop(asyncio.SelectorEventLoop):
    """Give it to `asyncio.Runner`; good for whatever looks names up by the loop's own method."""

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """What `socket.getaddrinfo` says, or raises."""

        def look_up() -> list[Any]:
            return list(socket.getaddrinfo(host, port, family, type, proto, flags))

        found: Future[list[Any]] = Future()
        found.set_running_or_notify_cancel()  # from here on it can be left, but not cancelled
        Thread(target=_settle, args=(found, look_up), name="resolver", daemon=True).start()
        return await asyncio.wrap_future(found, loop=self)


def _settle(found: Future[list[Any]], look_up: Callable[[], list[Any]]) -> None:
    try:
        result = look_up()
    except Exception as error:  # noqa: BLE001  (handed to who waits: OSError, UnicodeError)
        found.set_exception(error)
    else:
        found.set_result(result)
