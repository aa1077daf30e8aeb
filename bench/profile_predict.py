"""What a small Predict request costs the server, stage by stage.

The server is ours as `sealserve serve` composes it, in this process, with the digits model and
mutual TLS; the client is the one of `bench predict`, in a process of its own. Each stage is timed
where it happens, on the clock, while requests come over eight connections: what the caches have
forgotten between two of them is in the numbers. What no stage has is gRPC's and TLS's, the event
loop's and the kernel's: it is the rest of the processor time of the whole process.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import uvloop

from bench._process import client
from bench.measure import Result
from bench.predict import FLAGS, REQUESTS, ask, ask_again, engine_alone
from sealserve.client import predict_request
from sealserve.deploy.certificates import Validity
from sealserve.deploy.tls_folder import write_twoway
from sealserve.messages.forms import Forms
from sealserve.models.digits import INPUT, export_digits, held_out
from sealserve.serving.engines.openvino_requests import OpenVinoExecutable
from sealserve.serving.faces import tensorflow_grpc
from sealserve.serving.flags import parse_flags
from sealserve.serving.preparing import prepare
from sealserve.serving.server import ModelServer
from sealserve.serving.signature import Signature

STAGES: tuple[tuple[str, Any, str], ...] = (
    ("parse", Forms, "read"),
    ("checks", Signature, "complete"),
    ("engine", OpenVinoExecutable, "run"),
    ("answer", tensorflow_grpc, "encode_predict_response"),
)
WHOLE = "the whole request"


def run() -> Iterator[Result]:
    """Microseconds of each stage, and its share of the whole."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        write_twoway(folder / "tls", ["localhost"], "client", Validity(datetime.now(UTC), 1))
        export_digits(folder / "models")
        call = stack.enter_context(client())
        seconds: Counter[str] = Counter()
        for stage, owner, function in STAGES:
            stack.enter_context(_timed(seconds, stage, owner, function))
        whole = uvloop.run(_served(folder, call, seconds))
        compute = engine_alone(folder)
        compute()
        began = time.perf_counter()
        compute()
        again = (time.perf_counter() - began) / REQUESTS
    stages = {stage: seconds[stage] / REQUESTS for stage, _, _ in STAGES}
    rest = whole - sum(stages.values())
    for stage, spent in {**stages, "gRPC, TLS and the rest": rest}.items():
        yield Result(f"Predict: {stage}", spent * 1e6, "us", WHOLE, spent / whole, None, None)
    yield Result(f"Predict: {WHOLE}", whole * 1e6, "us", None, None, None, None)
    yield Result("one run of the engine after another", again * 1e6, "us", None, None, None, None)


async def _served(folder: Path, call: Callable[..., Any], seconds: Counter[str]) -> float:
    """Processor time of one request, in seconds; `seconds` has those of the stages, of all."""
    request = predict_request("digits", {INPUT: held_out()[0][:1]}).SerializeToString()
    inside = [flag.replace("=models", f"={folder}/models") for flag in FLAGS]
    flags, _ = parse_flags([flag.replace("=tls/", f"={folder}/tls/") for flag in inside])
    server = ModelServer(prepare(flags))
    try:
        port = (await server.start()).grpc.port
        await asyncio.to_thread(call, ask, folder, port, request)
        await asyncio.to_thread(call, ask_again, folder, port, request)
        seconds.clear()
        began = time.process_time()
        await asyncio.to_thread(call, ask_again, folder, port, request)
        return (time.process_time() - began) / REQUESTS
    finally:
        await server.stop()


@contextmanager
def _timed(seconds: Counter[str], stage: str, owner: Any, function: str) -> Iterator[None]:
    """Let every call of a function count for a stage."""
    plain = getattr(owner, function)

    def timed(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return plain(*arguments, **named)
        finally:
            seconds[stage] += time.perf_counter() - began

    with patch.object(owner, function, timed):
        yield
