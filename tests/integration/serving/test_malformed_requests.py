"""Malformed requests of every kind: one code each, and the server serves on as if nothing was.

What is wrong is in the table's first column; each is sent over mutual TLS to the real server, and
after each a right request is answered.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from sealserve.messages import tensor_pb2
from sealserve.messages.predict_pb2 import PredictRequest
from sealserve.messages.services import GET_MODEL_METADATA, GET_MODEL_STATUS, PREDICT
from sealserve.messages.tensor_pb2 import TensorProto
from sealserve.messages.tensors import to_proto

PATH = "/v1/models/scale:predict"
ONES = np.ones((2, 2), np.float32)
DEEP = 100_000
LIMIT = 1 << 20  # bytes of a request: the fixture's flag


def tensor(**changes: Any) -> TensorProto:
    """The right tensor, float32 [2,2] of ones, with fields changed."""
    made = to_proto(ONES)
    shape = changes.pop("shape", None)
    if shape is not None:
        del made.tensor_shape.dim[:]
        for size in shape:
            made.tensor_shape.dim.add(size=size)
    for name, value in changes.items():
        if isinstance(value, list):
            getattr(made, name).extend(value)
        else:
            setattr(made, name, value)
    return made


def request(inputs: dict[str, TensorProto] | None = None, **spec: Any) -> PredictRequest:
    made = PredictRequest(model_spec={"name": "scale", **spec})
    for alias, proto in ({"x": tensor()} if inputs is None else inputs).items():
        made.inputs[alias].CopyFrom(proto)
    return made


def unknown_rank() -> TensorProto:
    made = tensor(shape=[])
    made.tensor_shape.unknown_rank = True
    return made


RIGHT = request().SerializeToString()
INVALID, NOT_FOUND = "INVALID_ARGUMENT", "NOT_FOUND"
FLOAT, DOUBLE, STRING = tensor_pb2.DT_FLOAT, tensor_pb2.DT_DOUBLE, tensor_pb2.DT_STRING

GRPC: dict[str, tuple[bytes | PredictRequest, str]] = {
    "not a message": (b"\xff\xff\xff", INVALID),
    "nothing": (b"", INVALID),
    "cut off": (RIGHT[:-3], INVALID),
    "a length beyond the end": (b"\x0a\xff\xff\xff\xff\x07scale", INVALID),
    "a length of ten bytes": (b"\x0a" + b"\xff" * 10, INVALID),
    "a group that never ends": (b"\x0b" * 50, INVALID),
    "groups in groups": (b"\x0b" * DEEP, INVALID),
    "no UTF-8 in the name": (b"\x0a\x03\x0a\x01\xff", INVALID),
    "no name": (request(name=""), INVALID),
    "unknown model": (request(name="other"), NOT_FOUND),
    "a very long name": (request(name="n" * 100_000), NOT_FOUND),
    "unknown version": (request(version={"value": 99}), NOT_FOUND),
    "a version below zero": (request(version={"value": -1}), NOT_FOUND),
    "unknown label": (request(version_label="gold"), INVALID),
    "unknown signature": (request(signature_name="other"), "FAILED_PRECONDITION"),
    "no input": (request({}), INVALID),
    "an unknown input": (request({"z": tensor()}), INVALID),
    "one input too many": (request({"x": tensor(), "z": tensor()}), INVALID),
    "no dtype": (request({"x": tensor(dtype=0)}), INVALID),
    "a dtype that there is not": (request({"x": tensor(dtype=77)}), INVALID),
    "a dtype below zero": (request({"x": tensor(dtype=-1)}), INVALID),
    "a resource": (request({"x": tensor(dtype=tensor_pb2.DT_RESOURCE)}), INVALID),
    "another dtype": (request({"x": to_proto(ONES.astype(np.float64))}), INVALID),
    "strings": (request({"x": to_proto(np.array([[b"a", b"b"]], object))}), INVALID),
    "rank 1": (request({"x": to_proto(np.ones(2, np.float32))}), INVALID),
    "rank 0": (request({"x": to_proto(np.float32(1))}), INVALID),
    "another size": (request({"x": to_proto(np.ones((2, 3), np.float32))}), INVALID),
    "unknown rank": (request({"x": unknown_rank()}), INVALID),
    "a size below zero": (request({"x": tensor(shape=[-2, 2])}), INVALID),
    "a shape of exabytes": (request({"x": tensor(shape=[2**60, 2])}), INVALID),
    "a shape that overflows": (request({"x": tensor(shape=[2**62, 2**62])}), INVALID),
    "an overflow beside a zero": (request({"x": tensor(shape=[0, 2**62, 2**62])}), INVALID),
    "300 dimensions": (request({"x": tensor(shape=[1] * 300)}), INVALID),
    "less content than the shape": (request({"x": tensor(shape=[3, 2])}), INVALID),
    "more content than the shape": (request({"x": tensor(shape=[1, 2])}), INVALID),
    "half a number": (request({"x": tensor(tensor_content=b"\0" * 15)}), INVALID),
    "content and values": (request({"x": tensor(float_val=[1.0])}), INVALID),
    "values of another dtype": (
        request({"x": tensor(tensor_content=b"", int_val=[1, 2, 3, 4])}),
        INVALID,
    ),
    "too many values": (request({"x": tensor(tensor_content=b"", float_val=[1.0] * 5)}), INVALID),
    "one value for exabytes": (
        request({"x": tensor(shape=[2**40, 2], tensor_content=b"", float_val=[1.0])}),
        INVALID,
    ),
    "a string's length beyond the end": (
        request({"x": tensor(dtype=STRING, tensor_content=b"\x7f\x7f\x7f\x7fab")}),
        INVALID,
    ),
    "beyond the limit": (
        request({"x": tensor(tensor_content=b"\0" * LIMIT)}),
        "RESOURCE_EXHAUSTED",
    ),
}

REST: dict[str, tuple[str | bytes, int]] = {
    "an empty body": ("", 400),
    "no JSON": ("{", 400),
    "two documents": ('{"inputs": [[1, 2]]} {}', 400),
    "a list": ("[]", 400),
    "a number": ("1", 400),
    "null": ("null", 400),
    "no UTF-8": (b'{"inputs": "\xff"}', 400),
    "UTF-16": ('{"inputs": [[1, 2]]}'.encode("utf-16"), 400),
    "deep lists": ("[" * DEEP, 400),
    "deep objects": ('{"a":' * DEEP, 400),
    "deep instances": ('{"instances":' + "[" * 900 + "1" + "]" * 900 + "}", 400),
    "neither form": ("{}", 400),
    "both forms": ('{"inputs": [[1, 2]], "instances": [[1, 2]]}', 400),
    "no instances": ('{"instances": []}', 400),
    "instances that are an object": ('{"instances": {"x": [1, 2]}}', 400),
    "instances that are null": ('{"instances": null}', 400),
    "named and bare instances": ('{"instances": [{"x": [1, 2]}, [1, 2]]}', 400),
    "an unknown name in rows": ('{"instances": [{"z": [1, 2]}]}', 400),
    "an unknown name in columns": ('{"inputs": {"z": [[1, 2]]}}', 400),
    "a ragged list": ('{"inputs": [[1, 2], [3]]}', 400),
    "numbers beside lists": ('{"inputs": [[1, 2], 3]}', 400),
    "text for numbers": ('{"inputs": [["1", "2"]]}', 400),
    "true for a number": ('{"inputs": [[true, false]]}', 400),
    "null for a number": ('{"inputs": [[null, 1]]}', 400),
    "base64 for numbers": ('{"inputs": {"b64": "AAAA"}}', 400),
    "bad base64": ('{"inputs": [[{"b64": "?"}, {"b64": "="}]]}', 400),
    "a number beyond float32": ('{"inputs": [[1e300, 1]]}', 400),
    "a number of a million digits": ('{"inputs": [[' + "9" * 900_000 + ", 1]]}", 400),
    "a shape that does not fit": ('{"inputs": [[1, 2, 3]]}', 400),
    "an empty list": ('{"inputs": []}', 400),
    "a signature that is no text": ('{"signature_name": 7, "inputs": [[1, 2]]}', 400),
    "an unknown signature": ('{"signature_name": "z", "inputs": [[1, 2]]}', 400),
    "beyond the limit": ('{"inputs": [' + "[1, 2]," * 200_000 + "[1, 2]]}", 413),
}

POST = f"POST {PATH} HTTP/1.1\r\nHost: a\r\n".encode()
GIVES_UP = None  # the request has no end, and its sender hangs up

RAW: dict[str, tuple[bytes, int | None]] = {
    "less body than announced": (POST + b"Content-Length: 9\r\n\r\n{}", GIVES_UP),
    "a length that is no number": (POST + b"Content-Length: ten\r\n\r\n{}", 400),
    "a length below zero": (POST + b"Content-Length: -1\r\n\r\n{}", 400),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}!", 400),
    "a length of terabytes": (POST + b"Content-Length: 99999999999999\r\n\r\n{}", 413),
    "a chunk that is none": (POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    "no HTTP": (b"\0\1\2\3 hello\r\n\r\n", 400),
    "a head without end": (b"GET /v1/models/scale HTTP/1.1\r\nX: " + b"a" * 200_000, 400),
    "an unknown method": (b"BREW " + PATH.encode() + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "dots in the path": (b"GET /v1/models/../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a name of no UTF-8": (b"GET /v1/models/%ff%fe HTTP/1.1\r\nHost: a\r\n\r\n", 404),
}


@pytest.fixture(scope="module")
def channel(server: Any) -> Iterator[grpc.Channel]:
    with server.channel() as opened:
        yield opened


@pytest.fixture(scope="module")
def http(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with server.http(tmp_path_factory.mktemp("client"), server.world.client) as client:
        yield client


def serves_on(channel: grpc.Channel, http: httpx.Client) -> None:
    answer = PREDICT.response.FromString(channel.unary_unary(PREDICT.path)(RIGHT, timeout=20))
    assert np.frombuffer(answer.outputs["y"].tensor_content, "<f4").tolist() == [3.0] * 4
    assert http.post(PATH, content='{"inputs": [[1, 2]]}').json()["outputs"]["y"] == [[3.0, 6.0]]


def test_the_tables_are_as_long_as_they_should_be() -> None:
    assert len(GRPC) + len(REST) + len(RAW) >= 60


@pytest.mark.parametrize(("sent", "code"), GRPC.values(), ids=GRPC.keys())
def test_a_malformed_predict_has_one_code(
    sent: bytes | PredictRequest, code: str, channel: grpc.Channel, http: httpx.Client
) -> None:
    data = sent if isinstance(sent, bytes) else sent.SerializeToString()
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(PREDICT.path)(data, timeout=20)
    assert caught.value.code().name == code
    assert len(caught.value.details()) < 1000
    serves_on(channel, http)


@pytest.mark.parametrize("method", [GET_MODEL_METADATA, GET_MODEL_STATUS], ids=lambda m: m.name)
@pytest.mark.parametrize("data", [b"\xff\xff", b"\x0b" * DEEP, b""], ids=["bytes", "deep", "empty"])
def test_malformed_questions_about_models_have_one_code(
    method: Any, data: bytes, channel: grpc.Channel, http: httpx.Client
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(method.path)(data, timeout=20)
    assert caught.value.code().name == INVALID
    serves_on(channel, http)


@pytest.mark.parametrize(("body", "status"), REST.values(), ids=REST.keys())
def test_a_malformed_body_has_one_status(
    body: str | bytes, status: int, channel: grpc.Channel, http: httpx.Client
) -> None:
    answer = http.post(PATH, content=body)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert len(answer.text) < 1000
    serves_on(channel, http)


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", "application/x-protobuf"])
def test_the_content_type_does_not_matter_as_in_the_stock_server(
    kind: str, http: httpx.Client
) -> None:
    answer = http.post(PATH, content='{"inputs": [[1, 2]]}', headers={"content-type": kind})
    assert answer.json()["outputs"]["sum"] == [9.0]


@pytest.mark.parametrize(("sent", "status"), RAW.values(), ids=RAW.keys())
def test_malformed_http_has_one_status(
    sent: bytes,
    status: int | None,
    server: Any,
    tmp_path: Path,
    channel: grpc.Channel,
    http: httpx.Client,
) -> None:
    with _connection(server, tmp_path) as session:
        session.sendall(sent)
        received = b"" if status is GIVES_UP else session.recv(1 << 16)
    assert status is GIVES_UP or int(received.split(b" ", 2)[1]) == status
    serves_on(channel, http)


def _connection(server: Any, folder: Path) -> ssl.SSLSocket:
    context = ssl.create_default_context(
        cadata=server.world.authority.certificate_pem.decode("ascii")
    )
    both = folder / "client.pem"
    both.write_bytes(server.world.client.key_pem + server.world.client.certificate_pem)
    context.load_cert_chain(both)
    address = (server.listening.rest.host, server.listening.rest.port)
    stream = socket.create_connection(address, 20)
    return context.wrap_socket(stream, server_hostname="localhost")
