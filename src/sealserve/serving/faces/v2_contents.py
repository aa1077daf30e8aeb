"""Typed contents of the Open Inference Protocol's gRPC messages: arrays in a field of their type.

INT8 to INT32 share one field and UINT8 to UINT32 another, so that values can lie outside of what
the datatype holds; FP16 has none and travels in binary form alone. Whatever does not fit raises
InvalidArgument. Source: Open Inference Protocol, open_inference_grpc.proto, InferTensorContents.
"""

from __future__ import annotations

import math

import numpy as np

from sealserve.errors import InvalidArgument
from sealserve.messages.open_inference_pb2 import InferTensorContents
from sealserve.serving.faces.v2_tensors import as_bytes_array, datatype_of
from sealserve.serving.signature import Array, TensorSpec

_FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_ALL_FIELDS = tuple(dict.fromkeys(_FIELDS.values()))


def has_field(dtype: np.dtype[np.generic]) -> bool:
    """Whether typed contents can hold arrays of this dtype."""
    return datatype_of(dtype) in _FIELDS


def from_contents(contents: InferTensorContents, spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    """The array of an input's contents; `shape` is one that `checked_shape` has passed."""
    datatype = datatype_of(spec.dtype)
    field = _FIELDS.get(datatype)
    if field is None:
        raise InvalidArgument(f"input {spec.alias!r}: {datatype} comes in raw_input_contents alone")
    for other in _ALL_FIELDS:
        if other != field and len(getattr(contents, other)):
            raise InvalidArgument(f"input {spec.alias!r}: {datatype} has {other}; expected {field}")
    values = getattr(contents, field)
    if len(values) != math.prod(shape):
        raise InvalidArgument(
            f"input {spec.alias!r}: {len(values)} values; the shape wants {math.prod(shape)}"
        )
    if datatype == "BYTES":
        return as_bytes_array(values).reshape(shape)
    if field in ("int_contents", "uint_contents"):
        return _narrowed(np.array(values, np.int64), spec).reshape(shape)
    return np.array(values, spec.dtype).reshape(shape)


def fill_contents(contents: InferTensorContents, array: Array) -> None:
    """An array into contents that are there and empty; its dtype is one that `has_field`."""
    getattr(contents, _FIELDS[datatype_of(array.dtype)]).extend(array.ravel().tolist())


def _narrowed(values: Array, spec: TensorSpec) -> Array:
    limits = np.iinfo(spec.dtype)
    if len(values) and (values.min() < limits.min or values.max() > limits.max):
        raise InvalidArgument(
            f"input {spec.alias!r}: a value is outside the range of {datatype_of(spec.dtype)}"
        )
    return values.astype(spec.dtype)
