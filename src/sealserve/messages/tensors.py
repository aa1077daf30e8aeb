"""Arrays to TensorProto and back.

Reading takes every form that TensorFlow writes (TensorFlow 2.21, core/framework/tensor.proto and
Tensor::FromProto): `tensor_content`, row-major and little-endian, or the typed field of the dtype,
where values left out at the end repeat the last one and none at all means zeros. Unlike TensorFlow,
it takes nothing that contradicts itself: two places with data, data in the field of another dtype,
too many values, integers outside their dtype. What it refuses raises InvalidArgument before any
memory is set aside, for a few bytes can claim a tensor of any size.

bfloat16 has no numpy dtype: it is read as float32, exactly, and never written. Quantized integers
are read as the integers that hold them. References, resources, variants, eight-bit floats and
integers of two and four bits are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sealserve.errors import InvalidArgument
from sealserve.messages import tensor_pb2
from sealserve.messages.tensor_pb2 import TensorProto

Array = NDArray[Any]

MAX_DIMENSIONS = 32  # of numpy 1.26; numpy 2 takes 64
MAX_COUNT = 2**63 - 1  # elements and bytes are int64 in TensorFlow (TensorShape::num_elements)
POINTER_BYTES = 8  # what a string element weighs beside its content


@dataclass(frozen=True)
class _Kind:
    """How one DataType travels: its dtype in `tensor_content`, its typed field."""

    stored: np.dtype[Any]
    field: str


def _kind(code: str, field: str) -> _Kind:
    return _Kind(np.dtype(code), field)


_STRING = _kind("O", "string_val")
_BFLOAT16 = _kind("<u2", "half_val")

_KINDS: dict[int, _Kind] = {
    tensor_pb2.DT_FLOAT: _kind("<f4", "float_val"),
    tensor_pb2.DT_DOUBLE: _kind("<f8", "double_val"),
    tensor_pb2.DT_INT32: _kind("<i4", "int_val"),
    tensor_pb2.DT_UINT8: _kind("u1", "int_val"),
    tensor_pb2.DT_INT16: _kind("<i2", "int_val"),
    tensor_pb2.DT_INT8: _kind("i1", "int_val"),
    tensor_pb2.DT_STRING: _STRING,
    tensor_pb2.DT_COMPLEX64: _kind("<c8", "scomplex_val"),
    tensor_pb2.DT_INT64: _kind("<i8", "int64_val"),
    tensor_pb2.DT_BOOL: _kind("?", "bool_val"),
    tensor_pb2.DT_UINT16: _kind("<u2", "int_val"),
    tensor_pb2.DT_COMPLEX128: _kind("<c16", "dcomplex_val"),
    tensor_pb2.DT_HALF: _kind("<f2", "half_val"),
    tensor_pb2.DT_UINT32: _kind("<u4", "uint32_val"),
    tensor_pb2.DT_UINT64: _kind("<u8", "uint64_val"),
    tensor_pb2.DT_BFLOAT16: _BFLOAT16,
    tensor_pb2.DT_QINT8: _kind("i1", "int_val"),
    tensor_pb2.DT_QUINT8: _kind("u1", "int_val"),
    tensor_pb2.DT_QINT16: _kind("<i2", "int_val"),
    tensor_pb2.DT_QUINT16: _kind("<u2", "int_val"),
    tensor_pb2.DT_QINT32: _kind("<i4", "int_val"),
}

# Those that an array is written as: one per numpy dtype.
_WRITTEN: dict[np.dtype[Any], tensor_pb2.DataType] = {
    _KINDS[data_type].stored: data_type
    for data_type in (
        tensor_pb2.DT_FLOAT,
        tensor_pb2.DT_DOUBLE,
        tensor_pb2.DT_HALF,
        tensor_pb2.DT_INT8,
        tensor_pb2.DT_INT16,
        tensor_pb2.DT_INT32,
        tensor_pb2.DT_INT64,
        tensor_pb2.DT_UINT8,
        tensor_pb2.DT_UINT16,
        tensor_pb2.DT_UINT32,
        tensor_pb2.DT_UINT64,
        tensor_pb2.DT_BOOL,
        tensor_pb2.DT_COMPLEX64,
        tensor_pb2.DT_COMPLEX128,
    )
}

_VALUE_FIELDS = tuple(
    sorted(
        {kind.field for kind in _KINDS.values()}
        | {"resource_handle_val", "variant_val", "float8_val"}
    )
)


def dtype_name(data_type: int) -> str:
    """`DT_FLOAT` for 1; the number itself where it has no name."""
    try:
        return tensor_pb2.DataType.Name(data_type)
    except ValueError:
        return str(data_type)


def dtype_of(dtype: DTypeLike) -> tensor_pb2.DataType:
    """The DataType that an array of `dtype` is written as; InvalidArgument if there is none.

    Byte order does not matter; `object`, `bytes` and `str` arrays are DT_STRING.
    """
    wanted = np.dtype(dtype)
    if wanted.kind in "OSUT":
        return tensor_pb2.DT_STRING
    found = _WRITTEN.get(wanted.newbyteorder("<")) if wanted.kind in "fiubc" else None
    if found is None:
        raise InvalidArgument(f"arrays of {wanted} cannot be sent; expected numbers, bool or bytes")
    return found


def numpy_dtype(data_type: int) -> np.dtype[Any]:
    """The dtype of the array that `from_proto` makes of `data_type`; InvalidArgument if none.

    DT_STRING is `object` (of bytes), DT_BFLOAT16 is float32.
    """
    kind = _supported(data_type)
    return np.dtype("<f4") if kind is _BFLOAT16 else kind.stored


def is_plain(data_type: int) -> bool:
    """Whether `tensor_content` of this type is the array's memory, and may be any bytes."""
    return _supported(data_type) not in (_STRING, _BFLOAT16) and data_type != tensor_pb2.DT_BOOL


