"""A Predict request of 150 MB: its time, and the memory that it takes the server.

Beside it stands what protobuf alone takes for the same message: its bytes and what is parsed of
them, in a process of its own. Above that the server may have one copy.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench._process import client
from bench._serving_load import load
from bench._serving_site import INPUT, MEAN, Site, large_input
from bench.measure import Result, interleave, limited, peak_memory
from sealserve.client import predict_request

SIZE = 150_000_000  # bytes
MIB = 1 << 20
ROUNDS = 5
COPIES = 1.0
_LIMIT = f"--max_request_bytes={256 * MIB}"


def measure(site: Site) -> Iterator[Result]:
    """Time, then memory."""
    body, processes = site.body(MEAN), Path("/proc")
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
    with client() as ask_by, site.serve(MEAN, _LIMIT) as ours:
        before = _memory(processes / str(ours.pid), "VmRSS")
        ask_by(load, ours.grpc, body, 1, 1)
        peak = _memory(processes / str(ours.pid), "VmHWM")
    taken, alone = peak - before, _protobuf_alone(body)
    yield Result(
        "Predict of 150 MB: memory of the server at its peak",
        peak,
        "MiB",
        f"{before:.0f} MiB before the request",
        None,
        None,
        None,
    )
    yield limited(
        "Predict of 150 MB: copies above protobuf alone",
        (taken - alone) * MIB / SIZE,
        "copies",
        against=f"bytes and message in a process of its own ({alone:.0f} MiB; ours {taken:.0f})",
        limit=COPIES,
    )


def _protobuf_alone(body: Path) -> float:
    """MiB for the bytes of the request and the message, above the imports."""
    imports = "from pathlib import Path\nfrom sealserve.messages.predict_pb2 import PredictRequest"
    parse = f"data = Path({str(body)!r}).read_bytes()\nrequest = PredictRequest.FromString(data)"
    return peak_memory(f"{imports}\n{parse}") - peak_memory(imports)


def _memory(process: Path, name: str) -> float:
    """MiB, from proc(5), status."""
    for line in (process / "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"{process} says no {name}")
