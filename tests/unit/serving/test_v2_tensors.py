"""Tensors of the Open Inference Protocol, BYTES above all: binary, typed, and as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.errors import InvalidArgument, Unimplemented
from sealserve.messages import tensor_pb2
from sealserve.messages.open_inference_pb2 import InferTensorContents
from sealserve.serving.dataplane import Prediction
from sealserve.serving.faces.v2_contents import fill_contents, from_contents
from sealserve.serving.faces.v2_json import decode_inputs, encode_response, parse_request
from sealserve.serving.faces.v2_tensors import (
    DTYPES,
    datatype_of,
    from_binary,
    to_binary,
    wire_shape,
)
from sealserve.serving.signature import Signature, TensorSpec

TEXTS = TensorSpec("s", "s:0", tensor_pb2.DT_STRING, None)
FLOATS = TensorSpec("x", "x:0", tensor_pb2.DT_FLOAT, None)
SIGNATURE = Signature("serving_default", {"s": TEXTS}, {"s": TEXTS})


def texts(*elements: bytes) -> np.ndarray:
    array = np.empty(len(elements), object)
    array[:] = elements
    return array


def test_an_element_of_bytes_is_its_length_and_itself() -> None:
    assert to_binary(texts(b"ab", b"")) == b"\x02\0\0\0ab\0\0\0\0"


@given(st.lists(st.binary(max_size=5), max_size=4))
def test_bytes_come_back_from_every_form(elements: list[bytes]) -> None:
    shape = (len(elements),)
    array = texts(*elements)
    assert from_binary(to_binary(array), TEXTS, shape).tolist() == elements
    contents = InferTensorContents()
    fill_contents(contents, array)
    assert from_contents(contents, TEXTS, shape).tolist() == elements


@given(st.binary(max_size=20), st.integers(0, 5) | st.just(2**40))
def test_no_bytes_are_read_as_more_or_less_than_they_are(data: bytes, count: int) -> None:
    try:
        array = from_binary(memoryview(data), TEXTS, (count,))
    except InvalidArgument:
        return
    assert to_binary(array) == data


def rest(data: list[Any], **parameters: Any) -> tuple[dict[str, np.ndarray], Any]:
    tensor = {"name": "s", "datatype": "BYTES", "shape": [len(data)], "data": data}
    document = {"inputs": [tensor], "parameters": parameters}
    request = parse_request(json.dumps(document).encode(), None)
    return decode_inputs(request, SIGNATURE), request


def test_bytes_are_strings_in_json() -> None:
    arrays, request = rest(["é", "", {"b64": "/w=="}])
    assert arrays["s"].tolist() == ["é".encode(), b"", b"\xff"]
    answer = Prediction({"s": texts("é".encode(), b"")}, "m", 1, "serving_default")
    body, length = encode_response(answer, request)
    assert length is None
    (output,) = json.loads(body)["outputs"]
    assert output == {"name": "s", "datatype": "BYTES", "shape": [2], "data": ["é", ""]}


def test_bytes_that_are_no_text_are_to_be_asked_for_in_binary_form() -> None:
    answer = Prediction({"s": texts(b"\xff")}, "m", 1, "serving_default")
    with pytest.raises(InvalidArgument, match="binary_data"):
        encode_response(answer, rest([])[1])
    body, length = encode_response(answer, rest([], binary_data_output=True)[1])
    assert body[length:] == b"\x01\0\0\0\xff"


def test_an_array_shares_the_memory_that_it_came_in() -> None:
    data = memoryview(b"{" + np.arange(4, dtype=np.float32).tobytes())[1:]
    assert from_binary(data, FLOATS, (4,)).tolist() == [0, 1, 2, 3]
    assert np.shares_memory(from_binary(data, FLOATS, (4,)), np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("dtype", [np.complex64, np.longdouble, "M8[s]"])
def test_what_the_protocol_has_no_word_for_is_not_sent(dtype: Any) -> None:
    with pytest.raises(Unimplemented, match="no datatype"):
        datatype_of(np.dtype(dtype))


def test_every_datatype_has_one_dtype() -> None:
    assert {datatype_of(dtype) for dtype in DTYPES.values()} == DTYPES.keys()
    assert datatype_of(np.dtype(np.float32)) == "FP32"


@pytest.mark.parametrize(
    ("shape", "told"), [(None, [-1]), ((), []), ((None, 2), [-1, 2]), ((0,), [0])]
)
def test_metadata_tells_free_sizes_as_minus_one(shape: Any, told: list[int]) -> None:
    assert wire_shape(shape) == told
