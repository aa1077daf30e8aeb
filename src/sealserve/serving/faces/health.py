"""gRPC's health service: `grpc.health.v1.Health`, about the server and each of its services.

Every name has the same answer, the server's readiness. The stock server knows its services by
their bare names (TensorFlow Serving 2.21, model_servers/server.cc), so those are answered too.
Rules: gRPC Health Checking Protocol (grpc/grpc, doc/health-checking.md): an unknown name is
NOT_FOUND to Check and SERVICE_UNKNOWN to Watch. Requests are not counted among those of models.

It is reached as everything on its port is: where clients need a certificate, so do probes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from sealserve.errors import InvalidArgument, NotFound, ServingError
from sealserve.serving.faces.streams import OpenCalls, only_message
from sealserve.serving.readiness import Readiness

SERVICE = "grpc.health.v1.Health"
OVERALL = ""


class HealthService:
    """Check and Watch."""

    def __init__(self, readiness: Readiness, services: Iterable[str]) -> None:
        """`services` are full names, each answered also without its package."""
        self._readiness = readiness
        full = set(services)
        self._names = {OVERALL, *full, *(name.rpartition(".")[2] for name in full)}
        self._watches = OpenCalls()

    def register(self, server: grpc.aio.Server) -> None:
        """Put the service into a server that has not started."""
        methods = {
            "Check": grpc.stream_unary_rpc_method_handler(self._check),
            "Watch": grpc.stream_stream_rpc_method_handler(self._watch),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))

    def close(self) -> None:
        """End all watches, each with what is true now."""
        self._watches.close()

    async def _check(
        self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> bytes:
        try:
            name = await _service(messages)
            if name not in self._names:
                raise NotFound("no such service")
            return _answer(_status(self._readiness.ready))
        except ServingError as error:
            await context.abort(grpc.StatusCode[error.status], error.message)
            raise AssertionError("abort returned") from error

    async def _watch(
        self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        told = None
        try:
            with self._watches.one():
                known = await _service(messages) in self._names
                while not self._watches.closed:
                    ready = self._readiness.ready
                    told = _status(ready) if known else HealthCheckResponse.SERVICE_UNKNOWN
                    yield _answer(told)
                    await self._watches.unless_closed(self._readiness.other_than(ready))
                if told == HealthCheckResponse.SERVING and not self._readiness.ready:
                    yield _answer(HealthCheckResponse.NOT_SERVING)  # the end came with the news
        except ServingError as error:
            await context.abort(grpc.StatusCode[error.status], error.message)


async def _service(messages: AsyncIterator[bytes]) -> str:
    try:
        return str(HealthCheckRequest.FromString(await only_message(messages)).service)
    except DecodeError:
        raise InvalidArgument("the bytes are no HealthCheckRequest") from None


def _status(ready: bool) -> HealthCheckResponse.ServingStatus:
    return HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING


def _answer(status: HealthCheckResponse.ServingStatus) -> bytes:
    return bytes(HealthCheckResponse(status=status).SerializeToString())
