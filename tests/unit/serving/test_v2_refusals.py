"""The Open Inference Protocol: wrong requests get the reason, and nothing else escapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from open_inference import ONES, TYPES, Site, infer_request
from sealserve.errors import InvalidArgument, ServingError
from sealserve.messages import services
from sealserve.messages.open_inference_pb2 import ModelInferRequest, ModelInferResponse
from sealserve.serving.faces.v2_tensors import DTYPES

JSON_ONES = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 1]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.close()


INVALID, UNIMPLEMENTED = "INVALID_ARGUMENT", "UNIMPLEMENTED"


def grpc_request(raw: list[bytes] | None = None, **changes: Any) -> ModelInferRequest:
    made = infer_request("FP32", [ONES] if raw is None else raw)
    tensor = made.inputs[0]
    for name, value in changes.items():
        if name == "shape":
            del tensor.shape[:]
            tensor.shape.extend(value)
        elif name in ("name", "datatype"):
            setattr(tensor, name, value)
        elif name.endswith("_contents"):
            getattr(tensor.contents, name).extend(value)
        elif name == "outputs":
            for output in value:
                made.outputs.add(name=output)
        elif name in ("parameters", "input_parameters", "output_parameters"):
            if name == "output_parameters":
                made.outputs.add(name="y")
            home = {"parameters": made, "input_parameters": tensor}.get(name) or made.outputs[0]
            for key, number in value.items():
                home.parameters[key].int64_param = number
        else:
            setattr(made, name, value)
    return made


def twice() -> ModelInferRequest:
    made = grpc_request(raw=[b"", b""], shape=[0, 2])
    made.inputs.add(name="x", datatype="FP32", shape=[0, 2])
    return made


WRONG_GRPC: dict[str, tuple[ModelInferRequest, str, str]] = {
    "no such model": (grpc_request(model_name="z"), "NOT_FOUND", "Servable not found"),
    "no model": (grpc_request(model_name=""), INVALID, "no name"),
    "no such version": (grpc_request(model_version="9"), "NOT_FOUND", "Specific"),
    "a version that is no number": (grpc_request(model_version="v1"), INVALID, "not a number"),
    "a version of other digits": (grpc_request(model_version="٣"), INVALID, "not a number"),
    "a long version": (grpc_request(model_version="9" * 5000), INVALID, "not a number"),
    "another datatype": (grpc_request(datatype="FP64"), INVALID, "expected FP32, found 'FP64'"),
    "no datatype": (grpc_request(datatype=""), INVALID, "expected FP32, found ''"),
    "BF16": (grpc_request(datatype="BF16"), INVALID, "expected FP32, found 'BF16'"),
    "another input": (grpc_request(name="z"), INVALID, "Missing but required: {x}"),
    "an input twice": (twice(), INVALID, "twice"),
    "another output": (grpc_request(outputs=["z"]), INVALID, "alias not found"),
    "an output twice": (grpc_request(outputs=["y", "y"]), INVALID, "duplicate"),
    "another rank": (grpc_request(shape=[2]), INVALID, r"expected shape \[-1,-1\], found \[2\]"),
    "a negative size": (grpc_request(shape=[-1, 2]), INVALID, "negative"),
    "too few bytes": (grpc_request(raw=[b"1234"]), INVALID, "4 bytes of data; the shape wants 8"),
    "a shape of exabytes": (grpc_request(shape=[2**40, 2]), INVALID, "8 bytes of data"),
    "a shape beyond int64": (grpc_request(shape=[2**62, 2]), INVALID, "too many elements"),
    "a zero beside them": (grpc_request(shape=[0, 2**62, 2]), INVALID, "too many elements"),
    "33 dimensions": (grpc_request(shape=[1] * 33), INVALID, "33 dimensions"),
    "an entry too many": (grpc_request(raw=[b"", b""]), INVALID, "2 entries; the request has 1"),
    "no data": (grpc_request(raw=[]), INVALID, "0 values; the shape wants 2"),
    "both forms": (grpc_request(fp32_contents=[1, 1]), INVALID, "both contents and raw"),
    "another field": (
        grpc_request(raw=[], fp64_contents=[1, 1]),
        INVALID,
        "FP32 has fp64_contents; expected fp32_contents",
    ),
    "too many values": (grpc_request(raw=[], fp32_contents=[1, 1, 1]), INVALID, "3 values"),
    "a signature that is no name": (
        grpc_request(parameters={"signature_name": 1}),
        INVALID,
        "must be a string",
    ),
    "a sequence": (grpc_request(parameters={"sequence_id": 1}), UNIMPLEMENTED, "sequences"),
    "shared memory": (
        grpc_request(input_parameters={"shared_memory_region": 1}),
        UNIMPLEMENTED,
        "shared memory",
    ),
    "shared memory for an output": (
        grpc_request(output_parameters={"shared_memory_region": 1}),
        UNIMPLEMENTED,
        "shared memory",
    ),
    "classes": (grpc_request(output_parameters={"classification": 1}), UNIMPLEMENTED, "classif"),
}


@pytest.mark.parametrize("what", WRONG_GRPC)
def test_a_wrong_message_is_refused_with_the_reason(site: Site, what: str) -> None:
    asked, status, text = WRONG_GRPC[what]
    with pytest.raises(ServingError, match=text) as caught:
        site.infer(asked)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("datatype", "value"), [("INT8", 128), ("INT8", -129), ("UINT8", 256), ("UINT16", 1 << 16)]
)
def test_typed_values_must_lie_in_the_range_of_their_datatype(
    site: Site, datatype: str, value: int
) -> None:
    asked = infer_request(datatype, [], shape=[1, 1], contents=[value])
    with pytest.raises(InvalidArgument, match=f"outside the range of {datatype}"):
        site.infer(asked)


def test_a_byte_of_bool_is_0_or_1(site: Site) -> None:
    with pytest.raises(InvalidArgument, match="neither 0 nor 1"):
        site.infer(infer_request("BOOL", [b"\x01\x02"]))


def test_fp16_has_no_typed_form(site: Site) -> None:
    asked = infer_request("FP16", [], shape=[0, 2])
    with pytest.raises(InvalidArgument, match="FP16 comes in raw_input_contents alone"):
        site.infer(asked)


def rest_request(**changes: Any) -> dict[str, Any]:
    return {"inputs": [{**JSON_ONES, **changes}]}


BINARY = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}

WRONG_REST: dict[str, tuple[Any, bytes, str, str]] = {
    "no object": ([1], b"", INVALID, "Is not object"),
    "no inputs": ({}, b"", INVALID, "Missing but required: {x}"),
    "inputs that are no array": ({"inputs": {}}, b"", INVALID, "'inputs' must be an array"),
    "inputs that are no objects": ({"inputs": [1]}, b"", INVALID, "'inputs' must be an array"),
    "outputs that are null": (
        {"inputs": [JSON_ONES], "outputs": None},
        b"",
        INVALID,
        "'outputs' must",
    ),
    "an id that is no string": ({"inputs": [JSON_ONES], "id": 1}, b"", INVALID, "'id' must"),
    "no name": (rest_request(name=None), b"", INVALID, "'name' of a tensor"),
    "no shape": (rest_request(shape=None), b"", INVALID, "'shape' of a tensor"),
    "a shape of booleans": (rest_request(shape=[True, 2]), b"", INVALID, "'shape' of a tensor"),
    "a shape of floats": (rest_request(shape=[1.0, 2]), b"", INVALID, "'shape' of a tensor"),
    "a huge size": (rest_request(shape=[10**4000, 2]), b"", INVALID, "too many elements"),
    "33 dimensions": (rest_request(shape=[1] * 33), b"", INVALID, "33 dimensions"),
    "another datatype": (rest_request(datatype="INT8"), b"", INVALID, "found 'INT8'"),
    "a long datatype": (rest_request(datatype="A" * 10**6), b"", INVALID, "found 'AAAA"),
    "no data": ({"inputs": [{**JSON_ONES, "data": None}]}, b"", INVALID, "'data' must be an array"),
    "too many values": (rest_request(data=[1, 2, 3]), b"", INVALID, "3 values"),
    "values of another type": (rest_request(data=[True, 1]), b"", INVALID, "not of expected type"),
    "values out of range": (rest_request(data=[1e300, 1]), b"", INVALID, "outside the range"),
    "lists of another shape": (rest_request(data=[[1], [1]]), b"", INVALID, "not nested as in"),
    "lists among values": (rest_request(data=[1, [1]]), b"", INVALID, "not nested as in"),
    "lists too deep": (rest_request(data=[[[1, 1]]]), b"", INVALID, "not nested|1 values"),
    "an input twice": ({"inputs": [JSON_ONES, JSON_ONES]}, b"", INVALID, "twice"),
    "an output twice": (
        {"inputs": [JSON_ONES], "outputs": [{"name": "y"}, {"name": "y"}]},
        b"",
        INVALID,
        "twice",
    ),
    "another output": (
        {"inputs": [JSON_ONES], "outputs": [{"name": "z"}]},
        b"",
        INVALID,
        "not found",
    ),
    "data in both forms": ({"inputs": [{**BINARY, "data": []}]}, b"12345678", INVALID, "either"),
    "data in no form": ({"inputs": [{**BINARY, "parameters": {}}]}, b"", INVALID, "either"),
    "less data than announced": ({"inputs": [BINARY]}, b"1234", INVALID, "announce 8 bytes"),
    "more data than announced": ({"inputs": [BINARY]}, b"1" * 9, INVALID, "announce 8 bytes"),
    "a size that is no number": (
        {"inputs": [{**BINARY, "parameters": {"binary_data_size": "8"}}]},
        b"",
        INVALID,
        "number of bytes",
    ),
    "a size below zero": (
        {"inputs": [{**BINARY, "parameters": {"binary_data_size": -8}}]},
        b"",
        INVALID,
        "number of bytes",
    ),
    "a huge announcement": (
        {"inputs": [{**BINARY, "parameters": {"binary_data_size": 10**4000}}] * 2},
        b"",
        INVALID,
        "number of bytes",
    ),
    "another size than the shape's": (
        {"inputs": [{**BINARY, "shape": [1, 3]}]},
        b"12345678",
        INVALID,
        "the shape wants 12",
    ),
    "parameters that are no object": (
        {"inputs": [JSON_ONES], "parameters": []},
        b"",
        INVALID,
        "'parameters' must be an object",
    ),
    "a flag that is none": (
        {"inputs": [JSON_ONES], "parameters": {"binary_data_output": 1}},
        b"",
        INVALID,
        "true or false",
    ),
    "a sequence": (
        {"inputs": [JSON_ONES], "parameters": {"sequence_id": 1}},
        b"",
        UNIMPLEMENTED,
        "sequences",
    ),
    "shared memory": (
        {"inputs": [{**JSON_ONES, "parameters": {"shared_memory_region": "r"}}]},
        b"",
        UNIMPLEMENTED,
        "shared memory",
    ),
    "classes": (
        {"inputs": [JSON_ONES], "outputs": [{"name": "y", "parameters": {"classification": 1}}]},
        b"",
        UNIMPLEMENTED,
        "classification",
    ),
}


@pytest.mark.parametrize("what", WRONG_REST)
def test_a_wrong_body_is_refused_with_the_reason(site: Site, what: str) -> None:
    document, binary, status, text = WRONG_REST[what]
    with pytest.raises(ServingError, match=text) as caught:
        site.post(document, binary)
    assert caught.value.status == status


@pytest.mark.parametrize("length", ["-1", "x", "", "1.5", "999", "9" * 5000, "٣", " 8"])
def test_a_header_that_is_no_length_of_the_json_is_refused(site: Site, length: str) -> None:
    body = json.dumps({"inputs": [JSON_ONES]}).encode()
    with pytest.raises(InvalidArgument, match="Inference-Header-Content-Length"):
        site.rest("POST", "/v2/models/echo/infer", body, length)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 10**6, b'{"a":' * 10**6])
def test_a_body_that_is_no_json_is_refused(site: Site, body: bytes) -> None:
    with pytest.raises(InvalidArgument, match="JSON Parse error"):
        site.rest("POST", "/v2/models/echo/infer", body)


SOUND = grpc_request().SerializeToString()
TENSORS = st.builds(
    lambda name, datatype, shape, values: ModelInferRequest.InferInputTensor(
        name=name, datatype=datatype, shape=shape, contents=values
    ),
    st.sampled_from(["x", "y", ""]),
    st.sampled_from([*DTYPES, "BF16", ""]),
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 3), max_size=4),
    st.none()
    | st.builds(lambda v: {"fp32_contents": v}, st.lists(st.floats(width=32), max_size=4)),
)
MESSAGES = st.builds(
    lambda inputs, raw, signature: ModelInferRequest(
        model_name="echo",
        inputs=inputs,
        raw_input_contents=raw,
        parameters={"signature_name": {"string_param": signature}},
    ).SerializeToString(),
    st.lists(TENSORS, max_size=2),
    st.lists(st.binary(max_size=16), max_size=2),
    st.sampled_from(["", *TYPES]),
)
DAMAGED = st.builds(
    lambda at, some: SOUND[:at] + some + SOUND[at + len(some) :],
    st.integers(0, len(SOUND)),
    st.binary(max_size=6),
)


@given(MESSAGES | DAMAGED | st.binary(max_size=60))
def test_no_message_gets_anything_but_an_answer_or_a_refusal(site: Site, data: bytes) -> None:
    with suppress(ServingError, DecodeError):
        ModelInferResponse.FromString(site.grpc(services.MODEL_INFER, data))


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "shape", "datatype", "data", "parameters", "binary_data_size", "b64"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
INPUTS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("x") | JSON,
        "datatype": st.sampled_from([*DTYPES]) | JSON,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
        "data": st.lists(LEAVES, max_size=4) | JSON,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(0, 9)}) | JSON,
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {"inputs": st.lists(INPUTS, max_size=2) | JSON},
    optional={
        "id": st.text(max_size=3) | JSON,
        "outputs": st.lists(st.fixed_dictionaries({"name": st.just("y")}), max_size=2) | JSON,
        "parameters": st.fixed_dictionaries(
            {"signature_name": st.sampled_from(["", *TYPES])},
            optional={"binary_data_output": st.booleans() | JSON},
        )
        | JSON,
    },
)


@given(DOCUMENTS | JSON, st.binary(max_size=9))
def test_no_body_gets_anything_but_an_answer_or_a_refusal(
    site: Site, document: Any, binary: bytes
) -> None:
    with suppress(ServingError):
        site.post(document, binary)
