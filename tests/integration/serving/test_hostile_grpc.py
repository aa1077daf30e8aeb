"""gRPC clients that speak HTTP/2 as no library does, hold on, and go away."""

from __future__ import annotations

import gc
import resource
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from raw_http2 import (
    CANCEL,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    RESET,
    begin,
    call_headers,
    frame,
    message,
)
from sealserve.messages.predict_pb2 import PredictRequest
from sealserve.messages.services import PREDICT

PATIENCE = 20
MEGABYTES = 30


def request() -> bytes:
    made = PredictRequest()
    made.model_spec.name = "scale"
    tensor = made.inputs["x"]
    tensor.dtype = 1
    tensor.float_val.extend([1.0, 2.0])
    for size in (1, 2):
        tensor.tensor_shape.dim.add(size=size)
    return made.SerializeToString()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def code_of(server: Any) -> str:
    with server.channel() as channel:
        try:
            channel.unary_unary(PREDICT.path)(request(), timeout=PATIENCE)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"


@pytest.fixture
def small(start: Any, publish: Any, tmp_path: Path) -> Iterator[Any]:
    """A server with two places."""
    publish(tmp_path / "scale", 3)
    running = start(
        tmp_path / "scale",
        max_concurrent_requests=2,
        max_request_bytes=1 << 20,
        shutdown_timeout_seconds=600,
    )
    yield running
    running.stop()  # which fails if it takes longer than 30 seconds


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[Callable[[Any], ssl.SSLSocket]]:
    """Bare HTTP/2 connections to a server's gRPC port."""
    opened: list[socket.socket] = []

    def open_one(server: Any) -> ssl.SSLSocket:
        context = ssl.create_default_context(
            cadata=server.world.authority.certificate_pem.decode("ascii")
        )
        context.set_alpn_protocols(["h2"])
        both = tmp_path / "client.pem"
        both.write_bytes(server.world.client.key_pem + server.world.client.certificate_pem)
        context.load_cert_chain(both)
        address = (server.listening.grpc.host, server.listening.grpc.port)
        stream = socket.create_connection(address, PATIENCE)
        session = context.wrap_socket(stream, server_hostname="localhost")
        opened.append(session)
        begin(session)
        return session

    yield open_one
    for session in opened:
        session.close()


def test_the_end_does_not_wait_for_a_client_that_never_answers(small: Any, raw: Any) -> None:
    raw(small)
    small.stop()


def test_streams_that_are_reset_at_once_leave_nothing_behind(small: Any, raw: Any) -> None:
    session = raw(small)
    for number in range(1, 2000, 2):
        session.sendall(
            frame(HEADERS, END_HEADERS, number, call_headers(PREDICT.path))
            + frame(DATA, END_STREAM, number, message(request()))
            + frame(RESET, 0, number, CANCEL)
        )
    until(lambda: code_of(small) == "OK")


def test_a_flood_of_pings_ends_the_connection_alone(small: Any, raw: Any) -> None:
    session = raw(small)
    with pytest.raises(OSError, match=r"reset|EOF|Broken pipe|closed"):
        for _ in range(100_000):
            session.sendall(frame(PING, 0, 0, bytes(8)) * 50)
    assert code_of(small) == "OK"


def test_a_compressed_message_counts_with_what_it_becomes(small: Any) -> None:
    zeros = bytes(8 << 20)
    with small.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(PREDICT.path)(zeros, compression=grpc.Compression.Gzip, timeout=20)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert code_of(small) == "OK"


def test_a_storm_of_calls_that_are_cancelled_gives_up_all_places(small: Any) -> None:
    small.engine.gate.clear()
    with small.channel() as channel:
        for _ in range(30):
            calls = [channel.unary_unary(PREDICT.path).future(request()) for _ in range(10)]
            for call in calls:
                call.cancel()
    small.engine.gate.set()
    until(lambda: code_of(small) == "OK")


def test_metadata_beyond_the_limit_is_refused(small: Any) -> None:
    with small.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(PREDICT.path)(b"", metadata=[("x", "a" * (1 << 20))], timeout=20)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert code_of(small) == "OK"


def test_health_and_reflection_are_for_clients_with_a_certificate_alone(server: Any) -> None:
    credentials = grpc.ssl_channel_credentials(server.world.authority.certificate_pem)
    with grpc.secure_channel(str(server.listening.grpc), credentials) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            HealthStub(channel).Check(HealthCheckRequest(), timeout=PATIENCE)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        asked = iter([ServerReflectionRequest(list_services="")])
        with pytest.raises(grpc.RpcError) as caught:
            list(ServerReflectionStub(channel).ServerReflectionInfo(asked, timeout=PATIENCE))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("data", [b"\xff", request()[:-2] + b"\x7f\0"], ids=["none", "broken"])
def test_large_requests_that_fail_are_let_go_at_once(
    data: bytes, start: Any, publish: Any, tmp_path: Path
) -> None:
    publish(tmp_path / "scale", 3)
    running = start(tmp_path / "scale")
    large = data + bytes(MEGABYTES << 20)
    gc.collect()
    gc.disable()
    try:
        with running.channel() as channel:
            ask = channel.unary_unary(PREDICT.path)
            before = _resident()
            for _ in range(10):
                with pytest.raises(grpc.RpcError):
                    ask(large, timeout=PATIENCE)
            grown = _resident() - before
    finally:
        gc.enable()
    running.stop()
    assert grown < 5 * MEGABYTES << 20


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
