"""The gRPC server: its port, its limits, its errors. What the methods do is the faces' matter.

Bytes are parsed by the faces and not by gRPC, so that malformed ones are an INVALID_ARGUMENT like
any other wrong request. Handlers take a stream of one message, which on the wire is the same as one
message: so the wait for it has a deadline, where gRPC would let a silent client hold its place for
ever. A deadline that passes or a client that goes away cancels the handler, and with it the
prediction. What is unforeseen is logged with its traceback; the peer hears INTERNAL and no more.

Methods that no face has gRPC itself answers with UNIMPLEMENTED.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from sealserve.errors import DeadlineExceeded, InvalidArgument, ServingError, UsageError
from sealserve.messages.services import Method
from sealserve.serving.calls import Call, Watch
from sealserve.serving.heap import LARGE_BYTES, give_back

log = logging.getLogger(__name__)

Behaviour = Callable[[bytes, Call], Awaitable[bytes]]
"""A method: from a serialized request to a serialized answer. Raises DecodeError, ServingError."""
Methods = Mapping[Method[Any, Any], Behaviour]

MESSAGE_SECONDS = 30.0  # from the call to its whole message
HANDSHAKE_SECONDS = 20
MAX_CONNECTIONS = 10_000  # each takes a descriptor, before anybody has shown a certificate
CLOSING_SECONDS = 2.0  # for clients to say that they have heard of the end, and to be cut off
_LOOK_SECONDS = 0.1
_NEVER = 1e9  # seconds
TEXT_LIMIT = 500  # characters of an error: it may repeat what was sent, and travels in a header


@dataclass(frozen=True)
class GrpcSettings:
    """Limits, and options of gRPC's own that win over ours."""

    max_request_bytes: int
    max_concurrent: int
    options: Sequence[tuple[str, int | str]] = field(default_factory=tuple)
    shared_port: bool = False  # with the other processes of this server


