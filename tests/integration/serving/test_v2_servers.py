"""The Open Inference Protocol over real sockets and mutual TLS."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from sealserve.messages import services
from sealserve.messages.open_inference_pb2 import (
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
    ServerLiveRequest,
    ServerLiveResponse,
    ServerReadyRequest,
    ServerReadyResponse,
)

ONES = np.ones((2, 2), np.float32)
INPUT = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 1, 1, 1]}
LENGTH = "Inference-Header-Content-Length"


@pytest.fixture
def channel(server: Any) -> Iterator[grpc.Channel]:
    with server.channel() as channel:
        yield channel


@pytest.fixture
def http(server: Any, tmp_path: Path) -> Iterator[httpx.Client]:
    with server.http(tmp_path, server.world.client) as client:
        yield client


def ask(channel: grpc.Channel, method: services.Method[Any, Any], request: Any) -> Any:
    call = channel.unary_unary(
        method.path, method.request.SerializeToString, method.response.FromString
    )
    return call(request, timeout=20)


def infer_request(**changes: Any) -> ModelInferRequest:
    made = ModelInferRequest(model_name="scale", id="7", raw_input_contents=[ONES.tobytes()])
    made.inputs.add(name="x", datatype="FP32", shape=changes.get("shape", [2, 2]))
    return made


def test_the_service_has_the_name_that_clients_know() -> None:
    assert services.MODEL_INFER.path == "/inference.GRPCInferenceService/ModelInfer"


def test_grpc_answers_in_binary_form(channel: grpc.Channel) -> None:
    answer: ModelInferResponse = ask(channel, services.MODEL_INFER, infer_request())
    arrays = {
        output.name: np.frombuffer(raw, np.float32).reshape(output.shape)
        for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }
    assert arrays["y"].tolist() == [[3, 3], [3, 3]]
    assert arrays["sum"].tolist() == [6, 6]
    assert (answer.id, answer.model_version) == ("7", "3")


def test_only_the_outputs_that_were_asked_for_come(channel: grpc.Channel) -> None:
    asked = infer_request()
    asked.outputs.add(name="sum")
    answer: ModelInferResponse = ask(channel, services.MODEL_INFER, asked)
    assert [output.name for output in answer.outputs] == ["sum"]
    assert len(answer.raw_output_contents) == 1


def test_grpc_tells_what_is_there_and_ready(channel: grpc.Channel) -> None:
    live: ServerLiveResponse = ask(channel, services.SERVER_LIVE, ServerLiveRequest())
    ready: ServerReadyResponse = ask(channel, services.SERVER_READY, ServerReadyRequest())
    model: ModelReadyResponse = ask(
        channel, services.MODEL_READY, ModelReadyRequest(name="scale", version="3")
    )
    assert (live.live, ready.ready, model.ready) == (True, True, True)
    metadata: ModelMetadataResponse = ask(
        channel, services.MODEL_METADATA, ModelMetadataRequest(name="scale")
    )
    assert list(metadata.versions) == ["3"]
    assert [(t.name, list(t.shape)) for t in metadata.outputs] == [("sum", [-1]), ("y", [-1, 2])]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff\xff", "INVALID_ARGUMENT"),
        (infer_request(shape=[2**40, 2]).SerializeToString(), "INVALID_ARGUMENT"),
        (ModelInferRequest(model_name="z").SerializeToString(), "NOT_FOUND"),
    ],
)
def test_grpc_refuses_with_a_status(channel: grpc.Channel, data: bytes, code: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(services.MODEL_INFER.path)(data, timeout=20)
    assert caught.value.code().name == code


def test_rest_answers_json_in_json(http: httpx.Client) -> None:
    response = http.post("/v2/models/scale/infer", json={"id": "7", "inputs": [INPUT]})
    assert response.status_code == 200
    assert LENGTH not in response.headers
    document = response.json()
    assert {output["name"]: output["data"] for output in document.pop("outputs")} == {
        "sum": [6.0, 6.0],
        "y": [3.0, 3.0, 3.0, 3.0],
    }
    assert document == {"id": "7", "model_name": "scale", "model_version": "3"}


def test_rest_takes_and_gives_binary_data_behind_json(http: httpx.Client) -> None:
    data = ONES.tobytes()
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "FP32",
                    "shape": [2, 2],
                    "parameters": {"binary_data_size": len(data)},
                }
            ],
            "outputs": [
                {"name": "y", "parameters": {"binary_data": True}},
                {"name": "sum"},
            ],
        }
    ).encode()
    response = http.post(
        "/v2/models/scale/versions/3/infer",
        content=head + data,
        headers={LENGTH: str(len(head)), "content-type": "application/octet-stream"},
    )
    length = int(response.headers[LENGTH])
    y, total = json.loads(response.content[:length])["outputs"]
    assert y["parameters"] == {"binary_data_size": 16}
    assert np.frombuffer(response.content[length:], np.float32).tolist() == [3, 3, 3, 3]
    assert total["data"] == [6.0, 6.0]


def test_rest_tells_what_is_there_and_ready(http: httpx.Client) -> None:
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True}
    assert http.get("/v2/models/scale/ready").json() == {"name": "scale", "ready": True}
    assert http.get("/v2").json()["name"] == "sealserve"
    assert http.get("/v2/models/scale").json()["platform"] == "tensorflow_savedmodel"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/other/ready", 404),
        ("GET", "/v2/models/scale/versions/9/ready", 404),
        ("GET", "/v2/models/scale/versions/v1", 400),
        ("GET", "/v2/models/scale/infer", 400),
        ("POST", "/v2/models/scale/infer", 400),
        ("POST", "/v2/models/other/infer", 400),
        ("POST", "/v2/repository/index", 400),
    ],
)
def test_rest_refuses_with_a_status_and_an_error(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    response = http.request(method, path)
    assert response.status_code == status
    assert list(response.json()) == ["error"]


def test_a_compressed_body_is_refused_by_name(http: httpx.Client) -> None:
    body = gzip.compress(json.dumps({"inputs": [INPUT]}).encode())
    response = http.post(
        "/v2/models/scale/infer", content=body, headers={"content-encoding": "gzip"}
    )
    assert response.status_code == 415
    assert "compressed" in response.json()["error"]


def test_who_has_no_certificate_is_not_answered(server: Any, tmp_path: Path) -> None:
    with server.http(tmp_path) as stranger, pytest.raises(httpx.TransportError):
        stranger.get("/v2/health/live")
