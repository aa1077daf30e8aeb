"""What a client asks: the bytes of a request, and how the bytes of its answer are read.

Nothing here waits or connects, so the client that blocks and the one that does not ask the same
questions. Arrays and examples that cannot be sent are InvalidArgument before anything is sent; an
answer that makes no sense is a FormatError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError

from sealserve.client import answers
from sealserve.client.answers import Array, Signature, VersionStatus
from sealserve.client.examples import Example, fill_example
from sealserve.errors import FormatError
from sealserve.messages.inference_pb2 import ClassificationRequest, RegressionRequest
from sealserve.messages.metadata_pb2 import GetModelMetadataRequest
from sealserve.messages.predict_pb2 import ModelSpec, PredictRequest, PredictResponse
from sealserve.messages.services import (
    CLASSIFY,
    GET_MODEL_METADATA,
    GET_MODEL_STATUS,
    PREDICT,
    REGRESS,
    Message,
    Method,
)
from sealserve.messages.status_pb2 import GetModelStatusRequest
from sealserve.messages.tensors import fill_proto
from sealserve.messages.wire import Spec, encode_predict_request

Answer = TypeVar("Answer")
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True)
class Question(Generic[Answer]):
    """A method's path, the serialized request, and the reader of the serialized answer."""

    path: str
    request: bytes = field(repr=False)
    read: Callable[[bytes], Answer]


def predict(
    model: str,
    inputs: Mapping[str, Array],
    *,
    signature: str,
    version: int | None,
    limit_bytes: int,
) -> Question[dict[str, Array]]:
    """A model's outputs for arrays; `limit_bytes` bounds each array of the answer.

    Each array is copied once, into the request; those of the answer are views of its bytes.
    """
    spec = Spec(model, version, signature=signature)
    read = partial(answers.arrays, limit_bytes=limit_bytes)
    return Question(PREDICT.path, encode_predict_request(spec, inputs), read)


def predict_message(request: PredictRequest) -> Question[PredictResponse]:
    """The same with messages."""
    return _question(PREDICT, request, lambda response: response)


def predict_bytes(request: bytes) -> Question[bytes]:
    """The same with serialized messages."""
    return Question(PREDICT.path, request, lambda response: response)


def classify(
    model: str, examples: Sequence[Example], *, signature: str, version: int | None
) -> Question[tuple[tuple[answers.Class, ...], ...]]:
    """The classes of each example."""
    request = ClassificationRequest(model_spec=_model_spec(model, version, signature))
    for example in examples:
        fill_example(request.input.example_list.examples.add(), example)
    return _question(CLASSIFY, request, partial(answers.classes, count=len(examples)))


def regress(
    model: str, examples: Sequence[Example], *, signature: str, version: int | None
) -> Question[Array]:
    """The value of each example."""
    request = RegressionRequest(model_spec=_model_spec(model, version, signature))
    for example in examples:
        fill_example(request.input.example_list.examples.add(), example)
    return _question(REGRESS, request, partial(answers.values, count=len(examples)))


def status(model: str, *, version: int | None) -> Question[tuple[VersionStatus, ...]]:
    """The state of each version that the server knows."""
    request = GetModelStatusRequest(model_spec=_model_spec(model, version))
    return _question(GET_MODEL_STATUS, request, answers.statuses)


def metadata(model: str, *, version: int | None) -> Question[dict[str, Signature]]:
    """The signatures by name."""
    request = GetModelMetadataRequest(
        model_spec=_model_spec(model, version), metadata_field=["signature_def"]
    )
    return _question(GET_MODEL_METADATA, request, answers.signatures)


def predict_request(
    model: str,
    inputs: Mapping[str, Array],
    *,
    signature: str = "serving_default",
    version: int | None = None,
) -> PredictRequest:
    """The message of a prediction; InvalidArgument for an array that cannot be sent."""
    request = PredictRequest(model_spec=_model_spec(model, version, signature))
    for name, array in inputs.items():
        fill_proto(request.inputs[name], array)
    return request


def _question(
    method: Method[Any, Response], request: Message, read: Callable[[Response], Answer]
) -> Question[Answer]:
    def parse_and_read(data: bytes) -> Answer:
        try:
            response = method.response.FromString(data)
        except DecodeError as error:
            raise FormatError(
                f"the answer to {method.name} is no protobuf message of it"
            ) from error
        return read(response)

    return Question(method.path, request.SerializeToString(), parse_and_read)


def _model_spec(model: str, version: int | None, signature: str = "") -> ModelSpec:
    spec = ModelSpec(name=model, signature_name=signature)
    if version is not None:
        spec.version.value = version
    return spec
