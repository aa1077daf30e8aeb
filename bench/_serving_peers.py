"""MLServer and LitServe as processes, in an environment of their own.

They want other versions than ours, so `scripts/peers.sh` makes them an environment, with the same
OpenVINO as ours; without it the lines that need them say so. Each serves the model file that ours
serves, through the same engine with the same properties, in plaintext, in each way of theirs that
may be the fastest; `_serving_resnet` and `_serving_small` try all ways and go on with the best.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from bench._serving_load import Grpc, Http, Target, ask, load
from bench._serving_site import INPUT, Site, cores, free_ports
from bench.measure import PROJECT
from sealserve.messages.open_inference_pb2 import ModelInferRequest

ENVIRONMENT = Path(os.environ.get("SEALSERVE_PEERS") or PROJECT / "build" / "peers")
READY_SECONDS = 90.0
STOP_SECONDS = 10.0
CONNECTIONS = 8
INFER = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True)
class Way:
    """One way to ask one peer."""

    name: str
    pid: int
    log: Path
    target: Target
    body: Path


Call = Callable[..., Any]  # a function and its arguments, in a client's process
Ways = Callable[["Work"], AbstractContextManager[list[Way]]]


@dataclass(frozen=True)
class Work:
    """What a peer serves: a model, and the one input that it is asked about."""

    site: Site
    model: str
    array: np.ndarray[Any, Any]

    def settings(self, *, streams: int, threads: int) -> dict[str, object]:
        """What both programs are told of the engine."""
        return {
            "model": str(self.site.model(self.model) / "1"),
            "shape": list(self.array.shape),
            "properties": engine_properties(streams=streams, threads=threads),
        }

    def body(self, name: str, content: bytes) -> Path:
        """A file with the bytes of a request."""
        path = self.site.body(f"{self.model}-{name}")
        path.write_bytes(content)
        return path


def engine_properties(*, streams: int, threads: int, precision: str = "f32") -> dict[str, object]:
    """OpenVINO's, as our server sets them."""
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "EXECUTION_MODE_HINT": "ACCURACY" if precision == "f32" else "PERFORMANCE",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }


def missing() -> str | None:
    """Why there are no peers, or None."""
    if (ENVIRONMENT / "bin" / "mlserver").exists():
        return None
    return "MLServer and LitServe are not installed: make bench-serving"


@contextmanager
def best_ways(
    ways: Ways, work: Work, ask_by: Call, requests: int, kinds: Sequence[str]
) -> Iterator[list[Way]]:
    """For each kind, which is part of a name, the fastest of a peer's ways.

    The others run beside them until the block ends, and are idle.
    """
    with ways(work) as running:
        taken: dict[Way, float] = {}
        for way in running:
            ask_by(load, way.target, way.body, CONNECTIONS, CONNECTIONS)
            taken[way] = ask_by(load, way.target, way.body, CONNECTIONS, requests)
        yield [
            min((way for way in running if kind in way.name), key=lambda way: taken[way])
            for kind in kinds
        ]


@contextmanager
def mlserver_ways(work: Work) -> Iterator[list[Way]]:
    """MLServer in its configurations, all running; the first answers are in."""
    number = cores()
    with ExitStack() as stack:
        servers = [
            _mlserver(
                work,
                workers=workers,
                in_threads=in_threads,
                streams=number if in_threads else 1,
                threads=1 if workers > 1 else number,
            )
            for workers, in_threads in ((0, False), (0, True), (1, False), (1, True), (2, False))
        ]
        yield _answering([way for server in servers for way in stack.enter_context(server)])


