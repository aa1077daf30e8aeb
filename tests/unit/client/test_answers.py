from __future__ import annotations

import numpy as np
import pytest

from sealserve.client.answers import TensorSpec, arrays, as_dict, signatures, statuses
from sealserve.errors import FormatError
from sealserve.messages import SIGNATURE_DEF_MAP_TYPE_URL
from sealserve.messages.metadata_pb2 import GetModelMetadataResponse, SignatureDefMap
from sealserve.messages.predict_pb2 import PredictResponse
from sealserve.messages.status_pb2 import GetModelStatusResponse
from sealserve.messages.tensor_pb2 import DT_FLOAT, DT_VARIANT
from sealserve.messages.tensors import to_proto

# What the published guide shows of an answer.
GUIDE = "{'outputs': {'predict': {'dtype': 'DT_FLOAT', 'tensorShape':"


def _response(array: np.ndarray) -> PredictResponse:
    response = PredictResponse()
    response.outputs["predict"].CopyFrom(to_proto(array))
    response.model_spec.name = "digits"
    return response


def test_an_answer_prints_in_the_form_of_the_guide() -> None:
    text = repr(as_dict(_response(np.array([[0.1, 0.9]], np.float32))))
    assert text == (
        GUIDE + " {'dim': [{'size': '1'}, {'size': '2'}]}, 'floatVal': [0.1, 0.9]}},"
        " 'modelSpec': {'name': 'digits'}}"
    )


def test_numbers_print_alike_however_they_were_sent() -> None:
    typed = PredictResponse()
    tensor = typed.outputs["predict"]
    tensor.dtype = DT_FLOAT
    tensor.tensor_shape.dim.add(size=2)
    tensor.float_val.extend([0.1, 0.9])
    sent_as_bytes = _response(np.array([0.1, 0.9], np.float32))
    assert as_dict(typed)["outputs"] == as_dict(sent_as_bytes)["outputs"]


@pytest.mark.parametrize(
    ("dtype", "field", "expected"),
    [
        ("float64", "doubleVal", [1.0, 2.0]),
        ("int8", "intVal", [1, 2]),
        ("uint16", "intVal", [1, 2]),
        ("int64", "int64Val", ["1", "2"]),
        ("uint32", "uint32Val", [1, 2]),
        ("uint64", "uint64Val", ["1", "2"]),
        ("bool", "boolVal", [True, True]),
    ],
)
def test_each_dtype_prints_in_its_own_field(dtype: str, field: str, expected: list[object]) -> None:
    found = as_dict(_response(np.array([1, 2]).astype(dtype)))["outputs"]["predict"]
    assert found[field] == expected
    assert "tensorContent" not in found


def test_printing_leaves_the_answer_as_it_is() -> None:
    response = _response(np.ones(3, np.float32))
    before = response.SerializeToString(deterministic=True)
    as_dict(response)
    assert response.SerializeToString(deterministic=True) == before


def test_an_output_larger_than_allowed_is_the_servers_fault() -> None:
    with pytest.raises(FormatError, match="'predict'"):
        arrays(_response(np.ones(100, np.float32)).SerializeToString(), limit_bytes=399)


def test_arrays_of_an_answer_are_views_of_its_bytes() -> None:
    data = _response(np.arange(100, dtype=np.float32)).SerializeToString()
    found = arrays(data, limit_bytes=400)["predict"]
    assert np.array_equal(found, np.arange(100))
    assert not found.flags.writeable
    assert np.shares_memory(found, np.frombuffer(data, np.uint8))


def test_bytes_that_are_no_answer_are_the_servers_fault() -> None:
    with pytest.raises(FormatError):
        arrays(b"\xff", limit_bytes=400)


def test_an_output_whose_bytes_do_not_fit_its_shape_is_not_printed_as_if_they_did() -> None:
    response = _response(np.ones(3, np.float32))
    response.outputs["predict"].tensor_content += b"\0"
    with pytest.raises(FormatError, match="'predict'"):
        as_dict(response)


def test_states_and_errors_have_their_names_and_unknown_ones_their_numbers() -> None:
    response = GetModelStatusResponse()
    response.model_version_status.add(version=1, state="AVAILABLE")
    unknown = response.model_version_status.add(version=2, state=77)
    unknown.status.error_code = 5
    first, second = statuses(response)
    assert (first.version, first.state, first.error_code) == (1, "AVAILABLE", "OK")
    assert (second.version, second.state, second.error_code) == (2, "77", "NOT_FOUND")


def _metadata(type_url: str, value: bytes) -> GetModelMetadataResponse:
    response = GetModelMetadataResponse()
    response.metadata["signature_def"].type_url = type_url
    response.metadata["signature_def"].value = value
    return response


def test_signatures_have_shapes_with_free_sizes_and_dtypes_of_arrays() -> None:
    sent = SignatureDefMap()
    inputs = sent.signature_def["serving_default"].inputs
    inputs["image"].dtype = DT_FLOAT
    for size in (-1, 8):
        inputs["image"].tensor_shape.dim.add(size=size)
    inputs["any"].dtype = DT_VARIANT
    inputs["any"].tensor_shape.unknown_rank = True
    found = signatures(_metadata(SIGNATURE_DEF_MAP_TYPE_URL, sent.SerializeToString()))
    assert found["serving_default"].inputs == {
        "image": TensorSpec("DT_FLOAT", (None, 8), np.dtype("float32")),
        "any": TensorSpec("DT_VARIANT", None, None),
    }


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(GetModelMetadataResponse(), id="nothing"),
        pytest.param(_metadata("type.googleapis.com/other", b""), id="another type"),
        pytest.param(_metadata(SIGNATURE_DEF_MAP_TYPE_URL, b"\xff"), id="no message"),
    ],
)
def test_metadata_without_signatures_is_the_servers_fault(
    response: GetModelMetadataResponse,
) -> None:
    with pytest.raises(FormatError):
        signatures(response)
