"""The same arrays in four protocols."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sealserve.client.load import json_shot, make_shot
from sealserve.errors import InvalidArgument
from sealserve.messages.open_inference_pb2 import ModelInferRequest
from sealserve.messages.wire import decode_predict_request

X = np.float32([[1, 2], [3, 4]])


def test_tensorflow_servings_grpc() -> None:
    shot = make_shot("grpc", "m", {"x": X}, signature="s", version=3)
    request = decode_predict_request(shot.body)
    assert shot.path == "/tensorflow.serving.PredictionService/Predict"
    assert (request.spec.name, request.spec.version, request.spec.signature) == ("m", 3, "s")
    assert np.array_equal(request.inputs.array("x", limit_bytes=100), X)


def test_tensorflow_servings_rest() -> None:
    shot = make_shot("rest", "a/b", {"x": X}, signature="s", version=3)
    assert (shot.path, shot.media_type) == (
        "/v1/models/a%2Fb/versions/3:predict",
        "application/json",
    )
    assert json.loads(shot.body) == {"signature_name": "s", "inputs": {"x": X.tolist()}}


def test_bytes_and_texts_are_wrapped_in_rest() -> None:
    shot = make_shot("rest", "m", {"x": np.array([[b"\xff", "é"]], object)})
    assert json.loads(shot.body)["inputs"]["x"] == [[{"b64": "/w=="}, {"b64": "w6k="}]]


def test_the_open_inference_protocols_grpc() -> None:
    shot = make_shot("v2-grpc", "m", {"x": X.astype(">f4")}, version=3)
    request = ModelInferRequest.FromString(shot.body)
    assert shot.path == "/inference.GRPCInferenceService/ModelInfer"
    assert (request.model_name, request.model_version) == ("m", "3")
    [tensor] = request.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("x", "FP32", [2, 2])
    assert request.raw_input_contents[0] == X.tobytes()


def test_the_open_inference_protocols_rest() -> None:
    shot = make_shot("v2-rest", "m", {"x": X.astype(np.int8)})
    assert shot.path == "/v2/models/m/infer"
    [tensor] = json.loads(shot.body)["inputs"]
    assert tensor == {"name": "x", "datatype": "INT8", "shape": [2, 2], "data": [1, 2, 3, 4]}


def test_a_body_of_ones_own_goes_as_it_is() -> None:
    shot = json_shot("m", {"instances": [1]})
    assert (shot.path, json.loads(shot.body)) == ("/v1/models/m:predict", {"instances": [1]})


@pytest.mark.parametrize(
    ("protocol", "array"),
    [
        pytest.param("rest", np.float32([np.nan]), id="no number in JSON"),
        pytest.param("rest", np.complex64([1j]), id="complex in JSON"),
        pytest.param("rest", np.array([1, None], object), id="objects in JSON"),
        pytest.param("v2-rest", np.float32([np.inf]), id="infinity in JSON"),
        pytest.param("v2-grpc", np.array([b"x"], object), id="bytes in binary"),
        pytest.param("v2-rest", np.complex64([1j]), id="complex"),
        pytest.param("grpc", np.array([object()]), id="objects"),
    ],
)
def test_what_a_protocol_has_no_form_for_is_refused(protocol: str, array: np.ndarray) -> None:
    with pytest.raises(InvalidArgument):
        make_shot(protocol, "m", {"x": array})  # type: ignore[arg-type]
