"""The gRPC face over real TLS: answers, errors, deadlines, limits."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from sealserve.errors import (
    FailedPrecondition,
    NetworkError,
    NotFound,
    UsageError,
)
from sealserve.messages import SIGNATURE_DEF_MAP_TYPE_URL, tensor_pb2
from sealserve.messages.inference_pb2 import ClassificationRequest
from sealserve.messages.metadata_pb2 import GetModelMetadataRequest
from sealserve.messages.predict_pb2 import PredictRequest, PredictResponse
from sealserve.messages.services import CLASSIFY, GET_MODEL_METADATA, GET_MODEL_STATUS, PREDICT
from sealserve.messages.status_pb2 import GetModelStatusRequest
from sealserve.messages.tensors import to_proto
from sealserve.serving.faces import grpc as grpc_face

ONES = np.ones((2, 2), np.float32)


@pytest.fixture
def channel(server: Any) -> Iterator[grpc.Channel]:
    with server.channel() as channel:
        yield channel


def call(channel: grpc.Channel, path: str, data: bytes, timeout: float = 20) -> bytes:
    answer: bytes = channel.unary_unary(path)(data, timeout=timeout)
    return answer


def refused(channel: grpc.Channel, path: str, data: bytes) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, path, data)
    return caught.value.code().name, caught.value.details()


def request(**changes: Any) -> PredictRequest:
    made = PredictRequest()
    made.model_spec.name = changes.get("model", "scale")
    made.model_spec.signature_name = changes.get("signature", "")
    if "version" in changes:
        made.model_spec.version.value = changes["version"]
    if "label" in changes:
        made.model_spec.version_label = changes["label"]
    for alias, array in changes.get("inputs", {"x": ONES}).items():
        made.inputs[alias].CopyFrom(to_proto(array))
    made.output_filter.extend(changes.get("output_filter", []))
    return made


def answered_again(channel: grpc.Channel) -> None:
    """A place is free again, as soon as gRPC has noticed that a call is over."""
    for _ in range(100):
        try:
            assert call(channel, PREDICT.path, request().SerializeToString())
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            time.sleep(0.05)
        else:
            return
    pytest.fail("the place is never free again")


def test_our_client_gets_the_answer_over_mutual_tls(server: Any) -> None:
    with server.client(server.world.client) as client:
        outputs = client.predict("scale", {"x": ONES})
    assert outputs["y"].tolist() == [[3, 3], [3, 3]]
    assert outputs["sum"].tolist() == [6, 6]


@pytest.mark.parametrize("who", ["nobody", "stranger"])
def test_a_client_without_a_certificate_of_ours_gets_nothing(server: Any, who: str) -> None:
    pair = server.world.stranger if who == "stranger" else None
    with (
        server.client(pair) as client,
        pytest.raises(NetworkError),
    ):
        client.predict("scale", {"x": ONES}, timeout=10)


def test_over_one_way_tls_no_client_needs_a_certificate(
    start: Any, publish: Any, tmp_path: Path
) -> None:
    publish(tmp_path / "scale", 2)
    running = start(tmp_path / "scale", mutual=False)
    with running.client() as client:
        assert client.predict("scale", {"x": ONES})["sum"].tolist() == [4, 4]


def test_without_rest_tls_needs_no_file_in_memory(
    start: Any, publish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> int:
        raise OSError(errno.ENOSYS, "as in Gramine")

    monkeypatch.setattr(os, "memfd_create", none)
    publish(tmp_path / "scale", 2)
    running = start(tmp_path / "scale", rest_api_port=None)
    assert running.listening.rest is None
    with running.client(running.world.client) as client:
        assert client.predict("scale", {"x": ONES})["sum"].tolist() == [4, 4]
    with pytest.raises(FailedPrecondition, match="memory"):
        start(tmp_path / "scale")


def test_the_answer_says_which_model_version_and_signature_gave_it(
    channel: grpc.Channel,
) -> None:
    data = request(output_filter=["sum"]).SerializeToString()
    answer = PredictResponse.FromString(call(channel, PREDICT.path, data))
    assert answer.model_spec.name == "scale"
    assert answer.model_spec.version.value == 3
    assert answer.model_spec.signature_name == "serving_default"
    assert list(answer.outputs) == ["sum"]


def test_version_0_is_the_default_as_clients_of_openvino_model_server_mean_it(
    channel: grpc.Channel,
) -> None:
    data = request(version=0).SerializeToString()
    answer = PredictResponse.FromString(call(channel, PREDICT.path, data))
    assert answer.model_spec.version.value == 3
    asked = GetModelStatusRequest(model_spec={"name": "scale", "version": {"value": 0}})
    status = call(channel, GET_MODEL_STATUS.path, asked.SerializeToString())
    (version,) = GET_MODEL_STATUS.response.FromString(status).model_version_status
    assert version.version == 3


WRONG_REQUESTS = {
    "no-model-named": (
        {"model": ""},
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    ),
    "unknown-model": (
        {"model": "other"},
        "NOT_FOUND",
        "Servable not found for request: Latest(other)",
    ),
    "unknown-version": (
        {"version": 9},
        "NOT_FOUND",
        "Servable not found for request: Specific(scale, 9)",
    ),
    "unknown-label": (
        {"label": "stable"},
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: stable",
    ),
    "unknown-signature": (
        {"signature": "other"},
        "FAILED_PRECONDITION",
        'Serving signature key "other" not found.',
    ),
    "no-inputs": (
        {"inputs": {}},
        "INVALID_ARGUMENT",
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. "
        "Missing but required: {x}.",
    ),
    "dtype": (
        {"inputs": {"x": np.ones((2, 2))}},
        "INVALID_ARGUMENT",
        "input 'x': expected DT_FLOAT, found DT_DOUBLE",
    ),
    "shape": (
        {"inputs": {"x": np.ones((2, 3), np.float32)}},
        "INVALID_ARGUMENT",
        "input 'x': expected shape [-1,2], found [2,3]",
    ),
    "unknown-output": (
        {"output_filter": ["z"]},
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: z Outputs expected to be in the set {sum,y}.",
    ),
}


@pytest.mark.parametrize(
    ("changes", "code", "text"), WRONG_REQUESTS.values(), ids=WRONG_REQUESTS.keys()
)
def test_wrong_requests_have_the_codes_and_texts_of_the_stock_server(
    changes: dict[str, Any], code: str, text: str, channel: grpc.Channel
) -> None:
    data = request(**changes).SerializeToString()
    assert refused(channel, PREDICT.path, data) == (code, text)


def test_a_tensor_that_claims_more_than_it_holds_is_refused_by_name(
    channel: grpc.Channel,
) -> None:
    made = request()
    made.inputs["x"].tensor_shape.dim[0].size = 1 << 40
    code, text = refused(channel, PREDICT.path, made.SerializeToString())
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("input 'x': the tensor takes 8796093022208 bytes; the limit is")


def test_one_value_may_stand_for_a_whole_tensor(channel: grpc.Channel) -> None:
    made = request(inputs={})
    made.inputs["x"].dtype = tensor_pb2.DT_FLOAT
    for size in (3, 2):
        made.inputs["x"].tensor_shape.dim.add(size=size)
    made.inputs["x"].float_val.append(2)
    answer = PredictResponse.FromString(call(channel, PREDICT.path, made.SerializeToString()))
    assert np.frombuffer(answer.outputs["y"].tensor_content, "<f4").tolist() == [6] * 6


def test_bytes_that_are_no_request_are_an_invalid_argument(channel: grpc.Channel) -> None:
    for method in (PREDICT, GET_MODEL_METADATA, GET_MODEL_STATUS):
        code, text = refused(channel, method.path, b"\xff\xff\xff")
        assert code == "INVALID_ARGUMENT"
        assert text == f"the bytes are no {method.request.DESCRIPTOR.name}"


@pytest.mark.parametrize(
    "path",
    [
        "/tensorflow.serving.PredictionService/Divine",
        "/tensorflow.serving.SessionService/SessionRun",
        "/nowhere/Predict",
    ],
)
def test_methods_that_are_not_served_are_unimplemented(path: str, channel: grpc.Channel) -> None:
    assert refused(channel, path, b"")[0] == "UNIMPLEMENTED"


def test_a_classification_by_a_signature_that_takes_no_examples_says_what_it_lacks(
    channel: grpc.Channel,
) -> None:
    asked = ClassificationRequest(model_spec={"name": "scale"})
    asked.input.example_list.examples.add()
    told = refused(channel, CLASSIFY.path, asked.SerializeToString())
    text = "No classification inputs found in SignatureDef: serving_default"
    assert told == ("INVALID_ARGUMENT", text)


def test_a_request_beyond_the_limit_is_refused_before_it_is_read(channel: grpc.Channel) -> None:
    large = request(inputs={"x": np.ones((200_000, 2), np.float32)}).SerializeToString()
    assert refused(channel, PREDICT.path, large)[0] == "RESOURCE_EXHAUSTED"


def test_metadata_names_the_stock_servers_type(channel: grpc.Channel, server: Any) -> None:
    asked = GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "scale"
    data = call(channel, GET_MODEL_METADATA.path, asked.SerializeToString())
    answer = GET_MODEL_METADATA.response.FromString(data)
    assert answer.model_spec.version.value == 3
    assert answer.metadata["signature_def"].type_url == SIGNATURE_DEF_MAP_TYPE_URL
    with server.client(server.world.client) as client:
        assert client.metadata("scale")["serving_default"].inputs["x"].shape == (None, 2)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (GetModelMetadataRequest(), "Missing ModelSpec"),
        (GetModelMetadataRequest(model_spec={"name": "scale"}), "at least one metadata_field"),
        (
            GetModelMetadataRequest(model_spec={"name": "scale"}, metadata_field=["x"]),
            "Metadata field x is not supported",
        ),
    ],
    ids=["no-model", "no-field", "unknown-field"],
)
def test_metadata_is_asked_for_by_field(
    asked: GetModelMetadataRequest, text: str, channel: grpc.Channel
) -> None:
    code, details = refused(channel, GET_MODEL_METADATA.path, asked.SerializeToString())
    assert code == "INVALID_ARGUMENT"
    assert text in details


def test_status_tells_the_state_of_versions(channel: grpc.Channel) -> None:
    asked = GetModelStatusRequest(model_spec={"name": "scale"})
    data = call(channel, GET_MODEL_STATUS.path, asked.SerializeToString())
    (version,) = GET_MODEL_STATUS.response.FromString(data).model_version_status
    assert (version.version, version.state, version.status.error_code) == (3, version.AVAILABLE, 0)
    asked.model_spec.version.value = 9
    wrong = refused(channel, GET_MODEL_STATUS.path, asked.SerializeToString())
    assert wrong == ("NOT_FOUND", "Could not find version 9 of model scale")
    other = GetModelStatusRequest(model_spec={"name": "other"}).SerializeToString()
    wrong = refused(channel, GET_MODEL_STATUS.path, other)
    assert wrong == ("NOT_FOUND", "Could not find any versions of model other")


def test_a_client_that_never_sends_its_message_loses_its_place(
    start: Any, publish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_face, "MESSAGE_SECONDS", 0.3)
    publish(tmp_path / "scale", 1)
    running = start(tmp_path / "scale", max_concurrent_requests=1)
    done = threading.Event()

    def silence() -> Iterator[bytes]:
        done.wait(20)
        yield from ()

    with running.channel() as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary(PREDICT.path)(silence(), timeout=20)
        assert caught.value.code().name == "DEADLINE_EXCEEDED"
        assert caught.value.details() == "the request did not arrive in time"
        done.set()
        answered_again(channel)


def test_a_call_without_a_message_is_an_invalid_argument(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary(PREDICT.path)(iter(()), timeout=20)
    assert caught.value.code().name == "INVALID_ARGUMENT"


def test_more_calls_than_allowed_are_refused_at_once(
    start: Any, publish: Any, tmp_path: Path
) -> None:
    publish(tmp_path / "scale", 1)
    running = start(tmp_path / "scale", max_concurrent_requests=1)
    running.engine.gate.clear()
    data = request().SerializeToString()
    with running.channel() as channel, ThreadPoolExecutor(1) as threads:
        inside = threads.submit(call, channel, PREDICT.path, data)
        while not running.engine.seen:
            time.sleep(0.01)
        assert refused(channel, PREDICT.path, data)[0] == "RESOURCE_EXHAUSTED"
        running.engine.gate.set()
        assert inside.result()
        answered_again(channel)


def test_batches_are_formed_across_calls(start: Any, publish: Any, tmp_path: Path) -> None:
    publish(tmp_path / "scale", 2)
    running = start(tmp_path / "scale", enable_batching=True)
    running.engine.gate.clear()
    with running.client(running.world.client) as client, ThreadPoolExecutor(8) as threads:
        first = threads.submit(client.predict, "scale", {"x": ONES})
        while not running.engine.seen:
            time.sleep(0.01)
        rest = [
            threads.submit(client.predict, "scale", {"x": np.full((1, 2), value, np.float32)})
            for value in range(6)
        ]
        time.sleep(0.5)
        running.engine.gate.set()
        assert first.result()["sum"].tolist() == [4, 4]
        assert [future.result()["y"][0, 0] for future in rest] == [0, 2, 4, 6, 8, 10]
    assert max(running.engine.seen) > 1
    assert len(running.engine.seen) < 7


def test_a_running_call_is_answered_before_the_server_ends(
    start: Any, publish: Any, tmp_path: Path
) -> None:
    publish(tmp_path / "scale", 2)
    running = start(tmp_path / "scale")
    running.engine.gate.clear()
    with running.client(running.world.client) as client, ThreadPoolExecutor(1) as threads:
        call_ = threads.submit(client.predict, "scale", {"x": ONES})
        while not running.engine.seen:
            time.sleep(0.01)
        running.stop()
        assert call_.result()["sum"].tolist() == [4, 4]


def test_a_port_that_is_taken_is_refused(
    server: Any, start: Any, publish: Any, tmp_path: Path
) -> None:
    publish(tmp_path / "scale", 1)
    with pytest.raises(UsageError, match=r"cannot listen on .* for gRPC"):
        start(tmp_path / "scale", port=server.listening.grpc.port)
    with pytest.raises(UsageError, match=r"cannot listen on .* for REST"):
        start(tmp_path / "scale", rest_api_port=server.listening.rest.port)


def test_an_ipv6_address_can_be_listened_on(start: Any, publish: Any, tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")
    publish(tmp_path / "scale", 1)
    running = start(tmp_path / "scale", host="::1")
    assert str(running.listening.grpc).startswith("[::1]:")
    with running.client(running.world.client, server_name="localhost") as client:
        assert client.predict("scale", {"x": ONES})["sum"].tolist() == [2, 2]


def test_several_models_are_served_by_a_model_configuration(
    start: Any, publish: Any, tmp_path: Path
) -> None:
    for name, version in (("a", 2), ("a", 4), ("b", 7)):
        publish(tmp_path / name, version)
    entries = (
        f'config {{ name: "a" base_path: "{tmp_path}/a" model_platform: "tensorflow" '
        f"model_version_policy {{ all {{}} }} "
        f'version_labels {{ key: "old" value: 2 }} }}',
        f'config {{ name: "b" base_path: "{tmp_path}/b" model_platform: "tensorflow" }}',
    )
    configuration = tmp_path / "models.config"
    configuration.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    running = start(
        Path(),
        model_base_path="",
        model_config_file=str(configuration),
        model_config_file_poll_wait_seconds=1,
        file_system_poll_wait_seconds=1,
    )
    with running.client(running.world.client) as client, running.channel() as channel:
        assert client.predict("a", {"x": ONES})["sum"].tolist() == [8, 8]
        assert client.predict("a", {"x": ONES}, version=2)["sum"].tolist() == [4, 4]
        labelled = request(model="a", label="old").SerializeToString()
        answer = PredictResponse.FromString(call(channel, PREDICT.path, labelled))
        assert answer.model_spec.version.value == 2
        assert client.predict("b", {"x": ONES})["sum"].tolist() == [14, 14]
        configuration.write_text(f"model_config_list {{ {entries[1]} }}")
        with pytest.raises(NotFound):
            while True:
                client.predict("a", {"x": ONES})
                time.sleep(0.05)
        assert client.predict("b", {"x": ONES})["sum"].tolist() == [14, 14]
