"""The gRPC methods that are served, as one typed table for servers and clients.

Names and types: TensorFlow Serving 2.21, apis/{prediction_service,model_service}.proto; Open
Inference Protocol, specification/protocol/open_inference_grpc.proto. The table stands in for
generated gRPC code, which would register the method names under our package. It knows nothing of
gRPC; a server and a client take from a `Method` what they need:

    grpc.unary_unary_rpc_method_handler(
        behaviour, METHOD.request.FromString, METHOD.response.SerializeToString)
    channel.unary_unary(
        METHOD.path, METHOD.request.SerializeToString, METHOD.response.FromString)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from sealserve.messages.inference_pb2 import (
    ClassificationRequest,
    ClassificationResponse,
    MultiInferenceRequest,
    MultiInferenceResponse,
    RegressionRequest,
    RegressionResponse,
)
from sealserve.messages.metadata_pb2 import GetModelMetadataRequest, GetModelMetadataResponse
from sealserve.messages.open_inference_pb2 import (
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
from sealserve.messages.predict_pb2 import PredictRequest, PredictResponse
from sealserve.messages.status_pb2 import (
    GetModelStatusRequest,
    GetModelStatusResponse,
    ReloadConfigRequest,
    ReloadConfigResponse,
)

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
OPEN_INFERENCE = "inference.GRPCInferenceService"


class Message(Protocol):
    """What the table needs of a generated message."""

    def SerializeToString(self) -> bytes:  # noqa: N802
        """The message as bytes."""

    @classmethod
    def FromString(cls, s: bytes, /) -> Self:  # noqa: N802
        """The message of these bytes; raises protobuf's DecodeError."""


Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True)
class Method(Generic[Request, Response]):
    """One unary method: its service, its name, and the classes of its two messages."""

    service: str
    name: str
    request: type[Request]
    response: type[Response]

    @property
    def path(self) -> str:
        """The full method name on the wire: `/package.Service/Method`."""
        return f"/{self.service}/{self.name}"


PREDICT = Method(PREDICTION_SERVICE, "Predict", PredictRequest, PredictResponse)
CLASSIFY = Method(PREDICTION_SERVICE, "Classify", ClassificationRequest, ClassificationResponse)
REGRESS = Method(PREDICTION_SERVICE, "Regress", RegressionRequest, RegressionResponse)
MULTI_INFERENCE = Method(
    PREDICTION_SERVICE, "MultiInference", MultiInferenceRequest, MultiInferenceResponse
)
GET_MODEL_METADATA = Method(
    PREDICTION_SERVICE, "GetModelMetadata", GetModelMetadataRequest, GetModelMetadataResponse
)
GET_MODEL_STATUS = Method(
    MODEL_SERVICE, "GetModelStatus", GetModelStatusRequest, GetModelStatusResponse
)
HANDLE_RELOAD_CONFIG_REQUEST = Method(
    MODEL_SERVICE, "HandleReloadConfigRequest", ReloadConfigRequest, ReloadConfigResponse
)

SERVER_LIVE = Method(OPEN_INFERENCE, "ServerLive", ServerLiveRequest, ServerLiveResponse)
SERVER_READY = Method(OPEN_INFERENCE, "ServerReady", ServerReadyRequest, ServerReadyResponse)
MODEL_READY = Method(OPEN_INFERENCE, "ModelReady", ModelReadyRequest, ModelReadyResponse)
SERVER_METADATA = Method(
    OPEN_INFERENCE, "ServerMetadata", ServerMetadataRequest, ServerMetadataResponse
)
MODEL_METADATA = Method(
    OPEN_INFERENCE, "ModelMetadata", ModelMetadataRequest, ModelMetadataResponse
)
MODEL_INFER = Method(OPEN_INFERENCE, "ModelInfer", ModelInferRequest, ModelInferResponse)
