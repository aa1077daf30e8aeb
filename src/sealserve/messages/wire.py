"""PredictRequest and PredictResponse without a copy of what is large in them.

Protobuf copies every tensor when it parses a message, again when Python asks for the bytes, and
once more when it writes them. Here the numbers of a tensor stay where they came: a walk over the
message's fields finds each `tensor_content`, protobuf parses what is left without them, and arrays
are views of the message's own bytes. Writing copies each array once, into the message.

The walk reads only what every library writes. Whatever else is legal (groups, fields given twice,
map entries out of order) it leaves to protobuf as a whole, and so it does with what is broken: what
is accepted, and what it means, is protobuf's to say, always.

Format: protobuf.dev/programming-guides/encoding; predict.proto and tensor.proto of this room.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sealserve.errors import InvalidArgument
from sealserve.messages import tensor_pb2
from sealserve.messages.predict_pb2 import ModelSpec, PredictRequest, PredictResponse
from sealserve.messages.tensor_pb2 import TensorProto
from sealserve.messages.tensors import dtype_of, from_proto, to_proto

Array = NDArray[Any]

MAX_FIELDS = 1000  # of one message; a walk in Python over more is slower than protobuf's copies
MAX_REST_BYTES = 1 << 16  # what is parsed twice, at most: then the data is not in tensor_content
_REMEMBERED = 256  # beginnings of tensors and model specs: shapes are the peer's, and any number
_VARINT, _I64, LEN, _I32 = 0, 1, 2, 5  # wire types; 3 and 4 are groups
_KEY, _VALUE = 1 << 3 | LEN, 2 << 3 | LEN  # of a map entry
_CONTENT = 4 << 3 | LEN  # TensorProto.tensor_content
_INPUTS, _REQUEST_SPEC = 2 << 3 | LEN, 1 << 3 | LEN
_OUTPUTS, _RESPONSE_SPEC = 1 << 3 | LEN, 2 << 3 | LEN


class Spec(NamedTuple):
    """A ModelSpec: which model was asked, or answered. Of version and label one at most."""

    name: str
    version: int | None = None
    label: str | None = None
    signature: str = ""


@dataclass(frozen=True)
class Tensors:
    """The tensors of one message: what protobuf says of them, and where their numbers are."""

    data: bytes
    protos: Mapping[str, TensorProto]
    places: Mapping[str, slice]  # in `data`; the others have their data in `protos`

    def array(self, alias: str, *, limit_bytes: int) -> Array:
        """The array of one; read-only, and a view of the message that need not be aligned.

        Raises InvalidArgument as `from_proto` does.
        """
        place = self.places.get(alias)
        content = None if place is None else memoryview(self.data)[place]
        return from_proto(self.protos[alias], limit_bytes=limit_bytes, content=content)


@dataclass(frozen=True)
class Request:
    """A PredictRequest."""

    spec: Spec
    inputs: Tensors
    output_filter: tuple[str, ...]


def decode_predict_request(data: bytes) -> Request:
    """The request of these bytes; protobuf's DecodeError if they are none."""
    rest, places = _split(data, _INPUTS)
    message = PredictRequest.FromString(rest)
    inputs = Tensors(data, message.inputs, places)
    return Request(_spec(message.model_spec), inputs, tuple(message.output_filter))


def decode_predict_response(data: bytes, *, limit_bytes: int) -> tuple[Spec, dict[str, Array]]:
    """Who answered, and the outputs; `limit_bytes` bounds each.

    Raises DecodeError, and InvalidArgument for an output that is malformed or too large.
    """
    rest, places = _split(data, _OUTPUTS)
    message = PredictResponse.FromString(rest)
    tensors = Tensors(data, message.outputs, places)
    outputs = {}
    for alias in message.outputs:
        try:
            outputs[alias] = tensors.array(alias, limit_bytes=limit_bytes)
        except InvalidArgument as error:
            raise InvalidArgument(f"output {alias!r}: {error.message}") from error
    return _spec(message.model_spec), outputs


def encode_predict_request(spec: Spec, inputs: Mapping[str, Array]) -> bytes:
    """The bytes of a request; InvalidArgument for an array that cannot be sent."""
    return b"".join((_spec_field(_REQUEST_SPEC, spec), *_entries(_INPUTS, inputs)))


def encode_predict_response(spec: Spec, outputs: Mapping[str, Array]) -> bytes:
    """The bytes of an answer; InvalidArgument for an array that cannot be sent."""
    return b"".join((*_entries(_OUTPUTS, outputs), _spec_field(_RESPONSE_SPEC, spec)))


def _spec(message: ModelSpec) -> Spec:
    return Spec(
        name=message.name,
        version=message.version.value if message.HasField("version") else None,
        label=message.version_label if message.HasField("version_label") else None,
        signature=message.signature_name,
    )


