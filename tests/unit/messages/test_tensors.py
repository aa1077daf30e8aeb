"""Arrays to TensorProto and back: every dtype, the fill rules, and what is refused."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from sealserve.errors import InvalidArgument
from sealserve.messages import tensor_pb2
from sealserve.messages.tensor_pb2 import TensorProto, TensorShapeProto
from sealserve.messages.tensors import dtype_name, dtype_of, from_proto, numpy_dtype, to_proto

LIMIT = 1 << 20

NUMERIC = {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_HALF": "float16",
    "DT_INT8": "int8",
    "DT_INT16": "int16",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_UINT8": "uint8",
    "DT_UINT16": "uint16",
    "DT_UINT32": "uint32",
    "DT_UINT64": "uint64",
    "DT_BOOL": "bool",
    "DT_COMPLEX64": "complex64",
    "DT_COMPLEX128": "complex128",
}


def number(name: str) -> int:
    return tensor_pb2.DataType.Value(name)


def tensor(dtype: Any, shape: list[int], **fields: Any) -> TensorProto:
    dims = [TensorShapeProto.Dim(size=size) for size in shape]
    return TensorProto(dtype=dtype, tensor_shape=TensorShapeProto(dim=dims), **fields)


def over_the_wire(proto: TensorProto) -> TensorProto:
    return TensorProto.FromString(proto.SerializeToString())


@pytest.mark.parametrize("name", NUMERIC)
@given(data=st.data())
def test_an_array_of_any_dtype_and_shape_survives_the_wire_bit_for_bit(
    name: str, data: st.DataObject
) -> None:
    dtype = np.dtype(NUMERIC[name])
    shape = tuple(data.draw(st.lists(st.integers(0, 4), max_size=4)))
    size = int(np.prod(shape)) * dtype.itemsize
    raw = data.draw(st.binary(min_size=size, max_size=size))
    if dtype.kind == "b":
        raw = bytes(byte & 1 for byte in raw)
    array = np.frombuffer(raw, dtype).reshape(shape)
    proto = over_the_wire(to_proto(array))
    back = from_proto(proto, limit_bytes=LIMIT)
    assert dtype_name(proto.dtype) == name
    assert (back.dtype, back.shape, back.tobytes()) == (dtype, shape, raw)


@given(st.lists(st.binary(max_size=8), max_size=6), st.booleans(), st.lists(st.text(), min_size=1))
def test_strings_survive_as_bytes(strings: list[bytes], column: bool, texts: list[str]) -> None:
    array = np.empty(len(strings), object)
    array[:] = strings
    shape = (len(strings), 1) if column else (len(strings),)
    back = from_proto(over_the_wire(to_proto(array.reshape(shape))), limit_bytes=LIMIT)
    assert (back.dtype, back.shape, back.ravel().tolist()) == (np.dtype(object), shape, strings)

    words = np.empty(len(texts), object)
    words[:] = texts
    sent = from_proto(over_the_wire(to_proto(words)), limit_bytes=LIMIT)
    assert [element.decode() for element in sent] == texts


def test_fixed_width_bytes_and_str_arrays_are_sent_as_strings() -> None:
    for array in (np.array([b"a", b"bc"]), np.array(["a", "bc"])):
        proto = to_proto(array)
        assert dtype_name(proto.dtype) == "DT_STRING"
        assert list(proto.string_val) == [b"a", b"bc"]


def test_big_endian_and_strided_arrays_are_sent_row_major_and_little_endian() -> None:
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    proto = to_proto(array)
    assert proto.tensor_content == struct.pack("<6i", 0, 3, 1, 4, 2, 5)
    assert [dim.size for dim in proto.tensor_shape.dim] == [3, 2]


def test_a_scalar_has_an_empty_shape_and_not_none() -> None:
    proto = to_proto(np.array(1.5, np.float32))
    assert proto.HasField("tensor_shape")
    back = from_proto(proto, limit_bytes=LIMIT)
    assert (back.shape, back.item()) == ((), 1.5)


def test_numbers_in_tensor_content_are_viewed_and_cannot_be_written() -> None:
    back = from_proto(to_proto(np.ones(3, np.float32)), limit_bytes=LIMIT)
    assert not back.flags.writeable
    assert not back.flags.owndata


TYPED: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "DT_FLOAT": ({"float_val": [1.5, -2.0]}, [1.5, -2.0]),
    "DT_DOUBLE": ({"double_val": [1.5, -2.0]}, [1.5, -2.0]),
    "DT_HALF": ({"half_val": [0x3E00, 0xC000]}, [1.5, -2.0]),
    "DT_BFLOAT16": ({"half_val": [0x3FC0, 0xC000]}, [1.5, -2.0]),
    "DT_INT8": ({"int_val": [-128, 127]}, [-128, 127]),
    "DT_INT16": ({"int_val": [-32768, 32767]}, [-32768, 32767]),
    "DT_INT32": ({"int_val": [-(2**31), 2**31 - 1]}, [-(2**31), 2**31 - 1]),
    "DT_INT64": ({"int64_val": [-(2**63), 2**63 - 1]}, [-(2**63), 2**63 - 1]),
    "DT_UINT8": ({"int_val": [0, 255]}, [0, 255]),
    "DT_UINT16": ({"int_val": [0, 65535]}, [0, 65535]),
    "DT_UINT32": ({"uint32_val": [0, 2**32 - 1]}, [0, 2**32 - 1]),
    "DT_UINT64": ({"uint64_val": [0, 2**64 - 1]}, [0, 2**64 - 1]),
    "DT_BOOL": ({"bool_val": [True, False]}, [True, False]),
    "DT_COMPLEX64": ({"scomplex_val": [1, 2, 3, -4]}, [1 + 2j, 3 - 4j]),
    "DT_COMPLEX128": ({"dcomplex_val": [1, 2, 3, -4]}, [1 + 2j, 3 - 4j]),
    "DT_STRING": ({"string_val": [b"a", b"\xff"]}, [b"a", b"\xff"]),
    "DT_QINT8": ({"int_val": [-128, 127]}, [-128, 127]),
    "DT_QUINT8": ({"int_val": [0, 255]}, [0, 255]),
    "DT_QINT16": ({"int_val": [-1, 1]}, [-1, 1]),
    "DT_QUINT16": ({"int_val": [0, 65535]}, [0, 65535]),
    "DT_QINT32": ({"int_val": [-1, 1]}, [-1, 1]),
}


@pytest.mark.parametrize("name", TYPED)
def test_values_in_the_typed_field_are_read_exactly(name: str) -> None:
    fields, expected = TYPED[name]
    back = from_proto(over_the_wire(tensor(name, [2], **fields)), limit_bytes=LIMIT)
    assert back.dtype == numpy_dtype(number(name))
    assert back.tolist() == expected


@pytest.mark.parametrize("name", TYPED)
def test_values_left_out_at_the_end_repeat_the_last_one(name: str) -> None:
    fields, (first, last) = TYPED[name]
    back = from_proto(tensor(name, [5], **fields), limit_bytes=LIMIT)
    assert back.tolist() == [first, last, last, last, last]


def test_a_single_value_stands_for_the_whole_tensor() -> None:
    back = from_proto(tensor("DT_FLOAT", [2, 3], float_val=[0.5]), limit_bytes=LIMIT)
    assert back.tolist() == [[0.5] * 3] * 2
    assert back.flags.writeable


@pytest.mark.parametrize(
    ("name", "zero"), [("DT_FLOAT", 0.0), ("DT_BOOL", False), ("DT_STRING", b"")]
)
def test_no_value_at_all_means_zeros_as_in_compressed_constants(name: str, zero: object) -> None:
    assert from_proto(tensor(name, [2]), limit_bytes=LIMIT).tolist() == [zero, zero]


def test_a_dimension_of_zero_makes_an_empty_array() -> None:
    assert from_proto(tensor("DT_FLOAT", [3, 0, 2]), limit_bytes=0).shape == (3, 0, 2)


def test_bfloat16_content_becomes_the_same_numbers_in_float32() -> None:
    content = struct.pack("<3H", 0x3FC0, 0xFF80, 0x0001)
    back = from_proto(tensor("DT_BFLOAT16", [3], tensor_content=content), limit_bytes=LIMIT)
    assert back.dtype == np.float32
    assert back.tolist() == [1.5, -np.inf, 2.0**-133]


def test_strings_in_tensor_content_are_lengths_then_bytes() -> None:
    content = b"\x02\x00\xc8\x01" + b"ab" + b"c" * 200
    back = from_proto(tensor("DT_STRING", [3], tensor_content=content), limit_bytes=LIMIT)
    assert back.tolist() == [b"ab", b"", b"c" * 200]


REFUSED = {
    "no dtype": TensorProto(),
    "unknown dtype": TensorProto.FromString(b"\x08\x63"),
    "reference dtype": tensor("DT_FLOAT_REF", [1], float_val=[1]),
    "resource": tensor("DT_RESOURCE", [1]),
    "variant": tensor("DT_VARIANT", [1]),
    "eight-bit float": tensor("DT_FLOAT8_E5M2", [1], float8_val=b"\x00"),
    "four-bit integer": tensor("DT_INT4", [1], int_val=[1]),
    "unknown rank": TensorProto(dtype="DT_FLOAT", tensor_shape=TensorShapeProto(unknown_rank=True)),
    "unknown dimension": tensor("DT_FLOAT", [-1, 2], float_val=[1]),
    "negative dimension": tensor("DT_FLOAT", [-(2**63)], float_val=[1]),
    "too many dimensions": tensor("DT_FLOAT", [1] * 33, float_val=[1]),
    "product past int64": tensor("DT_FLOAT", [2**32, 2**32], float_val=[1]),
    "product past int64 beside a zero": tensor("DT_FLOAT", [2**62, 0, 2**62]),
    "product that wraps to a small number": tensor("DT_INT8", [2**63 - 1, 2**63 - 1, 2]),
    "larger than the limit": tensor("DT_FLOAT", [LIMIT], float_val=[1]),
    "content too short": tensor("DT_FLOAT", [2], tensor_content=bytes(7)),
    "content too long": tensor("DT_FLOAT", [2], tensor_content=bytes(12)),
    "content without elements": tensor("DT_FLOAT", [0], tensor_content=bytes(4)),
    "content that is no bool": tensor("DT_BOOL", [2], tensor_content=b"\x01\x02"),
    "too many values": tensor("DT_FLOAT", [1], float_val=[1, 2]),
    "values without elements": tensor("DT_INT64", [0], int64_val=[1]),
    "values in another dtype's field": tensor("DT_FLOAT", [1], double_val=[1]),
    "values in a foreign field": tensor("DT_FLOAT", [1], float8_val=b"\x00"),
    "content and values": tensor("DT_FLOAT", [1], float_val=[1], tensor_content=bytes(4)),
    "half a complex number": tensor("DT_COMPLEX64", [1], scomplex_val=[1]),
    "uint8 of 256": tensor("DT_UINT8", [1], int_val=[256]),
    "uint8 of -1": tensor("DT_UINT8", [1], int_val=[-1]),
    "int8 of 128": tensor("DT_INT8", [1], int_val=[128]),
    "half of 17 bits": tensor("DT_HALF", [1], half_val=[1 << 16]),
    "negative bits": tensor("DT_BFLOAT16", [1], half_val=[-1]),
    "too many strings": tensor("DT_STRING", [1], string_val=[b"", b""]),
    "one string for a million": tensor("DT_STRING", [100_000], string_val=[b"x" * 1000]),
    "long strings": tensor("DT_STRING", [2], string_val=[b"x" * LIMIT, b""]),
    "string content cut short": tensor("DT_STRING", [1], tensor_content=b"\x02a"),
    "string content too long": tensor("DT_STRING", [1], tensor_content=b"\x01ab"),
    "string content without a length": tensor("DT_STRING", [2], tensor_content=b"\x00"),
    "string content with an endless length": tensor("DT_STRING", [1], tensor_content=b"\xff" * 9),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_malformed_unsupported_or_oversized_tensor_is_an_invalid_argument(case: str) -> None:
    with pytest.raises(InvalidArgument):
        from_proto(REFUSED[case], limit_bytes=LIMIT)


def test_the_limit_counts_the_bytes_of_the_array_and_may_be_reached() -> None:
    proto = tensor("DT_BFLOAT16", [4], half_val=[0])
    assert from_proto(proto, limit_bytes=16).nbytes == 16
    with pytest.raises(InvalidArgument, match="takes 16 bytes; the limit is 15"):
        from_proto(proto, limit_bytes=15)


@given(st.binary(max_size=64))
def test_arbitrary_bytes_become_an_array_or_an_invalid_argument(data: bytes) -> None:
    try:
        proto = TensorProto.FromString(data)
    except DecodeError:
        return
    with contextlib.suppress(InvalidArgument):
        from_proto(proto, limit_bytes=LIMIT)


UNSENDABLE = {
    "dates": np.array(["2026-01-01"], "datetime64[D]"),
    "records": np.zeros(1, [("a", "i4")]),
    "extended floats": np.zeros(1, np.longdouble),
    "objects that are no strings": np.array([b"a", 1], object),
    "surrogates": np.array(["\ud800"], object),
}


@pytest.mark.parametrize("case", UNSENDABLE)
def test_an_array_that_has_no_dtype_on_the_wire_is_an_invalid_argument(case: str) -> None:
    with pytest.raises(InvalidArgument):
        to_proto(UNSENDABLE[case])


@pytest.mark.parametrize("name", NUMERIC)
def test_dtype_of_and_numpy_dtype_are_inverse(name: str) -> None:
    assert dtype_of(numpy_dtype(number(name))) == number(name)
    assert dtype_of(NUMERIC[name]) == number(name)


def test_integer_dtypes_are_known_by_size_and_not_by_their_c_name() -> None:
    assert dtype_of(np.longlong) == dtype_of(np.int64) == number("DT_INT64")
    assert dtype_of(np.intc) == number("DT_INT32")


def test_a_number_without_a_name_is_shown_as_it_is() -> None:
    assert dtype_name(1) == "DT_FLOAT"
    assert dtype_name(12345) == "12345"
