"""The Open Inference Protocol's gRPC methods over the data plane.

A request brings its inputs as typed contents or all of them in binary form, and is answered in the
form that it came in; where an output has no typed form (FP16), all are binary. That a server is not
ready, or does not have a model, is an answer to those who ask whether it is, not an error.

Methods and messages: Open Inference Protocol, inference_grpc.md and open_inference_grpc.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sealserve.errors import InvalidArgument, NotFound
from sealserve.messages.open_inference_pb2 import (
    InferParameter,
    ModelInferRequest,
    ModelInferResponse,
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
from sealserve.serving.dataplane import DataPlane, Prediction
from sealserve.serving.faces import v2_parameters
from sealserve.serving.faces.grpc import Methods
from sealserve.serving.faces.v2_contents import fill_contents, from_contents, has_field
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
from sealserve.serving.faces.v2_tensors import (
    checked_shape,
    datatype_of,
    from_binary,
    require_datatype,
    to_binary,
)
from sealserve.serving.health import Readiness
from sealserve.serving.signature import Array, Signature


class OpenInference:
    """GRPCInferenceService."""

    def __init__(self, plane: DataPlane, readiness: Readiness, *, engine: str) -> None:
        """`engine` is what models are said to run on."""
        self._plane = plane
        self._readiness = readiness
        self._engine = engine

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
        request = ModelInferRequest.FromString(data)
        _require_served(request)
        signature_name = v2_parameters.text(
            _values(request.parameters), v2_parameters.SIGNATURE_NAME
        )
        query = model_query(request.model_name, request.model_version, signature_name)

        async def decode(signature: Signature) -> Mapping[str, Array]:
            return _inputs(request, signature)

        wanted = [output.name for output in request.outputs]
        prediction = await self._plane.predict(query, decode, call, wanted)
        return _response(prediction, request).SerializeToString()


def _inputs(request: ModelInferRequest, signature: Signature) -> dict[str, Array]:
    """The arrays of a request, in whichever form they came."""
    names = [tensor.name for tensor in request.inputs]
    if len(set(names)) < len(names):
        raise InvalidArgument("an input is given twice")
    signature.require_names(names)
    raw = request.raw_input_contents
    if raw and len(raw) != len(names):
        raise InvalidArgument(
            f"raw_input_contents has {len(raw)} entries; the request has {len(names)} inputs"
        )
    found = {}
    for index, tensor in enumerate(request.inputs):
        spec = signature.inputs[tensor.name]
        require_datatype(spec, tensor.datatype)
        shape = checked_shape(spec, tensor.shape)
        if not raw:
            found[tensor.name] = from_contents(tensor.contents, spec, shape)
        elif tensor.HasField("contents"):
            raise InvalidArgument(f"input {spec.alias!r} has both contents and raw_input_contents")
        else:
            found[tensor.name] = from_binary(raw[index], spec, shape)
    return found


def _response(prediction: Prediction, request: ModelInferRequest) -> ModelInferResponse:
    response = ModelInferResponse(
        model_name=prediction.name, model_version=str(prediction.version), id=request.id
    )
    outputs = prediction.outputs
    typed = not request.raw_input_contents and any(t.HasField("contents") for t in request.inputs)
    typed = typed and all(has_field(array.dtype) for array in outputs.values())
    for name, array in outputs.items():
        tensor = response.outputs.add(
            name=name, datatype=datatype_of(array.dtype), shape=array.shape
        )
        if typed:
            fill_contents(tensor.contents, array)
        else:
            response.raw_output_contents.append(to_binary(array))
    return response


def _require_served(request: ModelInferRequest) -> None:
    v2_parameters.require_served(request.parameters)
    for tensor in request.inputs:
        v2_parameters.require_served(tensor.parameters)
    for output in request.outputs:
        v2_parameters.require_served(output.parameters)


def _values(parameters: Mapping[str, InferParameter]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        found[name] = getattr(parameter, choice) if choice else None
    return found


def _tensor_metadata(tensor: TensorMetadata) -> ModelMetadataResponse.TensorMetadata:
    return ModelMetadataResponse.TensorMetadata(
        name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
    )
