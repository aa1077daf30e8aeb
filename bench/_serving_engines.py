"""Engines without a server around them: OpenVINO's own queue, and TensorFlow.

Functions here run in a process of their own (`bench._process.client`) and keep what they have
loaded, so that a round is computation alone.
"""

from __future__ import annotations

import functools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench._serving_peers import engine_properties

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Plan:
    """How an engine uses the machine."""

    streams: int
    threads: int
    precision: str = "f32"


@dataclass(frozen=True)
class Threads:
    """TensorFlow's two settings, and from how many threads it is asked."""

    intra: int
    inter: int
    callers: int

    def __str__(self) -> str:
        return f"intra_op {self.intra}, inter_op {self.inter}, {self.callers} at a time"


def openvino_queue(model: Path, plan: Plan, array: Array, requests: int) -> None:
    """So many requests through `openvino.AsyncInferQueue`; each output is copied, as ours are."""
    queue = _queue(model, plan)
    for _ in range(requests):
        queue.start_async({0: array}, share_inputs=True)
    queue.wait_all()


def openvino_latencies(model: Path, plan: Plan, array: Array, requests: int) -> list[float]:
    """Seconds of each of so many requests, one at a time; the output is copied."""
    request, taken = _compiled(model, plan).create_infer_request(), []
    for _ in range(requests):
        start = time.perf_counter()
        request.infer({0: array}, share_inputs=True, share_outputs=True)[0].copy()
        taken.append(time.perf_counter() - start)
    return taken


def tensorflow_run(model: Path, threads: Threads, array: Array, requests: int) -> None:
    """So many requests in TensorFlow, from as many threads as it says."""
    function, name = _tensorflow(model, threads)
    import tensorflow  # which `_tensorflow` has configured

    def share(count: int) -> None:
        for _ in range(count):
            outputs = function(**{name: tensorflow.constant(array)})
            next(iter(outputs.values())).numpy()

    with ThreadPoolExecutor(threads.callers) as pool:
        list(pool.map(share, [requests // threads.callers] * threads.callers))


@functools.cache
def _compiled(model: Path, plan: Plan) -> Any:
    import openvino

    core = openvino.Core()
    properties = engine_properties(
        streams=plan.streams, threads=plan.threads, precision=plan.precision
    )
    return core.compile_model(core.read_model(model / "1"), "CPU", properties)


@functools.cache
def _queue(model: Path, plan: Plan) -> Any:
    import openvino

    def done(request: Any, _nothing: None) -> None:
        request.get_output_tensor(0).data.copy()

    queue = openvino.AsyncInferQueue(_compiled(model, plan))  # as many as OpenVINO finds best
    queue.set_callback(done)
    return queue


@functools.cache
def _tensorflow(model: Path, threads: Threads) -> tuple[Any, str]:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(threads.intra)
    tensorflow.config.threading.set_inter_op_parallelism_threads(threads.inter)
    loaded = tensorflow.saved_model.load(str(model / "1"))
    function = loaded.signatures["serving_default"]
    function.keep = loaded  # the signature does not keep what it was loaded with
    (name,) = function.structured_input_signature[1]
    return function, name