@contextmanager
def litserve_ways(work: Work) -> Iterator[list[Way]]:
    """LitServe in its configurations, all running; the first answers are in."""
    number = cores()
    with ExitStack() as stack:
        servers = [
            _litserve(work, workers=workers, fast=fast, threads=max(number // workers, 1))
            for workers, fast in ((1, False), (number, False), (number, True))
        ]
        yield _answering([way for server in servers for way in stack.enter_context(server)])


@contextmanager
def _mlserver(
    work: Work, *, workers: int, in_threads: bool, streams: int, threads: int
) -> Iterator[list[Way]]:
    folder = _folder(work, "mlserver")
    shutil.copy(PROJECT / "bench" / "_serving_mlserver.py", folder / "engine_model.py")
    http_port, grpc_port, metrics_port = free_ports(3)
    _write(
        folder / "settings.json",
        {
            "debug": False,
            "host": "127.0.0.1",
            "http_port": http_port,
            "grpc_port": grpc_port,
            "metrics_port": metrics_port,
            "metrics_endpoint": None,
            "parallel_workers": workers,
        },
    )
    extra = {**work.settings(streams=streams, threads=threads), "threads": in_threads}
    _write(
        folder / "model-settings.json",
        {
            "name": work.model,
            "implementation": "engine_model.EngineModel",
            "parameters": {"extra": extra},
        },
    )
    name = f"MLServer, {workers} workers{', engine in threads' if in_threads else ''}"
    grpc_target = Grpc(grpc_port, INFER)
    rest_target = Http(http_port, f"/v2/models/{work.model}/infer")
    command = [str(ENVIRONMENT / "bin" / "mlserver"), "start", str(folder)]
    log = folder / "log"
    with _running(command, log) as pid:
        ways = [
            Way(f"{name}, gRPC, {form}", pid, log, grpc_target, work.body(f"v2-{form}", body))
            for form, body in v2_bodies(work).items()
        ]
        ways.append(
            Way(f"{name}, REST", pid, log, rest_target, work.body("v2-json", _v2_json(work)))
        )
        yield ways


@contextmanager
def _litserve(work: Work, *, workers: int, fast: bool, threads: int) -> Iterator[list[Way]]:
    folder = _folder(work, "litserve")
    (port,) = free_ports(1)
    settings = {
        **work.settings(streams=1, threads=threads),
        "port": port,
        "workers": workers,
        "fast_queue": fast,
        "api_servers": workers,
    }
    _write(folder / "settings.json", settings)
    script = PROJECT / "bench" / "_serving_litserve.py"
    command = [str(ENVIRONMENT / "bin" / "python"), str(script), str(folder / "settings.json")]
    name = f"LitServe, {workers} workers{', fast queue' if fast else ''}"
    log = folder / "log"
    with _running(command, log) as pid:
        ways = [
            Way(f"{name}, {form}", pid, log, Http(port, "/predict", kind), work.body(form, body))
            for form, (kind, body) in litserve_bodies(work).items()
        ]
        yield ways


def v2_bodies(work: Work) -> Mapping[str, bytes]:
    """The Open Inference Protocol's two forms of numbers, and bytes that the runtime views."""
    return {
        form: _v2_request(work, form).SerializeToString()
        for form in ("fp32_contents", "raw_input_contents", "BYTES")
    }


def _v2_request(work: Work, form: str) -> ModelInferRequest:
    request = ModelInferRequest(model_name=work.model)
    tensor = request.inputs.add(name=INPUT, datatype="FP32", shape=work.array.shape)
    if form == "fp32_contents":
        tensor.contents.fp32_contents.extend(work.array.ravel().tolist())
    elif form == "raw_input_contents":
        request.raw_input_contents.append(work.array.tobytes())
    else:
        tensor.datatype = "BYTES"
        tensor.shape[:] = [1]
        tensor.contents.bytes_contents.append(work.array.tobytes())
    return request


def _v2_json(work: Work) -> bytes:
    data = work.array.ravel().tolist()
    shape = list(work.array.shape)
    tensor = {"name": INPUT, "datatype": "FP32", "shape": shape, "data": data}
    return json.dumps({"inputs": [tensor]}).encode()


def litserve_bodies(work: Work) -> Mapping[str, tuple[str, bytes]]:
    """Content type and body of each form."""
    data = work.array.tobytes()
    boundary = "9f1c5d7e"
    form = (
        f"--{boundary}\r\nContent-Disposition: form-data; "
        'name="file"; filename="input"\r\nContent-Type: application/octet-stream\r\n\r\n'
    )
    numbers = json.dumps({"input": work.array.tolist()}).encode()
    coded = json.dumps({"base64": base64.b64encode(data).decode()}).encode()
    return {
        "JSON of lists": ("application/json", numbers),
        "JSON of base64": ("application/json", coded),
        "form with a file": (
            f"multipart/form-data; boundary={boundary}",
            form.encode() + data + f"\r\n--{boundary}--\r\n".encode(),
        ),
    }


@contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[int]:
    """A program and all that it starts, which end with the block; its number."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=log.parent, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # whatever of it is left
        process.wait()


def _answering(ways: Sequence[Way]) -> list[Way]:
    """Those of `ways` that have given an answer; of one that does not, its log is told."""
    end = time.monotonic() + READY_SECONDS
    answering = []
    for way in ways:
        error = _first_answer(way, end)
        if error is None:
            answering.append(way)
        else:
            log = way.log.read_text(errors="replace")[-2000:]
            print(f"left out: {way.name} does not answer: {error}: {log}", file=sys.stderr)
    return answering


def _first_answer(way: Way, end: float) -> Exception | None:
    """Ask until there is an answer; the last error where there is none in time."""
    while True:
        try:
            ask(way.target, way.body)
            return None
        except (OSError, HTTPException, grpc.RpcError, RuntimeError) as error:
            if time.monotonic() > end:
                return error
            time.sleep(0.2)


def _folder(work: Work, name: str) -> Path:
    folder = work.site.folder / f"{name}-{len(list(work.site.folder.glob(f'{name}-*')))}"
    folder.mkdir()
    return folder


def _write(path: Path, settings: Mapping[str, object]) -> None:
    path.write_text(json.dumps(settings))
