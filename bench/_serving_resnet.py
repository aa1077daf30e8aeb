"""ResNet-50 v1.5, batch 1: served over mutual TLS, beside engines in process and other servers.

1. Peers are tried in all their ways for a moment, and go on in their best.
2. All take turns in rounds: ours for the most answers per second, the same engine in process by
   its own queue, TensorFlow in process, MLServer, LitServe, ours in bfloat16, ours in plaintext.
3. Ours for the shortest wait takes turns with the engine in process, one request at a time, and
   with a server that only echoes, for what gRPC and TLS take of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from typing import Any, cast

import numpy as np

from bench._echo import serve_echo
from bench._process import client, peer
from bench._serving_engines import (
    Plan,
    Threads,
    openvino_latencies,
    openvino_queue,
    tensorflow_run,
)
from bench._serving_load import Predict, Target, ask, latencies, load
from bench._serving_peers import Work, best_ways, litserve_ways, missing, mlserver_ways
from bench._serving_site import (
    OUTPUT,
    RESNET,
    Ours,
    Site,
    bf16_instructions,
    cores,
    not_measured,
    resnet_image,
)
from bench.measure import Result, compared, interleave, limited
from sealserve.messages.predict_pb2 import PredictResponse
from sealserve.messages.tensors import from_proto

CONNECTIONS = 8
REQUESTS = 48  # of one round
TRIED = 16  # requests for each way of a peer
SINGLE = 16  # requests of one round, one at a time
ROUNDS = 5
OURS, BF16, PLAINTEXT = "ours", "ours in bfloat16", "ours in plaintext"
QUEUE, TENSORFLOW = "AsyncInferQueue in process", "TensorFlow in process"
MLSERVER, LITSERVE = "MLServer", "LitServe"
NUMBERS, LISTS = "MLServer and its NumpyCodec", "LitServe and JSON of lists"  # as documented
THROUGHPUT = "--optimize_for=throughput"
TENSORFLOW_WAYS = (2, 1, 1), (2, 1, 2), (1, 2, 2), (2, 2, 4), (0, 0, 8)  # intra, inter, callers

Call = Callable[..., Any]


def measure(site: Site) -> Iterator[Result]:
    """All of it."""
    with ExitStack() as stack:
        ask_by = stack.enter_context(client())
        with ExitStack() as tried:
            subjects, notes = _subjects(site, ask_by, tried)
            times = interleave(subjects, rounds=ROUNDS)
        yield from _throughput(times, notes)
        yield from _deviation(site, ask_by)
        yield from _latency(site, ask_by)


def _throughput(times: Mapping[str, list[float]], notes: Mapping[str, str]) -> Iterator[Result]:
    def beside(ours: str, peer: str, goal: float | None) -> Result:
        name = f"ResNet-50, {ours}, {CONNECTIONS} at a time"
        if peer not in times:
            return not_measured(f"{name}, beside {peer}", notes[peer])
        said = dict(times) | {f"{peer}: {notes[peer]}": times[peer]} if peer in notes else times
        against = f"{peer}: {notes[peer]}" if peer in notes else peer
        return compared(name, said, ours, against, work=REQUESTS, unit="requests/s", goal=goal)

    yield beside(OURS, QUEUE, 0.95)
    yield beside(OURS, TENSORFLOW, 1.2)
    if bf16_instructions():
        yield beside(BF16, TENSORFLOW, 2.5)
        yield beside(BF16, OURS, None)
    else:
        yield not_measured(BF16, "this processor has no bfloat16 instructions")
    present = [other for other in (MLSERVER, LITSERVE) if other in times]
    best = min(present, key=lambda other: min(times[other]), default=None)
    for other in (MLSERVER, LITSERVE):
        yield beside(OURS, other, 1.5 if other == best else None)
    for other in (NUMBERS, LISTS):
        yield beside(OURS, other, None)
    yield beside(OURS, PLAINTEXT, None)


def _subjects(
    site: Site, ask_by: Call, stack: ExitStack
) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    """What takes turns, and for each peer in which way, or why it is not there."""
    body, model, image = site.body(RESNET), site.model(RESNET), resnet_image()
    notes: dict[str, str] = {}

    def asked(target: Target) -> Callable[[], object]:
        return partial(ask_by, load, target, body, CONNECTIONS, REQUESTS)

    plan = Plan(streams=cores(), threads=cores())
    subjects: dict[str, Callable[[], object]] = {
        OURS: asked(stack.enter_context(site.serve(RESNET, THROUGHPUT)).grpc),
        PLAINTEXT: asked(stack.enter_context(site.serve(RESNET, THROUGHPUT, tls=False)).grpc),
        QUEUE: partial(stack.enter_context(client()), openvino_queue, model, plan, image, REQUESTS),
    }
    if bf16_instructions():
        ours = stack.enter_context(site.serve(RESNET, THROUGHPUT, "--precision=bf16"))
        subjects[BF16] = asked(ours.grpc)
    if find_spec("tensorflow"):
        best, run = _best_tensorflow(site, stack)
        notes[TENSORFLOW], subjects[TENSORFLOW] = str(best), run
    else:
        notes[TENSORFLOW] = "TensorFlow is not installed: make bench-serving"
    work = Work(site, RESNET, image)
    reason = missing()
    if reason is not None:
        notes |= dict.fromkeys((MLSERVER, NUMBERS, LITSERVE, LISTS), reason)
        return subjects, notes
    for ways, kinds in (
        (mlserver_ways, {MLSERVER: "gRPC", NUMBERS: "fp32_contents"}),
        (litserve_ways, {LITSERVE: "", LISTS: "JSON of lists"}),
    ):
        best = stack.enter_context(best_ways(ways, work, ask_by, TRIED, list(kinds.values())))
        for name, way in zip(kinds, best, strict=True):
            notes[name] = way.name.partition(", ")[2]
            subjects[name] = partial(ask_by, load, way.target, way.body, CONNECTIONS, REQUESTS)
    return subjects, notes


def _best_tensorflow(site: Site, stack: ExitStack) -> tuple[Threads, Callable[[], object]]:
    """Each setting needs a process of its own, which ends; the best one gets another that stays."""
    taken: dict[Threads, float] = {}
    for intra, inter, callers in TENSORFLOW_WAYS:
        threads = Threads(intra, inter, callers)
        with client() as call:
            run = _tensorflow_rounds(site, call, threads)
            run(2 * callers)
            start = time.perf_counter()
            run(TRIED)
            taken[threads] = time.perf_counter() - start
    best = min(taken, key=lambda threads: taken[threads])
    return best, partial(_tensorflow_rounds(site, stack.enter_context(client()), best), REQUESTS)


def _tensorflow_rounds(site: Site, call: Call, threads: Threads) -> Callable[[int], object]:
    return partial(call, tensorflow_run, site.model(RESNET), threads, resnet_image())


def _deviation(site: Site, ask_by: Call) -> Iterator[Result]:
    name = "ResNet-50: largest deviation of an output in bfloat16"
    if not bf16_instructions():
        yield not_measured(name, "this processor has no bfloat16 instructions")
        return
    with site.serve(RESNET) as exact, site.serve(RESNET, "--precision=bf16") as fast:
        wanted, found = (_output(site, ask_by, server) for server in (exact, fast))
    yield Result(
        name,
        float(np.abs(found - wanted).max()),
        "",
        f"outputs in float32 up to {float(wanted.max()):.3g}",
        None,
        None,
        None,
    )


def _output(site: Site, ask_by: Call, ours: Ours) -> np.ndarray[Any, Any]:
    answer = cast(bytes, ask_by(ask, ours.grpc, site.body(RESNET)))
    response = PredictResponse.FromString(answer)
    return from_proto(response.outputs[OUTPUT], limit_bytes=1 << 20)


def _latency(site: Site, ask_by: Call) -> Iterator[Result]:
    """Medians of each round; how much more ours is, is the median over the rounds."""
    body, image = site.body(RESNET), resnet_image()
    plan = Plan(streams=1, threads=cores())
    medians: dict[str, list[float]] = {}
    with ExitStack() as stack:
        compute = stack.enter_context(client())
        ours = stack.enter_context(site.serve(RESNET))
        plain = stack.enter_context(site.serve(RESNET, tls=False))
        answer = ask_by(ask, ours.grpc, body)
        bare = stack.enter_context(peer(serve_echo, site.tls / "ssl.cfg", answer, "uvloop"))

        def note(name: str, taken: list[float]) -> None:
            medians.setdefault(name, []).append(statistics.median(taken))

        def served(name: str, target: Target) -> None:
            note(name, ask_by(latencies, target, body, SINGLE))

        def alone() -> None:
            note("alone", compute(openvino_latencies, site.model(RESNET), plan, image, SINGLE))

        interleave(
            {
                "alone": alone,
                "ours": lambda: served("ours", ours.grpc),
                "plaintext": lambda: served("plaintext", plain.grpc),
                "echo": lambda: served("echo", Predict(bare.port, site.tls)),
            },
            rounds=ROUNDS,
        )
    alone_ms, ours_ms, plain_ms, echo_ms = (
        np.array(medians[name][1:]) * 1e3 for name in ("alone", "ours", "plaintext", "echo")
    )
    yield limited(
        "ResNet-50, one at a time: more than in process",
        float(np.median(ours_ms - alone_ms)),
        "ms",
        against=f"the same engine in process ({np.median(alone_ms):.3g} ms)",
        limit=2.0,
    )
    yield Result(
        "ResNet-50, one at a time: a bare echo of the same request",
        float(np.median(echo_ms)),
        "ms",
        "grpc.aio on uvloop with the same TLS, and nothing to compute",
        None,
        None,
        None,
    )
    yield Result(
        "ResNet-50, one at a time, over mutual TLS",
        float(np.median(ours_ms)),
        "ms",
        f"in plaintext ({np.median(plain_ms):.3g} ms)",
        float(np.median(plain_ms / ours_ms)),
        None,
        None,
    )