class GrpcServer:
    """A listening gRPC server; plaintext only if it is given no credentials."""

    def __init__(
        self,
        methods: Methods,
        watch: Watch,
        settings: GrpcSettings,
        credentials: grpc.ServerCredentials | None,
    ) -> None:
        self._credentials = credentials
        self._arrivals = _Arrivals()
        self._server = grpc.aio.server(
            handlers=_handlers(methods, watch, self._arrivals),
            maximum_concurrent_rpcs=settings.max_concurrent,
            options=[
                ("grpc.max_receive_message_length", settings.max_request_bytes),
                # Unless it is to be shared: a port that is taken is an error, not half the traffic.
                ("grpc.so_reuseport", int(settings.shared_port)),
                ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
                ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
                *settings.options,
            ],
        )

    def add(self, register: Callable[[grpc.aio.Server], None]) -> None:
        """Let a ready-made service (health, reflection) put itself into the server."""
        register(self._server)

    async def start(self, host: str, port: int) -> int:
        """Listen and serve; the port, which is a free one where 0 was asked for."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._credentials is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise UsageError(
                f"cannot listen on {address} for gRPC",
                hint="is the port taken, the address one of this machine?",
            ) from error
        await self._server.start()
        self._arrivals.watch()
        return int(bound)

    async def stop(self, grace: float) -> bool:
        """Take no new calls, give those that run `grace` seconds, then cancel them.

        gRPC waits for clients that do not answer, too, though no call of theirs runs: for those a
        moment is enough. Whether it let go of all connections: it may wait for ever.

        The deadline is kept here. Given to gRPC, it would race with the cut: when they meet, gRPC
        cancels the calls of a server that it has destroyed, and the process dies.
        """
        loop = asyncio.get_running_loop()
        end, ending = loop.time() + grace, asyncio.create_task(self._server.stop(_NEVER))
        quiet = 0.0
        while not ending.done() and loop.time() < end and quiet < CLOSING_SECONDS:
            await asyncio.wait({ending}, timeout=_LOOK_SECONDS)
            quiet = 0.0 if self._arrivals.busy else quiet + _LOOK_SECONDS
        cutting = asyncio.create_task(self._server.stop(None))
        await asyncio.wait({ending, cutting}, timeout=CLOSING_SECONDS)
        self._arrivals.close()
        whole = ending.done()
        for task in (ending, cutting):
            task.cancel()
        return whole


class _Arrivals:
    """Calls, those whose message is on its way, and when they have had time enough.

    One sweep for all of them: a timer for each would cost a small request a tenth of its time.
    """

    SWEEP_SECONDS = 1.0

    def __init__(self) -> None:
        self._calls: set[asyncio.Task[Any]] = set()
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._sweeper: asyncio.Task[None] | None = None

    def watch(self) -> None:
        self._sweeper = asyncio.create_task(self._sweep())

    def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()

    @property
    def busy(self) -> bool:
        """Whether there are calls, or answers that are not sent yet."""
        return bool(self._calls)

    def begin(self) -> None:
        """The current task handles a call, and will send its answer."""
        task = asyncio.current_task()
        assert task is not None  # a handler is one
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def message(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        """The one message of a unary call."""
        task = asyncio.current_task()
        assert task is not None  # a handler is one
        self._waiting[task] = task.get_loop().time() + MESSAGE_SECONDS
        try:
            # Not by the iterator: it would keep the message until the garbage collector comes.
            message = await context.read()
            if not isinstance(message, bytes):
                raise InvalidArgument("the call has no message")
            return message
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise DeadlineExceeded("the request did not arrive in time") from None
        finally:
            self._waiting.pop(task, None)
            self._late.discard(task)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self.SWEEP_SECONDS)
            now = asyncio.get_running_loop().time()
            for task in [task for task, end in self._waiting.items() if end < now]:
                del self._waiting[task]
                self._late.add(task)
                task.cancel()


def _handlers(methods: Methods, watch: Watch, arrivals: _Arrivals) -> list[grpc.GenericRpcHandler]:
    services: dict[str, dict[str, grpc.RpcMethodHandler]] = {}
    for method, behaviour in methods.items():
        handler = _handler(method, behaviour, watch, arrivals)
        services.setdefault(method.service, {})[method.name] = handler
    return [grpc.method_handlers_generic_handler(name, s) for name, s in services.items()]


def _handler(
    method: Method[Any, Any], behaviour: Behaviour, watch: Watch, arrivals: _Arrivals
) -> grpc.RpcMethodHandler:
    name = method.path.removeprefix("/")

    # Apart from `handle`: gRPC keeps the frame of a call that was aborted until the garbage
    # collector comes, and with it a request that would be in it.
    async def answered(context: grpc.aio.ServicerContext[bytes, bytes], call: Call) -> bytes:
        request = await arrivals.message(context)
        call.received = len(request)
        if call.received >= LARGE_BYTES:
            give_back()  # the pieces that it came in
        return await behaviour(request, call)

    async def handle(
        _messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> bytes:
        arrivals.begin()
        call = watch.begin(Call(method.name, "GRPC"))
        call.method, call.peer = name, context.peer()
        if watch.origins:
            call.traceparent = _traceparent(context)
        code = "INTERNAL"
        try:
            answer = await answered(context, call)
            call.sent = len(answer)
            code = "OK"
            return answer
        except DecodeError:
            code, text = "INVALID_ARGUMENT", f"the bytes are no {method.request.DESCRIPTOR.name}"
        except ServingError as error:
            code, text = error.status, error.message
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception:
            log.exception("%s failed", method.path)
            text = "internal error"
        finally:
            watch.end(call, code)
        await context.abort(grpc.StatusCode[code], text[:TEXT_LIMIT])
        raise AssertionError("abort returned")

    return grpc.stream_unary_rpc_method_handler(handle)


def _traceparent(context: grpc.aio.ServicerContext[bytes, bytes]) -> str:
    """The trace that the caller is in, as it says; empty without."""
    metadata = context.invocation_metadata() or ()
    found = next((value for name, value in metadata if name == "traceparent"), "")
    return found if isinstance(found, str) else ""
