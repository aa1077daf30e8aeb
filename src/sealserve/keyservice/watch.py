"""The listener for whoever watches the service: is it alive, is it ready, what does it measure.

    /livez    200 while the event loop turns
    /readyz   200, or 503 with one line for each reason why the service should be asked nothing now
    /metrics  everything measured, in Prometheus' text format

Plain HTTP, on the loopback address unless the configuration says otherwise: nothing here is secret,
no request changes anything, and none is told more than the lines above. It shares its event loop
with the sessions, so it has limits of its own: `CONNECTIONS`, a deadline for every request, and one
examination of the service at a time, whose result serves all that ask within `FRESH_SECONDS`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sealserve.errors import SealServeError
from sealserve.hosts import Address, ListenAddress
from sealserve.http_server import HttpServer
from sealserve.keyservice.metrics import CONTENT_TYPE, Metrics
from sealserve.logline import line

CONNECTIONS = 64
REQUEST_SECONDS = 10.0
EXAMINED_SECONDS = 2.0  # how long an examination may take; Kubernetes asks by default every 10
FRESH_SECONDS = 1.0
STOP_SECONDS = 1.0
REASON_CHARACTERS = 200

log = logging.getLogger(__name__)


class Readiness(Protocol):
    """Whoever knows whether the service can decide and release."""

    async def problems(self) -> Sequence[str]:
        """Why it cannot, each in a stable line without names or values; empty if it can."""
        ...


class Watch:
    """Answers on `listen`, from `start` to `stop`."""

    def __init__(self, metrics: Metrics, readiness: Readiness, listen: ListenAddress) -> None:
        self._metrics = metrics
        self._examination = _Examination(metrics, readiness)
        self._listen = listen
        self._routes = Starlette(
            routes=[
                Route("/livez", self._livez),
                Route("/readyz", self._readyz),
                Route("/metrics", self._show),
            ]
        )
        self._server = HttpServer(
            self._within_deadline, None, purpose="the watch", connections=CONNECTIONS
        )

    async def start(self) -> Address:
        """Listen; the address with the port in use. Raises UsageError."""
        host = self._listen.host
        return Address(host, await self._server.start(host, self._listen.port))

    async def stop(self) -> None:
        """Answer what is being asked, and no more."""
        await self._server.stop(STOP_SECONDS)
        self._examination.stop()

    async def _within_deadline(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with asyncio.timeout(REQUEST_SECONDS):
            await self._routes(scope, receive, send)

    async def _livez(self, _request: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def _readyz(self, _request: Request) -> Response:
        problems = await self._examination.problems()
        if not problems:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("".join(f"{problem}\n" for problem in problems), 503)

    async def _show(self, _request: Request) -> Response:
        await self._examination.problems()  # so that "ready" is as young as the rest
        text = await asyncio.to_thread(self._metrics.show)
        return Response(text, headers={"content-type": CONTENT_TYPE})


class _Examination:
    """What is wrong, found anew when somebody asks, by one at a time and not too often.

    One that hangs, in a thread perhaps that nobody can stop, is waited for and not begun again.
    """

    def __init__(self, metrics: Metrics, readiness: Readiness) -> None:
        self._metrics = metrics
        self._readiness = readiness
        self._turn = asyncio.Lock()
        self._under_way: asyncio.Task[tuple[str, ...]] | None = None
        self._found: tuple[str, ...] | None = None
        self._found_at = float("-inf")

    async def problems(self) -> tuple[str, ...]:
        """Why the service is not ready, as of no longer ago than `FRESH_SECONDS`."""
        async with self._turn:
            now = asyncio.get_running_loop().time()
            if self._found is None or now - self._found_at >= FRESH_SECONDS:
                self._note(await self._result())
                self._found_at = asyncio.get_running_loop().time()
            return self._found or ()

    def stop(self) -> None:
        """Wait for nothing any more."""
        if self._under_way is not None:
            self._under_way.cancel()

    async def _result(self) -> tuple[str, ...]:
        task = self._under_way or asyncio.create_task(self._examine())
        self._under_way = task
        await asyncio.wait({task}, timeout=EXAMINED_SECONDS)
        if not task.done():
            return (f"the examination takes longer than {EXAMINED_SECONDS:g} seconds",)
        self._under_way = None
        return task.result()

    async def _examine(self) -> tuple[str, ...]:
        try:
            found = await self._readiness.problems()
        except SealServeError as error:
            return (f"the examination failed: {error.code}",)
        except Exception:  # not ready, and the next may do better
            log.exception(line("examination_fault"))
            return ("a fault in the examination; the log has it",)
        return tuple(" ".join(problem.split())[:REASON_CHARACTERS] for problem in found)

    def _note(self, found: tuple[str, ...]) -> None:
        """Tell the metrics, and the log if it is news."""
        self._metrics.ready(not found)
        if found != self._found:
            if found:
                log.warning(line("not_ready", problems="; ".join(found)))
            elif self._found:
                log.info(line("ready_again"))
        self._found = found
