"""Requests whose client has given up, in whatever queue they wait: the engine never sees them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from sealserve.messages.predict_pb2 import PredictRequest
from sealserve.messages.services import PREDICT
from sealserve.messages.tensors import to_proto

PATIENCE = 30


def request(rows: int) -> bytes:
    made = PredictRequest()
    made.model_spec.name = "scale"
    made.inputs["x"].CopyFrom(to_proto(np.ones((rows, 2), np.float32)))
    return made.SerializeToString()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


BATCHING = "max_batch_size { value: 8 } max_enqueued_batches { value: 1 }"


@pytest.fixture(params=["threads", "batches"])
def running(request: Any, start: Any, publish: Any, tmp_path: Path) -> Any:
    """A server with one thread for its engine, which waits for the gate."""
    publish(tmp_path / "scale", 3)
    flags: dict[str, Any] = {}
    if request.param == "batches":
        parameters = tmp_path / "batching.config"
        parameters.write_text(BATCHING)
        flags = {"enable_batching": True, "batching_parameters_file": str(parameters)}
    running = start(tmp_path / "scale", **flags)
    running.engine.gate.clear()
    yield running
    running.engine.gate.set()


def test_a_deadline_that_passes_in_a_queue_is_the_end_of_the_request(running: Any) -> None:
    with running.channel() as channel, ThreadPoolExecutor(2) as threads:
        predict = channel.unary_unary(PREDICT.path)
        inside = threads.submit(predict, request(1), timeout=PATIENCE)
        until(lambda: running.engine.seen)
        with pytest.raises(grpc.RpcError) as caught:
            predict(request(8), timeout=0.3)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        after = threads.submit(_asked_until_there_is_a_place, predict, request(2))
        time.sleep(0.1)  # for `after` to be in the queue; what is proven does not hang on it
        running.engine.gate.set()
        assert inside.result() and after.result()
    assert running.engine.seen == [1, 2]


def test_a_client_that_goes_away_takes_its_request_out_of_the_queue(running: Any) -> None:
    with running.channel() as channel, ThreadPoolExecutor(2) as threads:
        predict = channel.unary_unary(PREDICT.path)
        inside = threads.submit(predict, request(1), timeout=PATIENCE)
        until(lambda: running.engine.seen)
        with running.channel() as other:
            gone = [other.unary_unary(PREDICT.path).future(request(4)) for _ in range(2)]
            time.sleep(0.3)  # to reach the server; too short a wait would prove less, not fail
        assert all(call.cancelled() or call.code() for call in gone)
        after = threads.submit(_asked_until_there_is_a_place, predict, request(2))
        time.sleep(0.3)
        running.engine.gate.set()
        assert inside.result() and after.result()
    assert running.engine.seen == [1, 2]


def _asked_until_there_is_a_place(predict: Callable[..., bytes], data: bytes) -> bytes:
    """The answer, once the server has noticed that who was in the queue has gone."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return predict(data, timeout=PATIENCE)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            assert "batch scheduling queue" in (error.details() or "")
            assert time.monotonic() < deadline
            time.sleep(0.02)
