"""Spans of requests, as a collector that speaks OTLP over TLS gets them."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sealserve.errors import ConfigError, NotFound, UsageError
from sealserve.http_server import HttpServer
from sealserve.serving.calls import Call
from sealserve.serving.watching import tracing
from sealserve.serving.watching.collector import collector_url
from sealserve.serving.watching.tracing import Tracer

PATIENCE = 30.0
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
X = {"x": np.ones((2, 2), "f4")}


@dataclass
class Collector:
    """An OTLP/HTTP receiver; `answer` is its status, `gate` lets it answer at all."""

    url: str = ""
    answer: int = 200
    gate: threading.Event = field(default_factory=threading.Event)
    spans: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    asked: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.asked.set()
        await asyncio.to_thread(self.gate.wait, PATIENCE)
        assert (scope["method"], scope["path"]) == ("POST", "/v1/traces")
        if self.answer == 200:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scoped in resource.scope_spans:
                    for span in scoped.spans:
                        self.spans.put((span, plain(resource.resource.attributes)))
        await send({"type": "http.response.start", "status": self.answer, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def collecting(world: Any, folder: Path) -> Iterator[Collector]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    both = folder / "collector.pem"
    both.write_bytes(world.server.key_pem + world.server.certificate_pem)
    context.load_cert_chain(both)
    collector, started = Collector(), queue.SimpleQueue[Any]()
    collector.gate.set()

    async def serve() -> None:
        server = HttpServer(collector, context, purpose="traces")
        stop = asyncio.Event()
        port = await server.start("127.0.0.1", 0)
        started.put((port, asyncio.get_running_loop(), stop))
        await stop.wait()
        await server.stop(1)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    port, loop, stop = started.get(timeout=PATIENCE)
    collector.url = f"https://localhost:{port}"
    yield collector
    collector.gate.set()
    loop.call_soon_threadsafe(stop.set)
    thread.join(PATIENCE)


@pytest.fixture
def collector(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setattr(tracing, "DELAY_SECONDS", 0.05)
    with collecting(world, tmp_path) as running:
        yield running


def test_each_request_is_a_span_of_its_callers_trace(
    collector: Collector, start: Any, publish: Any, world: Any, tmp_path: Path
) -> None:
    publish(tmp_path / "models" / "scale", 3)
    (tmp_path / "ca.pem").write_bytes(world.authority.certificate_pem)
    server = start(
        tmp_path / "models" / "scale",
        trace_endpoint=collector.url,
        trace_ca=str(tmp_path / "ca.pem"),
    )
    with server.client(world.client) as client, server.http(tmp_path, world.client) as http:
        client.predict("scale", X)
        with pytest.raises(NotFound):
            client.predict("nothing", X)
        headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
        url = "/v1/models/scale:predict"
        assert http.post(url, json={"inputs": [[1, 1]]}, headers=headers).status_code == 200
        unrecorded = {"traceparent": f"00-{TRACE}-{SPAN}-00"}
        assert http.post(url, json={"inputs": [[1, 1]]}, headers=unrecorded).status_code == 200
    server.stop()  # sends what waits
    found = [collector.spans.get(timeout=PATIENCE) for _ in range(3)]
    assert collector.spans.empty(), "whose caller records nothing is not recorded"
    (predict, resource), (missing, _), (rest, _) = sorted(
        found, key=lambda each: each[0].end_time_unix_nano
    )
    assert resource["service.name"] == "sealserve"
    assert predict.name == "tensorflow.serving.PredictionService/Predict"
    assert not predict.parent_span_id
    facts = plain(predict.attributes)
    assert facts["rpc.system.name"] == "grpc"
    assert facts["rpc.response.status_code"] == "OK"
    assert facts["network.peer.address"] == "127.0.0.1"
    assert (facts["sealserve.model"], facts["sealserve.version"]) == ("scale", "3")
    assert (facts["sealserve.signature"], facts["sealserve.rows"]) == ("serving_default", 2)
    took = (predict.end_time_unix_nano - predict.start_time_unix_nano) / 1e9
    assert 0 < facts["sealserve.engine_seconds"] <= took
    assert plain(missing.attributes)["error.type"] == "NOT_FOUND"
    assert "nothing" not in str(missing), "what a caller wrote is in no span"
    assert rest.name == "POST Predict"
    assert (rest.trace_id.hex(), rest.parent_span_id.hex()) == (TRACE, SPAN)
    assert plain(rest.attributes)["http.response.status_code"] == 200


def a_call(**changed: Any) -> Call:
    return Call("Predict", "GRPC", method="a.B/C", peer="ipv4:192.0.2.1:1", status="OK", **changed)


@contextmanager
def tracer(collector: Collector, world: Any) -> Iterator[tuple[Tracer, list[int]]]:
    dropped: list[int] = []
    made = Tracer(
        collector.url,
        world.authority.certificate_pem,
        engine="openvino",
        dropped=lambda: dropped.append(1),
    )
    try:
        yield made, dropped
    finally:
        asyncio.run(made.close(PATIENCE))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_collector_that_does_not_answer_costs_spans_and_no_time(
    collector: Collector, world: Any
) -> None:
    collector.gate.clear()
    with tracer(collector, world) as (made, dropped):
        for _ in range(tracing.QUEUE_SPANS + 100):
            made.observe(a_call())
        assert collector.asked.wait(PATIENCE), "it is being asked, and says nothing"
        assert len(dropped) == 100
        asyncio.run(made.close(0.2))  # does not wait for it either
        collector.gate.set()
        until(lambda: made._sender.done == tracing.QUEUE_SPANS)  # before the collector is gone


def test_a_collector_that_fails_is_told_once_and_tried_again(
    collector: Collector, world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    collector.answer = 503
    with caplog.at_level(logging.INFO), tracer(collector, world) as (made, _):
        for number in (1, 2):
            made.observe(a_call())
            until(lambda number=number: made._sender.done == number)
        collector.answer = 200
        made.observe(a_call())
        collector.spans.get(timeout=PATIENCE)
        until(lambda: "collector_back" in caplog.text)
    assert caplog.text.count("collector_away") == 1
    assert "HTTP 503" in caplog.text


def test_spans_go_to_nobody_whom_the_named_authority_does_not_vouch_for(
    collector: Collector, world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    made = Tracer(collector.url, None, engine="x", dropped=lambda: None)  # the public ones
    made.observe(a_call())
    asyncio.run(made.close(PATIENCE))
    assert "collector_away" in caplog.text
    assert not collector.asked.is_set()


def test_the_environment_has_no_say(
    collector: Collector, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "OTEL_SDK_DISABLED": "true",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=theirs",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=theirs",
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "SSL_CERT_FILE": "/nonexistent",
    }.items():
        monkeypatch.setenv(name, value)
    with tracer(collector, world) as (made, _):
        made.observe(a_call())
        _, resource = collector.spans.get(timeout=PATIENCE)
    assert resource["service.name"] == "sealserve"
    assert not [name for name in os.environ if name.startswith("OTEL_")]


@pytest.mark.parametrize(
    "traceparent", ["", "00", "00-zz", f"00-{'0' * 32}-{SPAN}-01", "x" * 9000, "00-\u00e9"]
)
def test_what_is_no_trace_begins_one(collector: Collector, world: Any, traceparent: str) -> None:
    with tracer(collector, world) as (made, _):
        made.observe(a_call(traceparent=traceparent))
        span, _ = collector.spans.get(timeout=PATIENCE)
    assert not span.parent_span_id


@pytest.mark.parametrize(
    "endpoint",
    [
        "collector:4318",
        "ftp://collector",
        "https://",
        "https://collector:4318/v1/traces",
        "https://user@collector",
        "https://collector:99999",
        "http://collector:4318",
        "https://collector?x=1",
    ],
)
def test_an_endpoint_is_an_address_over_tls_or_on_this_machine(endpoint: str) -> None:
    with pytest.raises(UsageError, match="trace_endpoint"):
        collector_url(endpoint)


def test_a_collector_on_this_machine_may_speak_plain_http() -> None:
    assert collector_url("http://127.0.0.1:4318") == "http://127.0.0.1:4318/v1/traces"
    assert collector_url("https://c.example:4318/") == "https://c.example:4318/v1/traces"


def test_an_authority_that_is_no_pem_is_refused() -> None:
    with pytest.raises(ConfigError, match="trace_ca"):
        Tracer("https://c.example", b"nothing", engine="x", dropped=lambda: None)


def test_without_the_extra_the_flag_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        tracing.require_packages()
    assert caught.value.hint == "pip install 'sealserve[otel]'"
