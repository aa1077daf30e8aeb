"""JSON to arrays and back: both forms, b64, the literals, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from sealserve.errors import InvalidArgument, Unimplemented
from sealserve.messages import tensor_pb2
from sealserve.serving.faces.rest_json import (
    decode_inputs,
    encode_outputs,
    parse_body,
    request_form,
    signature_name,
)
from sealserve.serving.signature import Signature, TensorSpec


def signature(**inputs: int) -> Signature:
    specs = {alias: TensorSpec(alias, f"{alias}:0", kind, None) for alias, kind in inputs.items()}
    return Signature("s", specs, specs)


FLOATS = signature(x=tensor_pb2.DT_FLOAT)
STRINGS = signature(x=tensor_pb2.DT_STRING)
TWO = signature(x=tensor_pb2.DT_FLOAT, n=tensor_pb2.DT_INT32)


def decoded(body: str, takes: Signature = FLOATS) -> dict[str, np.ndarray]:
    return decode_inputs(parse_body(body.encode()), takes)


@pytest.mark.parametrize(
    ("body", "shape", "values"),
    [
        ('{"instances": [1, 2.5]}', (2,), [1, 2.5]),
        ('{"instances": [[1, 2], [3, 4], [5, 6]]}', (3, 2), [1, 2, 3, 4, 5, 6]),
        ('{"instances": [{"x": [1]}, {"x": [2]}]}', (2, 1), [1, 2]),
        ('{"inputs": 7}', (), [7]),
        ('{"inputs": [[1], [2]]}', (2, 1), [1, 2]),
        ('{"inputs": {"x": [1, 2]}}', (2,), [1, 2]),
        ('{"inputs": []}', (0,), []),
        ('{"inputs": [[], []]}', (2, 0), []),
    ],
)
def test_rows_and_columns_become_arrays(
    body: str, shape: tuple[int, ...], values: list[float]
) -> None:
    array = decoded(body)["x"]
    assert array.shape == shape
    assert array.dtype == np.float32
    assert array.ravel().tolist() == values


def test_several_inputs_come_as_objects_in_both_forms() -> None:
    rows = decoded('{"instances": [{"x": [1, 2], "n": 3}, {"n": 4, "x": [5, 6]}]}', TWO)
    columns = decoded('{"inputs": {"x": [[1, 2], [5, 6]], "n": [3, 4]}}', TWO)
    for inputs in (rows, columns):
        assert inputs["x"].tolist() == [[1, 2], [5, 6]]
        assert inputs["n"].tolist() == [3, 4]
        assert inputs["n"].dtype == np.int32


def test_the_literals_of_floats_stand_for_themselves_both_ways() -> None:
    array = decoded('{"inputs": [NaN, Infinity, -Infinity, 1]}')["x"]
    assert np.array_equal(array, np.float32([np.nan, np.inf, -np.inf, 1]), equal_nan=True)
    assert encode_outputs({"y": array}, "column") == b'{"outputs": [NaN, Infinity, -Infinity, 1.0]}'


def test_binary_values_come_and_go_as_base64() -> None:
    array = decoded('{"instances": [{"b64": "AP8="}, "text", "\\u00e4"]}', STRINGS)["x"]
    assert array.tolist() == [b"\x00\xff", b"text", "ä".encode()]
    named = decoded('{"instances": [{"x": {"b64": "AP8="}}]}', STRINGS)["x"]
    assert named.tolist() == [b"\x00\xff"]
    body = encode_outputs({"image_bytes": np.array([b"\x00\xff"], object)}, "row")
    assert json.loads(body) == {"predictions": [{"b64": "AP8="}]}
    text = encode_outputs({"word": np.array([[b"\xc3\xa4", b"b"]], object)}, "row")
    assert json.loads(text) == {"predictions": [["ä", "b"]]}


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i8", "u8", "?"])
def test_numbers_survive_the_way_out_and_in(dtype: str) -> None:
    info = np.finfo(dtype) if dtype[0] == "f" else None
    limits = np.iinfo(dtype) if dtype[0] in "iu" else None
    values = [0, 1] if limits is None else [limits.min, limits.max]
    array = np.array(values if info is None else [info.min, info.tiny, 0.1, -0.0], dtype)
    text = json.loads(encode_outputs({"y": array}, "column"))["outputs"]
    assert np.array_equal(np.array(text, dtype), array)


def test_floats_are_printed_as_short_as_they_are_exact() -> None:
    body = encode_outputs({"y": np.float32([0.2, 1, 1e-7, 16777216])}, "row")
    assert body == b'{"predictions": [0.2, 1.0, 1e-07, 16777216.0]}'


def test_several_outputs_are_objects_one_per_row_or_one_for_all() -> None:
    outputs = {"a": np.int32([1, 2]), "b": np.float32([[3], [4]])}
    rows = json.loads(encode_outputs(outputs, "row"))
    assert rows == {"predictions": [{"a": 1, "b": [3]}, {"a": 2, "b": [4]}]}
    columns = json.loads(encode_outputs(outputs, "column"))
    assert columns == {"outputs": {"a": [1, 2], "b": [[3], [4]]}}


@pytest.mark.parametrize("b", [np.float32(1)[...], np.zeros(3)], ids=["scalar", "other-size"])
def test_rows_need_a_common_first_dimension(b: np.ndarray) -> None:
    with pytest.raises(InvalidArgument, match="no common first dimension"):
        encode_outputs({"a": np.zeros(2), "b": b}, "row")


BAD_BODIES = {
    "empty": b"",
    "not-json": b"{",
    "not-utf8": b'{"inputs": "\xff"}',
    "not-an-object": b"[1]",
    "trailing": b'{"inputs": 1} x',
    "nested-too-deep": b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a-number-of-many-digits": b'{"inputs": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidArgument, match="JSON"):
        parse_body(body)


BAD_REQUESTS = {
    "neither-form": "{}",
    "both-forms": '{"inputs": 1, "instances": [1]}',
    "instances-no-list": '{"instances": {"x": 1}}',
    "instances-empty": '{"instances": []}',
    "instances-mixed": '{"instances": [1, {"x": 1}]}',
    "instances-mixed-other-way": '{"instances": [{"x": 1}, 1]}',
    "row-without-input": '{"instances": [{"z": 1}]}',
    "row-with-more": '{"instances": [{"x": 1, "z": 1}]}',
    "unknown-input": '{"inputs": {"x": 1, "z": 1}}',
    "ragged": '{"inputs": [[1, 2], [3]]}',
    "ragged-deeper": '{"inputs": [[[1], [2]], [[3], 4]]}',
    "list-after-number": '{"inputs": [1, [2]]}',
    "text-for-number": '{"inputs": ["1"]}',
    "bool-for-number": '{"inputs": [1.5, true]}',
    "null": '{"inputs": [null]}',
    "object-for-number": '{"inputs": [[{"y": 1}]]}',
    "b64-for-number": '{"inputs": {"b64": "AA=="}}',
    "too-large-for-float32": '{"inputs": [1e39]}',
    "too-large-for-any-float": '{"inputs": [1' + "0" * 400 + "]}",
    "too-many-dimensions": '{"inputs": ' + "[" * 33 + "1" + "]" * 33 + "}",
}


@pytest.mark.parametrize("body", BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_a_request_that_does_not_say_what_it_means_is_refused(body: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decoded(body)
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    ("body", "takes"),
    [
        pytest.param('{"inputs": [1.0]}', signature(x=tensor_pb2.DT_INT32), id="float-for-int"),
        pytest.param('{"inputs": [true]}', signature(x=tensor_pb2.DT_INT32), id="bool-for-int"),
        pytest.param('{"inputs": [128]}', signature(x=tensor_pb2.DT_INT8), id="int8-range"),
        pytest.param('{"inputs": [-1]}', signature(x=tensor_pb2.DT_UINT64), id="uint64-range"),
        pytest.param('{"inputs": [1]}', signature(x=tensor_pb2.DT_BOOL), id="int-for-bool"),
        pytest.param('{"inputs": [1]}', STRINGS, id="number-for-string"),
        pytest.param('{"inputs": [{"b64": 1}]}', STRINGS, id="b64-no-text"),
        pytest.param('{"inputs": [{"b64": "A"}]}', STRINGS, id="b64-broken"),
        pytest.param('{"inputs": [{"b64": "ä"}]}', STRINGS, id="b64-not-ascii"),
        pytest.param('{"instances": [1]}', TWO, id="plain-rows-for-two-inputs"),
        pytest.param('{"inputs": [1]}', TWO, id="plain-column-for-two-inputs"),
        pytest.param('{"inputs": 1}', signature(), id="no-inputs"),
    ],
)
def test_values_of_another_dtype_are_refused(body: str, takes: Signature) -> None:
    with pytest.raises(InvalidArgument):
        decoded(body, takes)


def test_dtypes_that_json_cannot_carry_are_not_served() -> None:
    takes = signature(x=tensor_pb2.DT_COMPLEX64)
    with pytest.raises(Unimplemented, match="DT_COMPLEX64"):
        decoded('{"inputs": [1]}', takes)
    with pytest.raises(InvalidArgument, match="complex64"):
        encode_outputs({"y": np.zeros(1, np.complex64)}, "row")


@pytest.mark.parametrize(
    ("document", "form"), [({"inputs": 1}, "column"), ({"instances": 1}, "row")]
)
def test_the_answer_has_the_form_of_the_request(document: dict[str, Any], form: str) -> None:
    assert request_form(document) == form


def test_the_signature_is_named_by_a_string() -> None:
    assert signature_name({}) == ""
    assert signature_name({"signature_name": "other"}) == "other"
    with pytest.raises(InvalidArgument, match="must be a string"):
        signature_name({"signature_name": 1})
