"""One server as the work of a process: started, announced, and ended by SIGTERM or SIGINT.

The steps are those of `server`. While it stops, a second signal ends the process at once, and so
does an engine that computes beyond the deadline; an event loop that is stuck, a while later
(`last_resort`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable

from sealserve.logline import line
from sealserve.serving.flags import Flags
from sealserve.serving.last_resort import end_anyway
from sealserve.serving.preparing import Prepared
from sealserve.serving.server import Listening, ModelServer
from sealserve.serving.watching.observing import Observing

log = logging.getLogger(__name__)

TWICE_SECONDS = 0.5  # a terminal's signal comes twice to a worker: by itself, and passed on
END_SECONDS = 15.0  # for the rest of the end, beyond what running requests are given
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def run(
    prepared: Prepared, announce: Callable[[Listening], None], observing: Observing | None = None
) -> None:
    """Steps 2 to 4; `announce` is called once everything is loaded and listens."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stopping.set)
    flags = prepared.flags
    deadline = flags.shutdown_delay_seconds + flags.shutdown_timeout_seconds + END_SECONDS
    end_anyway(_SIGNALS, deadline, twice=2 * TWICE_SECONDS)
    server = ModelServer(prepared, observing)
    starting = asyncio.create_task(server.start())
    stopped = asyncio.create_task(stopping.wait())
    stopped.add_done_callback(lambda _: loop.call_later(TWICE_SECONDS, _let_go, loop))
    try:
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            announce(starting.result())
            await stopped
            await _leave(server, flags)
    finally:
        starting.cancel()
        stopped.cancel()
        whole = await server.stop()
    if not whole:
        log.warning(
            line("left_behind", reason="the engine still computes or loads, or a client holds on")
        )
        _end_process()


def _let_go(loop: asyncio.AbstractEventLoop) -> None:
    """From here on a second signal ends the process at once."""
    for number in _SIGNALS:
        loop.remove_signal_handler(number)


async def _leave(server: ModelServer, flags: Flags) -> None:
    server.leave()
    delay, grace = flags.shutdown_delay_seconds, flags.shutdown_timeout_seconds
    log.info(line("stopping", serving_seconds=delay, then_seconds=grace))
    await asyncio.sleep(delay)


def _end_process() -> None:
    """Leave without waiting for threads, as Python otherwise does."""
    sys.stdout.flush()
    logging.shutdown()
    os._exit(0)
