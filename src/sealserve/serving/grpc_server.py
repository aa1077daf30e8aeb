"""The gRPC face: TensorFlow Serving's methods over the data plane.

Bytes are parsed here and not by gRPC, so that malformed ones are an INVALID_ARGUMENT like any other
wrong request. Handlers take a stream of one message, which on the wire is the same as one message:
so the wait for it has a deadline, where gRPC would let a silent client hold its place for ever. A
deadline that passes or a client that goes away cancels the handler, and with it the prediction.
What is unforeseen is logged with its traceback; the peer hears INTERNAL and no more.

Methods, messages and codes: TensorFlow Serving 2.21, apis/{prediction_service,model_service}.proto.
Methods that are not here gRPC itself answers with UNIMPLEMENTED.
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
from sealserve.messages.metadata_pb2 import GetModelMetadataRequest, GetModelMetadataResponse
from sealserve.messages.predict_pb2 import ModelSpec, PredictRequest, PredictResponse
from sealserve.messages.services import (
    GET_MODEL_METADATA,
    GET_MODEL_STATUS,
    PREDICT,
    Method,
)
from sealserve.messages.status_pb2 import GetModelStatusRequest, GetModelStatusResponse
from sealserve.messages.tensors import fill_proto, from_proto
from sealserve.serving.answers import SIGNATURE_DEF, metadata_response, status_response
from sealserve.serving.dataplane import DataPlane, ModelQuery
from sealserve.serving.signature import Array, Signature

log = logging.getLogger(__name__)

Behaviour = Callable[[Any], Awaitable[Any]]

MESSAGE_SECONDS = 30.0  # from the call to its whole message
HANDSHAKE_SECONDS = 20


@dataclass(frozen=True)
class GrpcSettings:
    """Limits, and options of gRPC's own that win over ours."""

    max_request_bytes: int
    max_concurrent: int
    options: Sequence[tuple[str, int | str]] = field(default_factory=tuple)


class GrpcServer:
    """A listening gRPC server; plaintext only if it is given no credentials."""

    def __init__(
        self, plane: DataPlane, settings: GrpcSettings, credentials: grpc.ServerCredentials | None
    ) -> None:
        self._plane = plane
        self._limit = settings.max_request_bytes
        self._credentials = credentials
        self._server = grpc.aio.server(
            handlers=self._handlers(),
            maximum_concurrent_rpcs=settings.max_concurrent,
            options=[
                ("grpc.max_receive_message_length", settings.max_request_bytes),
                ("grpc.so_reuseport", 0),  # a port that is taken is an error, not half the traffic
                ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
                *settings.options,
            ],
        )

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
        return int(bound)

    async def stop(self, grace: float) -> None:
        """Take no new calls, give those that run `grace` seconds, then cancel them."""
        await self._server.stop(grace)

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        behaviours: dict[Method[Any, Any], Behaviour] = {
            PREDICT: self._predict,
            GET_MODEL_METADATA: self._metadata,
            GET_MODEL_STATUS: self._status,
        }
        services: dict[str, dict[str, grpc.RpcMethodHandler]] = {}
        for method, behaviour in behaviours.items():
            services.setdefault(method.service, {})[method.name] = _handler(method, behaviour)
        return [grpc.method_handlers_generic_handler(name, s) for name, s in services.items()]

    async def _predict(self, request: PredictRequest) -> PredictResponse:
        async def decode(signature: Signature) -> Mapping[str, Array]:
            signature.require_names(request.inputs)
            return {alias: self._array(alias, request) for alias in request.inputs}

        query = _query(request.model_spec)
        prediction = await self._plane.predict(query, decode, list(request.output_filter))
        response = PredictResponse()
        response.model_spec.name = prediction.name
        response.model_spec.version.value = prediction.version
        response.model_spec.signature_name = prediction.signature
        for alias, array in prediction.outputs.items():
            fill_proto(response.outputs[alias], array)
        return response

    def _array(self, alias: str, request: PredictRequest) -> Array:
        try:
            return from_proto(request.inputs[alias], limit_bytes=self._limit)
        except InvalidArgument as error:
            raise InvalidArgument(f"input {alias!r}: {error.message}") from error

    async def _metadata(self, request: GetModelMetadataRequest) -> GetModelMetadataResponse:
        _require_spec(request)
        if not request.metadata_field:
            raise InvalidArgument(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for name in request.metadata_field:
            if name != SIGNATURE_DEF:
                raise InvalidArgument(f"Metadata field {name} is not supported")
        query = _query(request.model_spec)
        return metadata_response(query.name, *self._plane.metadata(query))

    async def _status(self, request: GetModelStatusRequest) -> GetModelStatusResponse:
        _require_spec(request)
        return status_response(self._plane.status(_query(request.model_spec)))


def _handler(method: Method[Any, Any], behaviour: Behaviour) -> grpc.RpcMethodHandler:
    async def handle(
        messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> bytes:
        try:
            request = method.request.FromString(await _message(messages))
            response = await behaviour(request)
            return response.SerializeToString()  # type: ignore[no-any-return]
        except DecodeError:
            code, text = "INVALID_ARGUMENT", f"the bytes are no {method.request.DESCRIPTOR.name}"
        except ServingError as error:
            code, text = error.status, error.message
        except Exception:
            log.exception("%s failed", method.path)
            code, text = "INTERNAL", "internal error"
        await context.abort(grpc.StatusCode[code], text)
        raise AssertionError("abort returned")

    return grpc.stream_unary_rpc_method_handler(handle)


async def _message(messages: AsyncIterator[bytes]) -> bytes:
    """The one message of a unary call."""
    try:
        async with asyncio.timeout(MESSAGE_SECONDS):
            return await anext(messages)
    except TimeoutError:
        raise DeadlineExceeded("the request did not arrive in time") from None
    except StopAsyncIteration:
        raise InvalidArgument("the call has no message") from None


def _query(spec: ModelSpec) -> ModelQuery:
    return ModelQuery(
        name=spec.name,
        version=spec.version.value if spec.HasField("version") else None,
        label=spec.version_label if spec.HasField("version_label") else None,
        signature=spec.signature_name,
    )


def _require_spec(request: GetModelMetadataRequest | GetModelStatusRequest) -> None:
    if not request.HasField("model_spec"):
        raise InvalidArgument("Missing ModelSpec")
