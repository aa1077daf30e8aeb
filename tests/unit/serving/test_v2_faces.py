"""The Open Inference Protocol over a real data plane: all datatypes in all forms, and metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from made_onnx import dense_model
from made_versions import HeldFiles
from open_inference import FIELDS, HALF, ONES, TYPES, Site, echo_model, infer_request
from sealserve.errors import NotFound, Unavailable
from sealserve.messages import services
from sealserve.messages.open_inference_pb2 import (
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
)
from sealserve.serving.engines.openvino import OpenVinoEngine
from sealserve.serving.faces.v2_tensors import DTYPES
from sealserve.serving.life.servable import Servable

EXTREMES: dict[str, list[Any]] = {
    name: [np.iinfo(dtype).min, np.iinfo(dtype).max]
    for name, dtype in DTYPES.items()
    if dtype.kind in "iu"
} | {
    "BOOL": [True, False],
    "FP16": [0.5, -2048.0],
    "FP32": [0.1, -3.4028235e38],
    "FP64": [0.1, 1.7976931348623157e308],
}
JSON_ONES = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 1]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.close()


def extremes(datatype: str) -> bytes:
    return np.array(EXTREMES[datatype], DTYPES[datatype]).tobytes()


@pytest.mark.parametrize("datatype", TYPES)
def test_binary_contents_come_back_in_binary_form(site: Site, datatype: str) -> None:
    answer = site.infer(infer_request(datatype, [extremes(datatype)], id="one"))
    assert (answer.id, answer.model_name, answer.model_version) == ("one", "echo", "7")
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", datatype, [1, 2])
    assert not output.HasField("contents")
    assert list(answer.raw_output_contents) == [extremes(datatype)]


@pytest.mark.parametrize("datatype", FIELDS)
def test_typed_contents_come_back_typed(site: Site, datatype: str) -> None:
    values = np.array(EXTREMES[datatype], DTYPES[datatype]).tolist()
    answer = site.infer(infer_request(datatype, [], contents=values))
    assert list(getattr(answer.outputs[0].contents, FIELDS[datatype])) == values
    assert not answer.raw_output_contents
    assert answer.id == ""


def test_an_output_without_a_typed_form_makes_the_answer_binary(site: Site) -> None:
    answer = site.infer(infer_request("FP32", [], contents=[0.5, 1], signature=HALF))
    assert list(answer.raw_output_contents) == [np.array([0.5, 1], np.float16).tobytes()]
    assert not answer.outputs[0].HasField("contents")


@pytest.mark.parametrize("datatype", TYPES)
def test_json_comes_back_as_json_flat_or_nested(site: Site, datatype: str) -> None:
    tensor = {"name": "x", "datatype": datatype, "shape": [1, 2]}
    parameters = {} if datatype == "FP32" else {"signature_name": datatype}
    for data in (EXTREMES[datatype], [EXTREMES[datatype]]):
        document, rest = site.post(
            {"id": "1", "parameters": parameters, "inputs": [{**tensor, "data": data}]}
        )
        assert rest == b""
        assert document == {
            "model_name": "echo",
            "model_version": "7",
            "id": "1",
            "outputs": [
                {"name": "y", "datatype": datatype, "shape": [1, 2], "data": EXTREMES[datatype]}
            ],
        }


@pytest.mark.parametrize("datatype", TYPES)
def test_the_binary_extension_carries_data_behind_the_json(site: Site, datatype: str) -> None:
    sent = extremes(datatype)
    tensor = {"name": "x", "datatype": datatype, "shape": [1, 2]}
    parameters = {"binary_data_output": True}
    if datatype != "FP32":
        parameters["signature_name"] = datatype
    tensor["parameters"] = {"binary_data_size": len(sent)}
    document, rest = site.post({"parameters": parameters, "inputs": [tensor]}, sent)
    (output,) = document["outputs"]
    assert output["parameters"] == {"binary_data_size": len(sent)}
    assert "data" not in output
    assert rest == sent


@pytest.mark.parametrize(
    ("outputs", "everything", "binary"),
    [
        ([{"name": "y", "parameters": {"binary_data": True}}], False, True),
        ([{"name": "y", "parameters": {"binary_data": False}}], True, False),
        ([{"name": "y"}], True, True),
        ([], True, True),
        ([{"name": "y"}], False, False),
        ([], False, False),
    ],
)
def test_an_output_says_for_itself_how_it_wants_to_come(
    site: Site, outputs: list[Any], everything: bool, binary: bool
) -> None:
    parameters = {"binary_data_output": everything}
    document, rest = site.post(
        {"inputs": [JSON_ONES], "outputs": outputs, "parameters": parameters}
    )
    assert (rest == ONES) == binary
    assert ("data" in document["outputs"][0]) != binary


@pytest.mark.parametrize("form", ["raw", "typed", "nothing"])
def test_tensors_may_be_empty(site: Site, form: str) -> None:
    changes = {"contents": []} if form == "typed" else {}
    asked = infer_request("FP32", [b""] if form == "raw" else [], shape=[0, 2], **changes)
    answer = site.infer(asked)
    assert list(answer.outputs[0].shape) == [0, 2]
    assert list(answer.raw_output_contents) == ([] if form == "typed" else [b""])


def test_tensors_may_be_empty_in_json(site: Site) -> None:
    document, _ = site.post({"inputs": [{**JSON_ONES, "shape": [0, 2], "data": []}]})
    assert document["outputs"][0]["data"] == []


def test_nan_and_infinity_stand_for_themselves_in_json(site: Site) -> None:
    tensor = '{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [NaN, 1e0, -Infinity]}'
    body = f'{{"inputs": [{tensor}]}}'.encode()
    answer = site.rest("POST", "/v2/models/echo/infer", body)
    assert b'"data": [NaN, 1.0, -Infinity]' in answer.body


def test_a_parameter_that_nobody_knows_is_ignored(site: Site) -> None:
    asked = infer_request("FP32", [ONES])
    asked.parameters["priority"].uint64_param = 1
    asked.parameters["timeout"].int64_param = 5
    asked.parameters["nothing"].SetInParent()
    asked.inputs[0].parameters["content_type"].string_param = "np"
    assert list(site.infer(asked).raw_output_contents) == [ONES]


def test_metadata_tells_the_default_signature_with_its_free_sizes(site: Site) -> None:
    asked = ModelMetadataRequest(name="echo").SerializeToString()
    found = ModelMetadataResponse.FromString(site.grpc(services.MODEL_METADATA, asked))
    assert (found.name, list(found.versions), found.platform) == (
        "echo",
        ["7"],
        "tensorflow_savedmodel",
    )
    assert dict(found.properties) == {"engine": "E 1"}
    (tensor,) = found.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("x", "FP32", [-1, -1])
    for path in ("/v2/models/echo", "/v2/models/echo/versions/7"):
        assert json.loads(site.rest("GET", path).body) == {
            "name": "echo",
            "versions": ["7"],
            "platform": "tensorflow_savedmodel",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, -1]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, -1]}],
            "properties": {"engine": "E 1"},
        }


def test_the_platform_is_the_format_of_the_version(engine: OpenVinoEngine) -> None:
    model = echo_model().SerializeToString()
    weights = np.ones((2, 2), np.float32)
    for files, platform in (
        ({"saved_model.pb": model}, "tensorflow_savedmodel"),
        ({"model.onnx": dense_model(weights)}, "onnx_onnxv1"),
    ):
        loaded = engine.load(HeldFiles(files), ["serve"])
        assert Servable("m", 1, loaded).platform == platform


@pytest.mark.parametrize(
    ("name", "version", "ready"),
    [("echo", "", True), ("echo", "7", True), ("echo", "8", False), ("z", "", False)],
)
def test_a_model_is_ready_if_it_can_be_asked(
    site: Site, name: str, version: str, ready: bool
) -> None:
    asked = ModelReadyRequest(name=name, version=version).SerializeToString()
    found = ModelReadyResponse.FromString(site.grpc(services.MODEL_READY, asked))
    assert found.ready == ready
    path = f"/v2/models/{name}{f'/versions/{version}' if version else ''}/ready"
    if ready:
        assert json.loads(site.rest("GET", path).body) == {"name": name, "ready": True}
        return
    with pytest.raises(NotFound):
        site.rest("GET", path)


def test_the_server_tells_its_name_and_its_extensions(site: Site) -> None:
    found = ServerMetadataResponse.FromString(site.grpc(services.SERVER_METADATA, b""))
    told = {"name": "sealserve", "version": found.version, "extensions": ["binary_tensor_data"]}
    assert json.loads(site.rest("GET", "/v2").body) == told
    assert (found.name, list(found.extensions)) == ("sealserve", ["binary_tensor_data"])


def test_the_server_is_ready_when_its_readiness_says_so(site: Site) -> None:
    def told() -> bool:
        return ServerReadyResponse.FromString(site.grpc(services.SERVER_READY, b"")).ready

    assert not told()
    with pytest.raises(Unavailable):
        site.rest("GET", "/v2/health/ready")
    site.readiness.turn_on()
    assert told()
    assert json.loads(site.rest("GET", "/v2/health/ready").body) == {"ready": True}
    assert json.loads(site.rest("GET", "/v2/health/live").body) == {"live": True}