@lru_cache(_REMEMBERED)
def _spec_field(tag: int, spec: Spec) -> bytes:
    message = ModelSpec(name=spec.name, version_label=spec.label, signature_name=spec.signature)
    if spec.version is not None:
        message.version.value = spec.version
    data = message.SerializeToString()
    return number(tag) + number(len(data)) + data


def _entries(tag: int, arrays: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    """The map entries, each tensor's beginning and then its numbers."""
    for alias, array in arrays.items():
        if array.dtype.kind in "OSUT":
            proto = to_proto(array).SerializeToString()
            yield _entry(tag, alias, len(proto)) + proto
        else:
            yield _beginning(tag, alias, array.dtype, array.shape)
            yield np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data


@lru_cache(_REMEMBERED)
def _beginning(tag: int, alias: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """A map entry up to the first number of its tensor."""
    proto = TensorProto(dtype=dtype_of(dtype), tensor_shape=tensor_pb2.TensorShapeProto())
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    content = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    header = proto.SerializeToString()
    if content:  # as protobuf: an empty field is none
        header += number(_CONTENT) + number(content)
    return _entry(tag, alias, len(header) + content) + header


def _entry(tag: int, alias: str, size: int) -> bytes:
    """A map entry up to its value of `size` bytes."""
    key = alias.encode()
    begin = number(_KEY) + number(len(key)) + key + number(_VALUE) + number(size)
    return number(tag) + number(len(begin) + size) + begin


def number(value: int) -> bytes:
    """A varint."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


class Unusual(Exception):
    """Something for protobuf: broken, or legal and rare."""


def _split(data: bytes, entries: int) -> tuple[bytes, dict[str, slice]]:
    """The message without the `tensor_content`s of its map `entries`, and where they are.

    The message itself, and no places, where something in it is unusual.
    """
    try:
        return _walked(data, entries)
    except (Unusual, UnicodeDecodeError):
        return data, {}


def _walked(data: bytes, entries: int) -> tuple[bytes, dict[str, slice]]:
    rest = bytearray()
    places: dict[str, slice | None] = {}
    for tag, begin, start, stop in fields(data, 0, len(data)):
        if tag != entries:
            _keep(rest, data, begin, stop)
            continue
        alias, value = _pair(data, start, stop)
        if alias in places:
            raise Unusual
        header, places[alias] = _without_content(data, value)
        rest += _entry(tag, alias, len(header)) + header
    return bytes(rest), {alias: place for alias, place in places.items() if place is not None}


def _keep(rest: bytearray, data: bytes, begin: int, stop: int) -> None:
    if len(rest) + stop - begin > MAX_REST_BYTES:
        raise Unusual
    rest += data[begin:stop]


def _pair(data: bytes, start: int, stop: int) -> tuple[str, slice]:
    """The key of a map entry, and where its value is: once each, in this order."""
    found = [(tag, slice(begin, end)) for tag, _, begin, end in fields(data, start, stop)]
    if [tag for tag, _ in found] != [_KEY, _VALUE]:
        raise Unusual
    (_, key), (_, value) = found
    if key.stop - key.start > MAX_REST_BYTES:
        raise Unusual
    return data[key].decode(), value


def _without_content(data: bytes, tensor: slice) -> tuple[bytes, slice | None]:
    rest, place = bytearray(), None
    for tag, begin, start, stop in fields(data, tensor.start, tensor.stop):
        if tag != _CONTENT:
            _keep(rest, data, begin, stop)
        elif place is None:
            place = slice(start, stop)
        else:
            raise Unusual
    return bytes(rest), place


def fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Each field: its tag, where it begins, where its value begins, where it stops."""
    for _ in range(MAX_FIELDS):
        if at == end:
            return
        begin = at
        tag, at = _varint(data, at, end)
        if not 8 <= tag < 1 << 32:
            raise Unusual
        start, stop = _value(data, tag & 7, at, end)
        yield tag, begin, start, stop
        at = stop
    raise Unusual


def _value(data: bytes, kind: int, at: int, end: int) -> tuple[int, int]:
    """Where a value of this wire type begins and stops."""
    if kind == LEN:
        size, at = _varint(data, at, end)
        stop = at + size
    elif kind == _VARINT:
        stop = _varint(data, at, end)[1]
    elif kind in (_I32, _I64):
        stop = at + (4 if kind == _I32 else 8)
    else:
        raise Unusual
    if stop > end:
        raise Unusual
    return at, stop


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of at most ten bytes, and where it stops."""
    value = 0
    for index, byte in enumerate(data[at : min(end, at + 10)]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise Unusual
