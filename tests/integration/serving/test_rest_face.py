"""The REST face over real TLS: both forms, errors, deadlines, limits, hostile connections."""

from __future__ import annotations

import json
import math
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from sealserve import http_server

PREDICT = "/v1/models/scale:predict"


@pytest.fixture
def http(server: Any, tmp_path: Path) -> Iterator[httpx.Client]:
    with server.http(tmp_path, server.world.client) as client:
        yield client


@pytest.mark.parametrize(
    "body", ['{"instances": [[1, 2], [3, 4]]}', '{"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}']
)
def test_rows_are_answered_with_predictions(body: str, http: httpx.Client) -> None:
    answer = http.post(PREDICT, content=body)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "predictions": [{"sum": 9.0, "y": [3.0, 6.0]}, {"sum": 21.0, "y": [9.0, 12.0]}]
    }


@pytest.mark.parametrize(
    "body",
    ['{"inputs": [[1, 2]]}', '{"inputs": {"x": [[1, 2]]}, "signature_name": "serving_default"}'],
)
def test_columns_are_answered_with_outputs(body: str, http: httpx.Client) -> None:
    answer = http.post("/v1/models/scale/versions/3:predict", content=body)
    assert answer.json() == {"outputs": {"sum": [9.0], "y": [[3.0, 6.0]]}}


def test_the_literals_of_floats_go_both_ways(http: httpx.Client) -> None:
    answer = http.post(PREDICT, content='{"inputs": [[NaN, 1], [Infinity, -Infinity]]}')
    y = answer.json()["outputs"]["y"]
    assert math.isnan(y[0][0])
    assert y[1] == [math.inf, -math.inf]
    assert "-Infinity" in answer.text


def test_large_bodies_are_answered_alike(http: httpx.Client) -> None:
    rows = [[i, i + 0.5] for i in range(20_000)]
    answer = http.post(PREDICT, content=json.dumps({"inputs": rows}))
    assert answer.json()["outputs"]["y"] == [[3 * a, 3 * b] for a, b in rows]


