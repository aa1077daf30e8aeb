"""Uvicorn inside an event loop that is not its own, with a deadline for every wait.

Uvicorn handles signals itself, waits for ever for the head of a request and takes any number of
connections; here the server's owner handles signals, a connection without a request is closed after
a while, whether it is silent or sends its head byte by byte, and one too many is closed at once. Of
TLS handshakes, of which uvicorn knows nothing yet, the oldest gives way: strangers that only
connect keep nobody out. A connection that does not take its answer is closed too, and at the end
one that is idle, whatever it makes of being told so.

Where clients have to show a certificate, the application finds it in `peer_certificate(scope)`.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from sealserve.errors import UsageError
from sealserve.hosts import spell
from sealserve.ports import BACKLOG

HEAD_BYTES = 64 << 10  # of a request line and its headers
HEAD_SECONDS = 20  # from the connection, or the last answer, to the end of the next head
STALLED_SECONDS = 20  # in which a client has to take what waits for it, some hundred KiB
CLOSING_SECONDS = 2  # for a client to take what is left, once the server ends
MAX_CONNECTIONS = 1024
_PEER_CERTIFICATE = "sealserve.peer_certificate"
_PAUSE = 0.1  # seconds, where the system gives us no more connections


def peer_certificate(scope: Scope) -> bytes | None:
    """The client's certificate (DER), which the TLS handshake verified; None where it showed none.

    It is as of the handshake: a connection may outlive it.
    """
    found = scope.get("extensions", {}).get(_PEER_CERTIFICATE)
    return found if isinstance(found, bytes) else None


class _Server(uvicorn.Server):
    """Uvicorn that leaves signals alone, tells when it listens, and bounds handshakes."""

    def __init__(
        self,
        config: uvicorn.Config,
        handshake: Callable[[bool], None] | None,
        *,
        cancel_abandoned: bool,
    ) -> None:
        super().__init__(config)
        self._cancel_abandoned = cancel_abandoned
        self._handshake = handshake if config.ssl else None
        self.listening = asyncio.Event()
        self._accepting: list[asyncio.Task[None]] = []
        self._handshakes: dict[asyncio.Task[None], None] = {}  # in the order in which they began

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        for listener in sockets or []:
            listener.setblocking(False)
            self._accepting.append(asyncio.create_task(self._accept(listener)))
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        open_tasks = {*self._accepting, *self._handshakes}
        for task in open_tasks:
            task.cancel()
        await asyncio.gather(*open_tasks, return_exceptions=True)
        await super().shutdown(sockets)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:  # the client has gone already, or there are no descriptors
                if error.errno != errno.ECONNABORTED:
                    await asyncio.sleep(_PAUSE)
                continue
            if len(self._handshakes) >= (self.config.limit_concurrency or MAX_CONNECTIONS):
                oldest = next(iter(self._handshakes))
                del self._handshakes[oldest]
                oldest.cancel()
            task = asyncio.create_task(self._begin(connection))
            self._handshakes[task] = None
            task.add_done_callback(partial(self._ended, connection))

    def _ended(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)
        if task.cancelled():  # perhaps before it began
            connection.close()

    async def _begin(self, connection: socket.socket) -> None:
        """The TLS handshake, if there is to be one; then the connection is the protocol's."""
        context = self.config.ssl
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=context,
                ssl_handshake_timeout=HEAD_SECONDS if context else None,
            )
        except OSError:  # also ssl.SSLError and TimeoutError: it came to nothing
            connection.close()
            self._tell(False)
        else:
            self._tell(True)

    def _tell(self, ok: bool) -> None:
        if self._handshake is not None:
            self._handshake(ok)

    def _protocol(self) -> asyncio.Protocol:
        return _Protocol(
            self.config,
            self.server_state,
            self.lifespan.state,
            cancel_abandoned=self._cancel_abandoned,
        )


class _Protocol(H11Protocol):
    """HTTP/1.1 with a deadline for the next head, and one for taking the answer."""

    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _ending = False

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        cancel_abandoned: bool,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._abandoned: _Abandoned | None = None
        if cancel_abandoned:
            self.app = self._abandoned = _Abandoned(self.app)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        if certificate:
            self.app = _with_certificate(self.app, certificate)
        self._arm()
        # At the limit uvicorn answers 503; beyond it there would be no end of waiting sockets.
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            transport.abort()

    def on_response_complete(self) -> None:
        self._arm()
        super().on_response_complete()
        if self._ending:
            self._close_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._deadline, self._stalled):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        if self._abandoned is not None:
            self._abandoned.cancel()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def shutdown(self) -> None:
        super().shutdown()
        self._ending = True
        if self._idle:
            self._close_soon()

    @property
    def _idle(self) -> bool:
        # uvicorn types `cycle` as never None, and starts with None.
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]

    def _arm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        # A request that is being answered has a deadline of its own, in the application.
        if self._idle:
            self.transport.abort()

    def _close_soon(self) -> None:
        # To close is to wait for the client's end of TLS, and an idle client may never look.
        self.loop.call_later(CLOSING_SECONDS, self._cut)

    def _cut(self) -> None:
        if not self.transport.get_write_buffer_size():
            self.transport.abort()


class _Abandoned:
    """An application, and the request of a connection that it answers now."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application
        self._task: asyncio.Task[Any] | None = None
        self._lost = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = self._task = asyncio.current_task()
        try:
            await self._application(scope, receive, send)
        except asyncio.CancelledError:
            if not self._lost:
                raise
        finally:
            if self._task is task:
                self._task = None

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        self._lost = True
        if self._task is not None:
            self._task.cancel()


def _with_certificate(application: ASGIApp, certificate: bytes) -> ASGIApp:
    async def informed(scope: Scope, receive: Receive, send: Send) -> None:
        extensions = {**scope.get("extensions", {}), _PEER_CERTIFICATE: certificate}
        await application({**scope, "extensions": extensions}, receive, send)

    return informed


class HttpServer:
    """An ASGI application behind a listening socket; plaintext only without an SSL context.

    `purpose` is for the person who reads why it does not listen.
    """

    def __init__(
        self,
        application: ASGIApp,
        context: ssl.SSLContext | None,
        *,
        purpose: str,
        connections: int = MAX_CONNECTIONS,
        handshake: Callable[[bool], None] | None = None,
        cancel_abandoned: bool = False,
    ) -> None:
        """`handshake` is told of every TLS handshake that ended, and whether well.

        With `cancel_abandoned` a request is cancelled as soon as its client has gone.
        """
        config = uvicorn.Config(
            application,
            interface="asgi3",
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=connections,
            timeout_keep_alive=HEAD_SECONDS,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        config.load()
        config.ssl = context
        self._purpose = purpose
        self._server = _Server(config, handshake, cancel_abandoned=cancel_abandoned)
        self._task: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> int:
        """Listen and serve; the port, which is a free one where 0 was asked for.

        With `reuse_port` other processes of this user may listen there too.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server(
                (host, port), family=family, backlog=BACKLOG, reuse_port=reuse_port
            )
        except OSError as error:
            raise UsageError(
                f"cannot listen on {spell(host, port)} for {self._purpose}: {error.strerror}",
                hint="is the port taken, the address one of this machine?",
            ) from error
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({self._task, listening}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            listening.cancel()
            await self._task
        return int(listener.getsockname()[1])

    async def stop(self, grace: float) -> None:
        """Take no new requests, give those that run `grace` seconds, then cancel them."""
        if self._task is None:
            return
        self._server.config.timeout_graceful_shutdown = max(1, int(grace))
        self._server.should_exit = True
        await self._task
