"""TensorFlow Serving's gRPC methods over the data plane.

Methods, messages and codes: TensorFlow Serving 2.21, apis/{prediction_service,model_service}.proto.
"""

from __future__ import annotations

from collections.abc import Mapping

from sealserve.errors import InvalidArgument
from sealserve.messages.forms import Forms
from sealserve.messages.metadata_pb2 import GetModelMetadataRequest
from sealserve.messages.predict_pb2 import ModelSpec
from sealserve.messages.services import GET_MODEL_METADATA, GET_MODEL_STATUS, PREDICT
from sealserve.messages.status_pb2 import GetModelStatusRequest
from sealserve.messages.wire import Spec, encode_predict_response
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
        self._forms = Forms(limit_bytes=limit_bytes)

    def methods(self) -> Methods:
        """What this face serves."""
        return {
            PREDICT: self._predict,
            GET_MODEL_METADATA: self._metadata,
            GET_MODEL_STATUS: self._status,
        }

    async def _predict(self, data: bytes, call: Call) -> bytes:
        request = self._forms.read(data)

        def decode(signature: Signature) -> Mapping[str, Array]:
            signature.require_names(request.aliases)
            return request.inputs()

        query = ModelQuery(*request.spec)
        prediction = await self._plane.predict(query, decode, call, request.output_filter)
        answered = Spec(prediction.name, prediction.version, signature=prediction.signature)
        return encode_predict_response(answered, prediction.outputs)

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
