"""gRPC's health service and reflection, over the server's own mutual TLS."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)

from sealserve.serving.faces import streams

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
PREDICTION = "tensorflow.serving.PredictionService"


@pytest.fixture(scope="module")
def channel(server: Any) -> Iterator[grpc.Channel]:
    with server.channel() as channel:
        yield channel


@pytest.mark.parametrize(
    "service", ["", PREDICTION, "tensorflow.serving.ModelService", "ModelService"]
)
def test_the_server_and_its_services_are_serving(channel: grpc.Channel, service: str) -> None:
    answer = HealthStub(channel).Check(HealthCheckRequest(service=service), timeout=20)
    assert answer.status == SERVING


def test_an_unknown_service_is_not_found_and_a_watch_says_that_it_is_unknown(
    channel: grpc.Channel,
) -> None:
    health, asked = HealthStub(channel), HealthCheckRequest(service="nobody")
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(asked, timeout=20)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    watch = health.Watch(asked, timeout=20)
    assert next(watch).status == HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_bytes_that_are_no_request_are_an_invalid_argument(channel: grpc.Channel) -> None:
    for method in ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"):
        with pytest.raises(grpc.RpcError) as caught:
            list(channel.unary_stream(method)(b"\xff\xff", timeout=20))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_without_a_certificate_nobody_hears_of_the_servers_health(server: Any) -> None:
    credentials = grpc.ssl_channel_credentials(server.world.authority.certificate_pem)
    with (
        grpc.secure_channel(str(server.listening.grpc), credentials) as stranger,
        pytest.raises(grpc.RpcError) as caught,
    ):
        HealthStub(stranger).Check(HealthCheckRequest(), timeout=20)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_watches_are_told_that_the_server_ends_and_do_not_keep_it(
    start: Any, publish: Any, tmp_path: Path
) -> None:
    publish(tmp_path / "scale", 1)
    running = start(tmp_path / "scale", shutdown_timeout_seconds=60)
    with running.channel() as channel:
        watches = [HealthStub(channel).Watch(HealthCheckRequest(), timeout=30) for _ in range(3)]
        assert [next(watch).status for watch in watches] == [SERVING] * 3
        threading.Thread(target=running.stop).start()
        assert [next(watch).status for watch in watches] == [NOT_SERVING] * 3
        assert [list(watch) for watch in watches] == [[]] * 3
        running.stop()  # waits, and not for 60 s


def test_there_is_a_limit_to_watches(
    start: Any, publish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path / "scale", 1)
    monkeypatch.setattr(streams, "OPEN_CALLS", 2)
    running = start(tmp_path / "scale")
    with running.channel() as channel:
        health = HealthStub(channel)
        watches = [health.Watch(HealthCheckRequest(), timeout=30) for _ in range(2)]
        assert [next(watch).status for watch in watches] == [SERVING] * 2
        with pytest.raises(grpc.RpcError) as caught:
            next(health.Watch(HealthCheckRequest(), timeout=30))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert health.Check(HealthCheckRequest(), timeout=20).status == SERVING


@pytest.fixture
def reflected(channel: grpc.Channel) -> DescriptorPool:
    return DescriptorPool(ProtoReflectionDescriptorDatabase(channel))


def test_reflection_names_the_services_of_the_wire(channel: grpc.Channel) -> None:
    names = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert {
        PREDICTION,
        "tensorflow.serving.ModelService",
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    } <= names
    assert not [name for name in names if "sealserve" in name]


def test_a_model_is_called_by_what_reflection_says_alone(
    channel: grpc.Channel, reflected: DescriptorPool
) -> None:
    method = reflected.FindServiceByName(PREDICTION).FindMethodByName("Predict")
    request, response = (
        message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type)
    )
    assert method.input_type.full_name == "tensorflow.serving.PredictRequest"
    tensor = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": 1}, {"size": 2}]}}
    inputs = {"x": {**tensor, "float_val": [1, 2]}}
    document = {"model_spec": {"name": "scale"}, "inputs": inputs}
    answer = channel.unary_unary(
        f"/{PREDICTION}/Predict", response_deserializer=response.FromString
    )(json_format.ParseDict(document, request()).SerializeToString(), timeout=20)
    assert np.frombuffer(answer.outputs["y"].tensor_content, "<f4").tolist() == [3, 6]
    assert answer.outputs["y"].DESCRIPTOR.full_name == "tensorflow.TensorProto"


def test_the_metadata_that_names_its_type_is_found_by_that_name(reflected: DescriptorPool) -> None:
    found = reflected.FindMessageTypeByName("tensorflow.serving.SignatureDefMap")
    kind = found.fields_by_name["signature_def"].message_type.fields_by_name["value"].message_type
    assert kind.full_name == "tensorflow.SignatureDef"


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_is_reached_under_both_names(channel: grpc.Channel, version: str) -> None:
    method = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    symbol = f"grpc.reflection.{version}.ServerReflectionRequest"
    asked = [
        ServerReflectionRequest(file_containing_symbol=symbol),
        ServerReflectionRequest(file_containing_symbol="no.such"),
    ]
    known, unknown = method(iter(asked), timeout=20)
    assert known.file_descriptor_response.file_descriptor_proto
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
