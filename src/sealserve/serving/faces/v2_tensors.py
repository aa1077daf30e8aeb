"""Tensors of the Open Inference Protocol: its datatypes, its shapes, its binary form.

The binary form, `raw_input_contents` and `raw_output_contents` in gRPC and the binary tensor data
extension in REST, is row-major and little-endian without padding; BOOL is a byte of 0 or 1; an
element of BYTES is its length, four bytes, and then itself. What a tensor claims is held against
what came before any memory is set aside. Whatever does not fit raises InvalidArgument.

Source: Open Inference Protocol, inference_grpc.md and inference_rest.md, Tensor Data; Triton
Inference Server, protocol/extension_binary_data.md. BF16 is not served: arrays have no such dtype.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from sealserve.errors import InvalidArgument, Unimplemented
from sealserve.messages.tensors import MAX_COUNT, MAX_DIMENSIONS
from sealserve.serving.signature import Array, Shape, TensorSpec

LENGTH_BYTES = 4  # before each element of BYTES

DTYPES: dict[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype("O"),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_SHOWN = 40  # characters of a datatype that there is not

Data = bytes | memoryview


def datatype_of(dtype: np.dtype[np.generic]) -> str:
    """What the protocol calls arrays of `dtype`; Unimplemented if it has no word for them."""
    name = _NAMES.get(dtype)
    if name is None:
        raise Unimplemented(f"the Open Inference Protocol has no datatype for {dtype}")
    return name


def require_datatype(spec: TensorSpec, datatype: str) -> None:
    """InvalidArgument unless this is the datatype of the input."""
    expected = datatype_of(spec.dtype)
    if datatype != expected:
        raise InvalidArgument(
            f"input {spec.alias!r}: expected {expected}, found {datatype[:_SHOWN]!r}"
        )


def wire_shape(shape: Shape | None) -> list[int]:
    """A shape as metadata tells it: -1 for what is free, [-1] for a rank that is."""
    return [-1] if shape is None else [-1 if size is None else size for size in shape]


def checked_shape(spec: TensorSpec, sizes: Sequence[int]) -> tuple[int, ...]:
    """The shape that an input claims, if an array can have it."""
    if len(sizes) > MAX_DIMENSIONS:
        raise InvalidArgument(
            f"input {spec.alias!r}: {len(sizes)} dimensions; at most {MAX_DIMENSIONS} are taken"
        )
    if any(size < 0 for size in sizes):
        raise InvalidArgument(f"input {spec.alias!r}: a dimension is negative")
    # A zero elsewhere does not excuse dimensions whose product no int64 holds.
    if math.prod(size for size in sizes if size) * spec.dtype.itemsize > MAX_COUNT:
        raise InvalidArgument(f"input {spec.alias!r}: the shape has too many elements")
    return tuple(sizes)


def from_binary(data: Data, spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    """The array of a tensor in binary form.

    It shares the memory of `data`, and so need not be aligned; BYTES do not. `shape` is one that
    `checked_shape` has passed.
    """
    count = math.prod(shape)
    if spec.dtype.kind == "O":
        return _elements(data, spec, count).reshape(shape)
    wanted = count * spec.dtype.itemsize
    if len(data) != wanted:
        raise InvalidArgument(
            f"input {spec.alias!r}: {len(data)} bytes of data; the shape wants {wanted}"
        )
    if spec.dtype.kind == "b" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise InvalidArgument(f"input {spec.alias!r}: a byte of BOOL is neither 0 nor 1")
    return np.frombuffer(data, spec.dtype).reshape(shape)


def to_binary(array: Array) -> Data:
    """An array in binary form, which is its own memory where that has this form already.

    Raises Unimplemented for a dtype that the protocol does not have.
    """
    stored = DTYPES[datatype_of(array.dtype)]
    if stored.kind != "O":
        return np.ascontiguousarray(array, stored).reshape(-1).view(np.uint8).data
    return b"".join(_with_lengths(array.ravel().tolist()))


def _with_lengths(elements: Iterable[bytes]) -> Iterable[bytes]:
    for element in elements:
        yield len(element).to_bytes(LENGTH_BYTES, "little")
        yield element


def _elements(data: Data, spec: TensorSpec, count: int) -> Array:
    if count * LENGTH_BYTES > len(data):
        raise _wrong_lengths(spec)
    found: list[bytes] = []
    end = 0
    for _ in range(count):
        begin = end + LENGTH_BYTES
        end = begin + int.from_bytes(data[end:begin], "little")
        if begin > len(data) or end > len(data):
            raise _wrong_lengths(spec)
        found.append(bytes(data[begin:end]))
    if end != len(data):
        raise _wrong_lengths(spec)
    return as_bytes_array(found)


def as_bytes_array(elements: Sequence[bytes]) -> Array:
    """A flat array of these elements."""
    array = np.empty(len(elements), object)
    array[:] = elements
    return array


def _wrong_lengths(spec: TensorSpec) -> InvalidArgument:
    return InvalidArgument(
        f"input {spec.alias!r}: the lengths in the data do not add up to its elements and its size"
    )