def to_proto(array: Array) -> TensorProto:
    """The message of an array: numbers in `tensor_content`, bytes and str in `string_val`.

    str is sent as UTF-8; numpy's own bytes dtype has lost the zeros at an element's end already.
    Raises InvalidArgument for a dtype or an element that cannot be sent.
    """
    proto = TensorProto()
    fill_proto(proto, array)
    return proto


def fill_proto(proto: TensorProto, array: Array) -> None:
    """`to_proto` into a message that is there and empty, as in a map, without one more copy."""
    data_type = dtype_of(array.dtype)
    proto.dtype = data_type
    proto.tensor_shape.SetInParent()  # a scalar has a shape too: the empty one
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if data_type == tensor_pb2.DT_STRING:
        proto.string_val.extend(_encoded(array.ravel().tolist()))
    else:
        stored = array.astype(_KINDS[data_type].stored, copy=False)
        proto.tensor_content = stored.tobytes()


def from_proto(proto: TensorProto, *, limit_bytes: int, content: memoryview | None = None) -> Array:
    """The array of a message; InvalidArgument if it is malformed, unsupported or too large.

    `content` stands in for a `tensor_content` that protobuf has not seen (`messages.wire`).

    `limit_bytes` bounds the array: its elements times their size, for strings the length of each
    plus that of a pointer. The array of `tensor_content` is read-only and shares memory with
    `content`, or with the one copy that protobuf hands out (but for bfloat16); any other is fresh
    and writable.
    """
    # 1. The dtype is one we know, 2. the shape is whole and within the limit.
    kind = _supported(proto.dtype)
    item_bytes = POINTER_BYTES if kind is _STRING else numpy_dtype(proto.dtype).itemsize
    shape = _shape(proto.tensor_shape, item_bytes=item_bytes, limit_bytes=limit_bytes)
    count = math.prod(shape)
    # 3. The data is in one place, the right one.
    if content is None:
        content = memoryview(proto.tensor_content)
    _require_one_place(proto, kind, has_content=bool(content))
    # 4. The data fits the shape.
    if kind is _STRING:
        given = bytes(content)
        strings = _split(given, count) if given else _filled_strings(proto, count, limit_bytes)
        return _string_array(strings, shape, limit_bytes=limit_bytes)
    flat = _from_content(content, kind, count) if content else _from_values(proto, kind, count)
    if kind is _BFLOAT16:
        flat = (flat.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return flat.reshape(shape)


def _supported(data_type: int) -> _Kind:
    kind = _KINDS.get(data_type)
    if kind is None:
        raise InvalidArgument(f"tensors of {dtype_name(data_type)} are not supported")
    return kind


def _encoded(elements: Iterable[object]) -> Iterable[bytes]:
    for element in elements:
        if isinstance(element, bytes):
            yield element
        elif isinstance(element, str):
            try:
                yield element.encode("utf-8")
            except UnicodeEncodeError as error:
                raise InvalidArgument("a str element is not valid Unicode") from error
        else:
            found = type(element).__name__
            raise InvalidArgument(f"an object array holds {found}; expected bytes or str")


def _shape(
    proto: tensor_pb2.TensorShapeProto, *, item_bytes: int, limit_bytes: int
) -> tuple[int, ...]:
    if proto.unknown_rank:
        raise InvalidArgument("the tensor's rank is unknown; expected a full shape")
    if len(proto.dim) > MAX_DIMENSIONS:
        raise InvalidArgument(f"{len(proto.dim)} dimensions; at most {MAX_DIMENSIONS} are taken")
    shape = tuple(dim.size for dim in proto.dim)
    if any(size < 0 for size in shape):
        raise InvalidArgument(f"shape {list(shape)} has an unknown or negative dimension")
    # A zero elsewhere does not excuse dimensions whose product no int64 holds.
    if math.prod(size for size in shape if size) * item_bytes > MAX_COUNT:
        raise InvalidArgument(f"shape {list(shape)} has too many elements")
    _require_within(math.prod(shape) * item_bytes, limit_bytes)
    return shape


def _require_within(size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        raise InvalidArgument(f"the tensor takes {size} bytes; the limit is {limit_bytes}")


def _require_one_place(proto: TensorProto, kind: _Kind, *, has_content: bool) -> None:
    name = dtype_name(proto.dtype)
    for field in _VALUE_FIELDS:
        if not len(getattr(proto, field)):
            continue
        if field != kind.field:
            raise InvalidArgument(f"a tensor of {name} has {field}; expected {kind.field}")
        if has_content:
            raise InvalidArgument(f"a tensor of {name} has both tensor_content and {field}")


def _from_content(content: memoryview, kind: _Kind, count: int) -> Array:
    wanted = count * kind.stored.itemsize
    if len(content) != wanted:
        raise InvalidArgument(f"tensor_content has {len(content)} bytes; the shape wants {wanted}")
    if kind.stored.kind == "b" and np.frombuffer(content, np.uint8).max(initial=0) > 1:
        raise InvalidArgument("tensor_content of DT_BOOL has a byte that is neither 0 nor 1")
    return np.frombuffer(content, kind.stored)


def _from_values(proto: TensorProto, kind: _Kind, count: int) -> Array:
    values = _typed(getattr(proto, kind.field), kind)
    _require_at_most(len(values), count)
    if len(values) == count:
        return values
    flat = np.empty(count, kind.stored)
    flat[: len(values)] = values
    flat[len(values) :] = values[-1] if len(values) else 0
    return flat


def _typed(field: Sequence[Any], kind: _Kind) -> Array:
    """The values of a typed field in the dtype that they stand for."""
    stored = kind.stored
    if kind.field == "half_val":
        return _narrowed(field, np.dtype("<u2")).view(stored)
    if kind.field == "int_val":
        return _narrowed(field, stored)
    if stored.kind == "c":
        if len(field) % 2:
            raise InvalidArgument(f"{kind.field} has {len(field)} numbers; expected pairs")
        return np.array(field, f"<f{stored.itemsize // 2}").view(stored)
    return np.array(field, stored)


def _narrowed(field: Sequence[int], stored: np.dtype[Any]) -> Array:
    values = np.array(field, np.int32)
    range_ = np.iinfo(stored)
    if len(values) and (values.min() < range_.min or values.max() > range_.max):
        raise InvalidArgument(f"a value is outside the range of {stored.name}")
    return values.astype(stored)


def _require_at_most(found: int, count: int) -> None:
    if found > count:
        raise InvalidArgument(f"the tensor has {found} values; the shape wants {count}")


def _filled_strings(proto: TensorProto, count: int, limit_bytes: int) -> list[bytes]:
    strings = list(proto.string_val)
    _require_at_most(len(strings), count)
    missing = count - len(strings)
    last = strings[-1] if strings else b""
    _require_within(missing * (len(last) + POINTER_BYTES), limit_bytes)
    return strings + [last] * missing


def _split(content: bytes, count: int) -> list[bytes]:
    """Strings in `tensor_content` (TensorFlow's EncodeStringList): all lengths, then all bytes."""
    lengths = []
    offset = 0
    for _ in range(count):
        length, offset = _varint(content, offset)
        lengths.append(length)
    if offset + sum(lengths) != len(content):
        raise InvalidArgument("tensor_content of DT_STRING does not have the length that it says")
    strings = []
    for length in lengths:
        strings.append(content[offset : offset + length])
        offset += length
    return strings


def _varint(content: bytes, offset: int) -> tuple[int, int]:
    """A base-128 number of at most 32 bits at `offset`, and the offset behind it."""
    value = 0
    for index, byte in enumerate(content[offset : offset + 5]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, offset + index + 1
    raise InvalidArgument("tensor_content of DT_STRING has a broken length")


def _string_array(strings: list[bytes], shape: tuple[int, ...], *, limit_bytes: int) -> Array:
    _require_within(sum(map(len, strings)) + len(strings) * POINTER_BYTES, limit_bytes)
    flat = np.empty(len(strings), object)
    flat[:] = strings
    return flat.reshape(shape)
