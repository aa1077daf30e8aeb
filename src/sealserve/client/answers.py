"""What a server answers, as values: arrays, signatures, the states of versions.

An answer that contradicts itself or its size limit is a FormatError: the server is at fault, not
the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from sealserve.errors import FormatError, InvalidArgument
from sealserve.messages import SIGNATURE_DEF_MAP_TYPE_URL, tensor_pb2
from sealserve.messages.inference_pb2 import ClassificationResponse, RegressionResponse
from sealserve.messages.metadata_pb2 import GetModelMetadataResponse, SignatureDefMap
from sealserve.messages.predict_pb2 import PredictResponse
from sealserve.messages.saved_model_pb2 import TensorInfo
from sealserve.messages.status_pb2 import Code, GetModelStatusResponse, ModelVersionStatus
from sealserve.messages.tensor_pb2 import TensorProto
from sealserve.messages.tensors import dtype_name, from_proto, numpy_dtype
from sealserve.messages.wire import decode_predict_response

Array = NDArray[Any]

_NUMBER_FIELDS: dict[int, str] = {
    tensor_pb2.DT_FLOAT: "float_val",
    tensor_pb2.DT_DOUBLE: "double_val",
    tensor_pb2.DT_INT8: "int_val",
    tensor_pb2.DT_INT16: "int_val",
    tensor_pb2.DT_INT32: "int_val",
    tensor_pb2.DT_UINT8: "int_val",
    tensor_pb2.DT_UINT16: "int_val",
    tensor_pb2.DT_INT64: "int64_val",
    tensor_pb2.DT_UINT32: "uint32_val",
    tensor_pb2.DT_UINT64: "uint64_val",
    tensor_pb2.DT_BOOL: "bool_val",
}


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a signature: `DT_FLOAT` and the like, and its shape.

    A size of None is free; a shape of None has no fixed number of dimensions.
    """

    data_type: str
    shape: tuple[int | None, ...] | None
    dtype: np.dtype[Any] | None  # of the array; None for a type that numpy does not have


@dataclass(frozen=True)
class Signature:
    """A function of a model: its inputs and outputs by name."""

    method: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


@dataclass(frozen=True)
class VersionStatus:
    """One version of a model: its `state` (AVAILABLE, LOADING, ...), its error if it has one."""

    version: int
    state: str
    error_code: str
    error_message: str


@dataclass(frozen=True)
class Class:
    """One class of an example; a server leaves the label or the score out where it has none."""

    label: str
    score: float


def classes(response: ClassificationResponse, *, count: int) -> tuple[tuple[Class, ...], ...]:
    """The classes of each of `count` examples."""
    found = response.result.classifications
    _require_count(len(found), count)
    return tuple(tuple(Class(one.label, one.score) for one in each.classes) for each in found)


def values(response: RegressionResponse, *, count: int) -> Array:
    """The values of `count` examples, float32."""
    found = response.result.regressions
    _require_count(len(found), count)
    return np.array([each.value for each in found], np.float32)


def _require_count(found: int, count: int) -> None:
    if found != count:
        raise FormatError(f"the server answered {found} results to {count} examples")


def arrays(response: bytes, *, limit_bytes: int) -> dict[str, Array]:
    """The outputs of a prediction's answer; `limit_bytes` bounds each array.

    Numbers are views of `response`: nothing is copied, they are read-only, and any of them keeps
    all of it.
    """
    try:
        return decode_predict_response(response, limit_bytes=limit_bytes)[1]
    except DecodeError as error:
        raise FormatError("the answer to Predict is no protobuf message of it") from error
    except InvalidArgument as error:
        raise FormatError(f"the server's answer is unusable: {error.message}") from error


def as_dict(response: PredictResponse) -> dict[str, Any]:
    """The answer in protobuf's JSON mapping, with numbers as numbers (`floatVal` and the like).

    This is the form that the published guide's client prints: TensorFlow Serving sends numbers in
    those fields; other servers send them as bytes, which nobody can read.
    """
    from google.protobuf.json_format import MessageToDict  # slow to import, for printing alone

    readable = PredictResponse()
    readable.CopyFrom(response)
    for name, tensor in readable.outputs.items():
        field = _NUMBER_FIELDS.get(tensor.dtype)
        if field is not None and tensor.tensor_content:
            values = _array(name, tensor, limit_bytes=len(tensor.tensor_content))
            tensor.ClearField("tensor_content")
            getattr(tensor, field).extend(values.ravel().tolist())
    return MessageToDict(readable)


def _array(name: str, tensor: TensorProto, limit_bytes: int) -> Array:
    try:
        return from_proto(tensor, limit_bytes=limit_bytes)
    except InvalidArgument as error:
        raise FormatError(f"the server's output {name!r} is unusable: {error}") from error


def statuses(response: GetModelStatusResponse) -> tuple[VersionStatus, ...]:
    """The versions in the order of the answer."""
    return tuple(
        VersionStatus(
            version=entry.version,
            state=_enum_name(ModelVersionStatus.State, entry.state),
            error_code=_enum_name(Code, entry.status.error_code),
            error_message=entry.status.error_message,
        )
        for entry in response.model_version_status
    )


def signatures(response: GetModelMetadataResponse) -> dict[str, Signature]:
    """The signatures in an answer to the field `signature_def`."""
    field = response.metadata.get("signature_def")
    if field is None or field.type_url != SIGNATURE_DEF_MAP_TYPE_URL:
        found = "nothing" if field is None else field.type_url
        raise FormatError(f"the metadata holds {found!r}; expected {SIGNATURE_DEF_MAP_TYPE_URL!r}")
    try:
        definitions = SignatureDefMap.FromString(field.value).signature_def
    except DecodeError as error:
        raise FormatError("the metadata's signatures are no protobuf message of theirs") from error
    return {
        name: Signature(
            method=definition.method_name,
            inputs={key: _spec(info) for key, info in definition.inputs.items()},
            outputs={key: _spec(info) for key, info in definition.outputs.items()},
        )
        for name, definition in definitions.items()
    }


def _spec(info: TensorInfo) -> TensorSpec:
    shape = info.tensor_shape
    sizes = tuple(None if dim.size < 0 else dim.size for dim in shape.dim)
    try:
        dtype = numpy_dtype(info.dtype)
    except InvalidArgument:
        dtype = None
    return TensorSpec(dtype_name(info.dtype), None if shape.unknown_rank else sizes, dtype)


def _enum_name(enum: Any, number: int) -> str:
    return str(enum.Name(number)) if number in enum.values() else str(number)
