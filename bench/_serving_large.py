"""A Predict request of 150 MB: its time, and the memory that it takes the server.

Beside it stands a server of the same library that parses the message with protobuf and does no
more: what gRPC has received, the bytes it hands over, and what is parsed of them. Above that the
server may have one copy. The model's answer is small. Each process serves one small request, then
the large one, whose peak is counted anew (proc(5), clear_refs): what servers keep is not compared.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from bench._process import Tell, client, peer
from bench._serving_load import LARGEST, Predict, load
from bench._serving_site import INPUT, MEAN, Site, large_input
from bench.measure import Result, interleave, limited
from sealserve.client import predict_request
from sealserve.messages.predict_pb2 import PredictRequest, PredictResponse
from sealserve.messages.services import PREDICT
from sealserve.serving.textconfig import parse_tls
from sealserve.serving.tls import grpc_credentials

SIZE = 150_000_000  # bytes
MIB = 1 << 20
ROUNDS = 5
COPIES = 1.0
_Memory = tuple[float, float]  # MiB: before the request, and at its peak
_LIMIT = f"--max_request_bytes={256 * MIB}"


def measure(site: Site) -> Iterator[Result]:
    """Time, then memory."""
    body = site.body(MEAN)
    body.write_bytes(predict_request(MEAN, {INPUT: large_input(SIZE)}).SerializeToString())
    with ExitStack() as stack:
        ask_by = stack.enter_context(client())
        ours = stack.enter_context(site.serve(MEAN, _LIMIT))
        plain = stack.enter_context(site.serve(MEAN, _LIMIT, tls=False))
        times = interleave(
            {
                "ours": partial(ask_by, load, ours.grpc, body, 1, 1),
                "plaintext": partial(ask_by, load, plain.grpc, body, 1, 1),
            },
            rounds=ROUNDS,
        )
    yield Result(
        f"Predict of {SIZE // 10**6} MB",
        statistics.median(times["ours"]),
        "s",
        f"in plaintext ({statistics.median(times['plaintext']):.3g} s)",
        statistics.median(
            plain / ours for ours, plain in zip(times["ours"], times["plaintext"], strict=True)
        ),
        None,
        None,
    )
    small = site.body("one-row")
    small.write_bytes(predict_request(MEAN, {INPUT: large_input(1 << 12)}).SerializeToString())
    ours, parsing = _first_requests(site, small, body)
    taken, alone = (
        statistics.median(peak - before for before, peak in each) for each in (ours, parsing)
    )
    yield Result(
        "Predict of 150 MB: memory of the server at its peak",
        statistics.median(peak for _, peak in ours),
        "MiB",
        f"{statistics.median(before for before, _ in ours):.0f} MiB before the request",
        None,
        None,
        None,
    )
    yield limited(
        "Predict of 150 MB: copies above gRPC and protobuf alone",
        (taken - alone) * MIB / SIZE,
        "copies",
        against=f"a server that parses it and no more ({alone:.0f} MiB; ours {taken:.0f})",
        limit=COPIES,
    )


def _first_requests(site: Site, small: Path, body: Path) -> tuple[list[_Memory], list[_Memory]]:
    """Memory of ours, and of the server that parses and no more, in every round a new process.

    Several rounds: how much of what gRPC received is gone by then is a matter of moments.
    """
    ours, parsing = [], []
    with client() as ask_by:
        for _ in range(ROUNDS):
            with site.serve(MEAN, _LIMIT) as own:
                ours.append(_first_request(ask_by, own.pid, own.grpc, small, body))
            with peer(serve_parsing, site.tls) as other:
                target = Predict(other.port, site.tls)
                parsing.append(_first_request(ask_by, other.pid, target, small, body))
    return ours, parsing


def serve_parsing(tell: Tell, tls: Path) -> None:
    """Serve Predict for ever, over mutual TLS: parse what comes, answer nothing."""
    asyncio.run(_serve_parsing(tell, tls))


async def _serve_parsing(tell: Tell, tls: Path) -> None:
    async def behave(data: bytes, _context: object) -> bytes:
        assert PredictRequest.FromString(data).inputs
        return PredictResponse().SerializeToString()

    method = grpc.unary_unary_rpc_method_handler(behave)
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", LARGEST)])
    handler = grpc.method_handlers_generic_handler(PREDICT.service, {PREDICT.name: method})
    server.add_generic_rpc_handlers((handler,))
    settings = parse_tls((tls / "ssl.cfg").read_bytes(), "ssl.cfg")
    port = server.add_secure_port("127.0.0.1:0", grpc_credentials(settings))
    await server.start()
    tell(port)
    await server.wait_for_termination()


def _first_request(
    ask_by: Callable[..., Any], pid: int, target: Predict, small: Path, body: Path
) -> _Memory:
    ask_by(load, target, small, 1, 1)
    before = _memory(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    ask_by(load, target, body, 1, 1)
    return before, _memory(pid, "VmHWM")


def _memory(pid: int, name: str) -> float:
    """MiB, from proc(5), status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no {name}")