def test_status_and_metadata_have_the_stock_servers_shape(http: httpx.Client) -> None:
    status = {
        "model_version_status": [
            {
                "version": "3",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    for path in ("/v1/models/scale", "/v1/models/scale/versions/3", "/V1/Models/scale"):
        assert http.get(path).json() == status
    metadata = http.get("/v1/models/scale/metadata").json()
    assert metadata["model_spec"] == {"name": "scale", "signature_name": "", "version": "3"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["x"] == {
        "name": "x:0",
        "dtype": "DT_FLOAT",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}],
            "unknown_rank": False,
        },
    }


WRONG = {
    "unknown-model": ("POST", "/v1/models/other:predict", "{}", 404, "Latest(other)"),
    "unknown-version": ("POST", "/v1/models/scale/versions/9:predict", "{}", 404, "scale, 9)"),
    "unknown-label": ("POST", "/v1/models/scale/labels/new:predict", "{}", 400, "label: new"),
    "status-of-unknown": ("GET", "/v1/models/other", "", 404, "any versions of model other"),
    "encoded-name": ("GET", "/v1/models/a%2Fb%20c", "", 404, "any versions of model a/b c"),
    "metadata-of-unknown": ("GET", "/v1/models/other/metadata", "", 404, "Latest(other)"),
    "no-json": ("POST", PREDICT, "{", 400, "JSON Parse error"),
    "empty": ("POST", PREDICT, "", 400, "The document is empty"),
    "wrong-shape": ("POST", PREDICT, '{"inputs": [1]}', 400, "expected shape [-1,2], found [1]"),
    "unknown-signature": (
        *("POST", PREDICT, '{"signature_name": "other", "inputs": [[1, 2]]}'),
        *(400, 'Serving signature key "other" not found.'),
    ),
    "classify-nothing": ("POST", "/v1/models/scale:classify", "{}", 400, "examples"),
    "unknown-verb": ("POST", "/v1/models/scale:divine", "{}", 400, "Malformed request: POST"),
    "no-verb": ("POST", "/v1/models/scale", "{}", 400, "Malformed request: POST /v1/models/scale"),
    "other-method": ("PUT", PREDICT, "{}", 400, "Malformed request: PUT"),
    "no-model": ("GET", "/v1/models/", "", 400, "Malformed request: GET /v1/models/"),
    "elsewhere": ("GET", "/metrics", "", 404, "there is nothing at /metrics"),
}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"), WRONG.values(), ids=WRONG.keys()
)
def test_wrong_requests_have_one_code_and_one_error(
    method: str, path: str, body: str, status: int, text: str, http: httpx.Client
) -> None:
    if "inputs" not in body and path.endswith(":predict") and status == 404:
        body = '{"inputs": [[1, 2]]}'
    if path.endswith("labels/new:predict"):
        body = '{"inputs": [[1, 2]]}'
    answer = http.request(method, path, content=body)
    assert answer.status_code == status
    assert answer.json().keys() == {"error"}
    assert text in answer.json()["error"]


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_beyond_the_limit_is_refused(announced: bool, http: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * (64 << 10)

    content = b" " * (2 << 20) if announced else pieces()
    answer = http.post(PREDICT, content=content)
    assert answer.status_code == 413
    assert "larger than 1048576 bytes" in answer.json()["error"]
    assert http.get("/v1/models/scale").status_code == 200


def test_a_client_without_a_certificate_gets_nothing(server: Any, tmp_path: Path) -> None:
    for pair in (None, server.world.stranger):
        with server.http(tmp_path, pair) as client, pytest.raises(httpx.TransportError):
            client.get("/v1/models/scale")


def test_plaintext_is_not_spoken(server: Any) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{server.listening.rest}/v1/models/scale", timeout=10)


def test_a_request_that_takes_too_long_is_told_so(start: Any, publish: Any, tmp_path: Path) -> None:
    publish(tmp_path / "scale", 1)
    running = start(tmp_path / "scale", rest_api_timeout_in_ms=300, max_concurrent_requests=1)
    running.engine.gate.clear()
    with running.http(tmp_path, running.world.client) as http, ThreadPoolExecutor(1) as threads:
        slow = threads.submit(http.post, PREDICT, content='{"inputs": [[1, 2]]}')
        while not running.engine.seen:
            time.sleep(0.01)
        refused = http.get("/v1/models/scale")
        assert (refused.status_code, refused.json().keys()) == (429, {"error"})
        assert slow.result().status_code == 504
        running.engine.gate.set()
        assert http.post(PREDICT, content='{"inputs": [[1, 2]]}').status_code == 200


def test_a_connection_that_says_nothing_is_closed_while_others_are_served(
    server: Any, http: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.5)
    context = ssl.create_default_context(cadata=server.world.authority.certificate_pem.decode())
    both = tmp_path / "client.pem"
    both.write_bytes(server.world.client.key_pem + server.world.client.certificate_pem)
    context.load_cert_chain(both)
    host, port = server.listening.rest.host, server.listening.rest.port
    for start_of_head in (b"", b"GET /v1/models/scale HTTP/1.1\r\nHost: x\r\nX: "):
        with (
            socket.create_connection((host, port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname=host) as stream,
        ):
            stream.sendall(start_of_head)
            alone = {"Connection": "close"}  # a connection kept from before may be closing too
            assert http.get("/v1/models/scale", headers=alone).status_code == 200
            closed = b""
            try:
                for _ in range(200):
                    if start_of_head:
                        stream.sendall(b"x")
                    stream.settimeout(0.1)
                    try:
                        closed = stream.recv(100)
                        break
                    except TimeoutError:
                        continue
                else:
                    pytest.fail("the connection was not closed")
            except OSError:
                pass  # reset: closed as well
            assert closed == b""


def test_metrics_are_told_at_the_configured_path(start: Any, publish: Any, tmp_path: Path) -> None:
    publish(tmp_path / "scale", 1)
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true, path: '/metrics' }")
    running = start(tmp_path / "scale", monitoring_config_file=str(monitoring))
    with running.http(tmp_path, running.world.client) as http:
        http.post(PREDICT, content='{"inputs": [[1, 2]]}')
        http.post("/v1/models/other:predict", content='{"inputs": [[1, 2]]}')
        answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert ':tensorflow:serving:request_count{model_name="scale",status="OK"} 1' in answer.text
    assert '{model_name="",status="NOT_FOUND"} 1' in answer.text
