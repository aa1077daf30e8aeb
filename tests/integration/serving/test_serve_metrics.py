"""What a running server says of itself: to a scraper on its REST port, and in its log."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from sealserve.errors import NotFound
from sealserve.logline import Line

PATIENCE = 30.0
PATH = "/monitoring/prometheus/metrics"
X = {"x": np.ones((2, 2), "f4")}
LARGE = {"x": np.ones((20_000, 2), "f4")}  # which the event loop does not compute by itself
OURS = "sealserve_serving_"


@pytest.fixture
def folder(tmp_path: Path, publish: Any) -> Path:
    publish(tmp_path / "models" / "scale", 3)
    (tmp_path / "monitoring").write_text("prometheus_config { enable: true }")
    (tmp_path / "batching").write_text("max_batch_size { value: 4 } allowed_batch_sizes: 4")
    return tmp_path


def samples(text: str) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in text.splitlines() if line and line[0] != "#"]
    return {name: float(value) for name, _, value in lines}


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_scraper_reads_what_has_happened(folder: Path, start: Any, world: Any) -> None:
    server = start(
        folder / "models" / "scale",
        monitoring_config_file=str(folder / "monitoring"),
        enable_batching=True,
        batching_parameters_file=str(folder / "batching"),
    )
    stranger = ssl.create_default_context(cadata=world.authority.certificate_pem.decode())
    with server.client(world.client) as client, server.http(folder, world.client) as http:
        for _ in range(2):
            client.predict("scale", X)
        with pytest.raises(NotFound):
            client.predict("a-name-of-the-callers", X)
        assert http.post("/v1/models/scale:predict", json={"inputs": [[1, 1]]}).status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(f"https://{server.listening.rest}{PATH}", verify=stranger)
        failed = f'{OURS}tls_handshakes_total{{entrypoint="REST",result="failed"}}'
        until(lambda: failed in http.get(PATH).text)
        answer = http.get(PATH)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = samples(answer.text)
    serving = ":tensorflow:serving:"
    assert found[f'{serving}request_count{{model_name="scale",status="OK"}}'] == 3
    assert found[f'{serving}request_count{{model_name="",status="NOT_FOUND"}}'] == 1
    assert "a-name-of-the-callers" not in answer.text
    by_face = {
        face: found[
            f'{serving}request_latency_count{{model_name="scale",API="Predict",entrypoint="{face}"}}'
        ]
        for face in ("GRPC", "REST")
    }
    assert by_face == {"GRPC": 2, "REST": 1}
    assert found[f"{serving}batching_session:processed_batch_size_sum"] == 12, "4 each"
    assert found[f"{serving}batching_session:input_batch_size_sum"] == 5
    path = str(folder / "models" / "scale" / "3")
    attempts = ":tensorflow:cc:saved_model:load_attempt_count"
    assert found[f'{attempts}{{model_path="{path}",status="success"}}'] == 1
    assert found[f'{OURS}available_version{{model_name="scale"}}'] == 3
    assert found[f'{OURS}tls_handshakes_total{{entrypoint="GRPC",result="ok"}}'] == 1
    assert found[f'{OURS}requests_in_flight{{entrypoint="GRPC"}}'] == 0
    protections = [found[OURS + each] for each in ("ready", "unattested", "unsealed", "plaintext")]
    assert protections == [1, 1, 1, 0]
    assert found[f"{OURS}certificate_expiry_timestamp_seconds"] > time.time()


def test_requests_that_lead_nowhere_are_counted_and_logged_without_what_they_name(
    folder: Path, start: Any, world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(
        folder / "models" / "scale",
        monitoring_config_file=str(folder / "monitoring"),
        access_log=True,
    )
    with (
        caplog.at_level(logging.INFO, "sealserve.serving.watching.access_log"),
        server.http(folder, world.client) as http,
    ):
        assert http.get("/a-path-of-the-callers").status_code == 404
        assert http.request("AMETHOD", "/v1/models/scale").status_code == 400
        text = http.get(PATH).text
    found = samples(text)
    count = ":tensorflow:serving:request_count"
    assert found[f'{count}{{model_name="",status="NOT_FOUND"}}'] == 1
    assert found[f'{count}{{model_name="",status="INVALID_ARGUMENT"}}'] == 1
    assert found[f'{OURS}requests_in_flight{{entrypoint="REST"}}'] == 0
    assert "a-path-of-the-callers" not in text and "AMETHOD" not in text
    events = [r.msg for r in caplog.records if isinstance(r.msg, Line) and r.msg.event == "request"]
    told = [dict(event.facts) for event in events]
    assert [(each["api"], each["status"]) for each in told] == [
        ("", "NOT_FOUND"),
        ("", "INVALID_ARGUMENT"),
    ]
    assert all("callers" not in str(event) and "AMETHOD" not in str(event) for event in events)


def test_every_request_is_one_event_without_what_it_holds(
    folder: Path, start: Any, world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(folder / "models" / "scale", access_log=True)
    with (
        caplog.at_level(logging.INFO, "sealserve.serving.watching.access_log"),
        server.client(world.client) as client,
        server.http(folder, world.client) as http,
    ):
        client.predict("scale", {"x": np.full((2, 2), 424242, "f4")})
        with pytest.raises(NotFound):
            client.predict("a-name-of-the-callers", X)
        headers = {"x-secret": "a-header-of-the-callers"}
        http.get("/v1/models/scale", headers=headers)
    events = [r.msg for r in caplog.records if isinstance(r.msg, Line) and r.msg.event == "request"]
    predict, missing, status = (dict(event.facts) for event in events)
    assert {name: predict[name] for name in ("api", "entrypoint", "model", "version", "rows")} == {
        "api": "Predict",
        "entrypoint": "GRPC",
        "model": "scale",
        "version": 3,
        "rows": 2,
    }
    assert predict["signature"] == "serving_default"
    assert 0 < predict["engine"] <= predict["seconds"]
    assert predict["peer"].startswith("127.0.0.1:")
    assert missing["status"] == "NOT_FOUND"
    assert "model" not in missing
    assert (status["api"], status["entrypoint"]) == ("GetModelStatus", "REST")
    assert len({event.facts["id"] for event in events}) == 3
    for text in ("424242", "callers"):
        assert text not in caplog.text


def shown_by(server: Any, folder: Path, world: Any) -> str:
    with server.http(folder, world.client) as http:
        return http.get(PATH).text


def test_a_version_that_cannot_be_loaded_is_counted_by_its_code(
    folder: Path, start: Any, world: Any
) -> None:
    server = start(
        folder / "models" / "scale",
        monitoring_config_file=str(folder / "monitoring"),
        file_system_poll_wait_seconds=1,
    )
    partial = folder / "partial"
    partial.mkdir()
    (partial / "saved_model.pb").write_bytes(b"\xff\xff")
    partial.rename(folder / "models" / "scale" / "4")
    failed = f'{OURS}load_failures_total{{model_name="scale",code="saved-model"}}'
    until(lambda: failed in samples(shown_by(server, folder, world)))
    found = samples(shown_by(server, folder, world))
    assert found[f'{OURS}versions{{model_name="scale",state="end"}}'] == 1
    assert found[f'{OURS}available_version{{model_name="scale"}}'] == 3, "it goes on serving"


def test_requests_that_run_are_seen(folder: Path, start: Any, world: Any) -> None:
    server = start(folder / "models" / "scale", monitoring_config_file=str(folder / "monitoring"))
    with server.client(world.client) as client:
        server.engine.gate.clear()
        thread = threading.Thread(target=lambda: client.predict("scale", LARGE))
        thread.start()
        name = f'{OURS}requests_in_flight{{entrypoint="GRPC"}}'
        until(lambda: samples(shown_by(server, folder, world)).get(name) == 1)
        server.engine.gate.set()
        thread.join(PATIENCE)
        until(lambda: samples(shown_by(server, folder, world))[name] == 0)
