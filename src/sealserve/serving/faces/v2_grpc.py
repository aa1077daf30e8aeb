"""The Open Inference Protocol's gRPC methods over the data plane.

ModelInfer brings inputs as typed contents or all of them in binary form, and is answered in the
form it came in; where an output has no typed form (FP16), all are binary. That a server is not
ready, or does not have a model, is an answer to those who ask whether it is, not an error.

Methods and messages: Open Inference Protocol, inference_grpc.md and open_inference_grpc.proto.
"""

from __future__ import annotations

from collections.abc import Mapping

from sealserve.errors import NotFound
from sealserve.messages.open_inference_pb2 import (
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
    ServerLiveRequest,
    ServerLiveResponse,
    ServerMetadataRequest,
    ServerMetadataResponse,
    ServerReadyRequest,
    ServerReadyResponse,
)
from sealserve.messages.services import (
    MODEL_INFER,
    MODEL_METADATA,
    MODEL_READY,
    SERVER_LIVE,
    SERVER_METADATA,
    SERVER_READY,
)
from sealserve.serving.calls import Call
from sealserve.serving.dataplane import DataPlane
from sealserve.serving.faces.converting import in_thread_if_large
from sealserve.serving.faces.grpc import Methods
from sealserve.serving.faces.v2_infer import Requests, encode_response
from sealserve.serving.faces.v2_models import (
    ENGINE,
    EXTENSIONS,
    SERVER_NAME,
    SERVER_VERSION,
    TensorMetadata,
    is_model_ready,
    model_metadata,
    model_query,
)
from sealserve.serving.readiness import Readiness
from sealserve.serving.signature import Array, Signature


class OpenInference:
    """GRPCInferenceService."""

    def __init__(self, plane: DataPlane, readiness: Readiness, *, engine: str) -> None:
        """`engine` is what models are said to run on."""
        self._plane = plane
        self._readiness = readiness
        self._engine = engine
        self._requests = Requests()

    def methods(self) -> Methods:
        """What this face serves."""
        return {
            SERVER_LIVE: self._server_live,
            SERVER_READY: self._server_ready,
            MODEL_READY: self._model_ready,
            SERVER_METADATA: self._server_metadata,
            MODEL_METADATA: self._model_metadata,
            MODEL_INFER: self._infer,
        }

    async def _server_live(self, data: bytes, _call: Call) -> bytes:
        ServerLiveRequest.FromString(data)
        return ServerLiveResponse(live=True).SerializeToString()

    async def _server_ready(self, data: bytes, _call: Call) -> bytes:
        ServerReadyRequest.FromString(data)
        return ServerReadyResponse(ready=self._readiness.ready).SerializeToString()

    async def _model_ready(self, data: bytes, call: Call) -> bytes:
        request = ModelReadyRequest.FromString(data)
        query = model_query(request.name, request.version)
        try:
            ready = is_model_ready(self._plane, query)
            call.model = query.name
        except NotFound:
            ready = False
        return ModelReadyResponse(ready=ready).SerializeToString()

    async def _server_metadata(self, data: bytes, _call: Call) -> bytes:
        ServerMetadataRequest.FromString(data)
        response = ServerMetadataResponse(name=SERVER_NAME, version=SERVER_VERSION)
        response.extensions.extend(EXTENSIONS)
        return response.SerializeToString()

    async def _model_metadata(self, data: bytes, call: Call) -> bytes:
        request = ModelMetadataRequest.FromString(data)
        query = model_query(request.name, request.version)
        metadata = model_metadata(self._plane, query, call)
        response = ModelMetadataResponse(
            name=metadata.name,
            versions=metadata.versions,
            platform=metadata.platform,
            inputs=map(_tensor_metadata, metadata.inputs),
            outputs=map(_tensor_metadata, metadata.outputs),
            properties={ENGINE: self._engine},
        )
        return response.SerializeToString()

    async def _infer(self, data: bytes, call: Call) -> bytes:
        request = self._requests.read(data)

        async def decode(signature: Signature) -> Mapping[str, Array]:
            size = 0 if request.raw else len(data)  # what is in binary form is not converted
            return await in_thread_if_large(size, request.arrays, signature)

        asked = request.description
        prediction = await self._plane.predict(asked.query, decode, call, asked.outputs)
        size = 0 if request.raw else sum(array.nbytes for array in prediction.outputs.values())
        return await in_thread_if_large(size, encode_response, prediction, request)


def _tensor_metadata(tensor: TensorMetadata) -> ModelMetadataResponse.TensorMetadata:
    return ModelMetadataResponse.TensorMetadata(
        name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
    )
