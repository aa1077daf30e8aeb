"""TensorFlow Serving's gRPC methods over the data plane.

Methods, messages and codes: TensorFlow Serving 2.21, apis/{prediction_service,model_service}.proto.
"""

from __future__ import annotations

from collections.abc import Mapping

from sealserve.errors import InvalidArgument
from sealserve.messages.metadata_pb2 import GetModelMetadataRequest
from sealserve.messages.predict_pb2 import ModelSpec, PredictRequest, PredictResponse
from sealserve.messages.services import GET_MODEL_METADATA, GET_MODEL_STATUS, PREDICT
from sealserve.messages.status_pb2 import GetModelStatusRequest
from sealserve.messages.tensors import fill_proto, from_proto
from sealserve.serving.calls import Call
from sealserve.serving.dataplane import DataPlane, ModelQuery
from sealserve.serving.faces.answers import SIGNATURE_DEF, metadata_response, status_response
from sealserve.serving.faces.grpc import Methods
from sealserve.serving.signature import Array, Signature


class TensorFlowServing:
    """PredictionService and ModelService."""

    def __init__(self, plane: DataPlane, *, limit_bytes: int) -> None:
        """`limit_bytes` bounds each tensor, which a few bytes can claim to be of any size."""
        self._plane = plane
        self._limit = limit_bytes

    def methods(self) -> Methods:
        """What this face serves."""
        return {
            PREDICT: self._predict,
            GET_MODEL_METADATA: self._metadata,
            GET_MODEL_STATUS: self._status,
        }

    async def _predict(self, data: bytes, call: Call) -> bytes:
        request = PredictRequest.FromString(data)

        async def decode(signature: Signature) -> Mapping[str, Array]:
            signature.require_names(request.inputs)
            return {alias: self._array(alias, request) for alias in request.inputs}

        query = model_query(request.model_spec)
        prediction = await self._plane.predict(query, decode, call, list(request.output_filter))
        response = PredictResponse()
        response.model_spec.name = prediction.name
        response.model_spec.version.value = prediction.version
        response.model_spec.signature_name = prediction.signature
        for alias, array in prediction.outputs.items():
            fill_proto(response.outputs[alias], array)
        return response.SerializeToString()

    def _array(self, alias: str, request: PredictRequest) -> Array:
        try:
            return from_proto(request.inputs[alias], limit_bytes=self._limit)
        except InvalidArgument as error:
            raise InvalidArgument(f"input {alias!r}: {error.message}") from error

    async def _metadata(self, data: bytes, call: Call) -> bytes:
        request = GetModelMetadataRequest.FromString(data)
        _require_spec(request)
        if not request.metadata_field:
            raise InvalidArgument(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for name in request.metadata_field:
            if name != SIGNATURE_DEF:
                raise InvalidArgument(f"Metadata field {name} is not supported")
        query = model_query(request.model_spec)
        version, definitions = self._plane.metadata(query)
        call.model, call.version = query.name, version
        return metadata_response(query.name, version, definitions).SerializeToString()

    async def _status(self, data: bytes, call: Call) -> bytes:
        request = GetModelStatusRequest.FromString(data)
        _require_spec(request)
        query = model_query(request.model_spec)
        versions = self._plane.status(query)
        call.model = query.name
        return status_response(versions).SerializeToString()


def model_query(spec: ModelSpec) -> ModelQuery:
    """What a request's ModelSpec asks for."""
    return ModelQuery(
        name=spec.name,
        version=spec.version.value if spec.HasField("version") else None,
        label=spec.version_label if spec.HasField("version_label") else None,
        signature=spec.signature_name,
    )


def _require_spec(request: GetModelMetadataRequest | GetModelStatusRequest) -> None:
    if not request.HasField("model_spec"):
        raise InvalidArgument("Missing ModelSpec")
