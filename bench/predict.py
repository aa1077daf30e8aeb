"""Small Predict requests over gRPC, beside a bare echo server and the engine alone.

Ours is `sealserve serve` as a process of its own with the digits model and mutual TLS; the bare
server, a process too, is `grpc.aio` with the same credentials: it looks at no request, and answers
each with the bytes that ours answered to it. One image per request, eight connections in a closed
loop, from a client process with our `Client.predict_bytes`, which is in both numbers. The engine
alone computes the same image again and again, in this process and without any wire: the ratio to it
is the part of a request's time that is inference.

The last line counts the processor time of the two servers' processes and not what passes on the
clock, of which the client has its part. The engine is in ours, with all its threads.
"""

from __future__ import annotations

import functools
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench._echo import serve_echo
from bench._process import Server, client, command, peer
from bench.measure import Result, compared, interleave
from sealserve.client import Client, predict_request
from sealserve.deploy.certificates import Validity
from sealserve.deploy.tls_folder import write_twoway
from sealserve.models.digits import INPUT, export_digits, held_out
from sealserve.serving.capacity import available_processors, plan
from sealserve.serving.engines.openvino import OpenVinoEngine
from sealserve.serving.life.servable import Loader
from sealserve.serving.opening.vault import Vault

REQUESTS = 1600
CONNECTIONS = 8
ECHO, OURS, ENGINE = "bare grpc.aio echo", "ours", "engine alone"
TLS_CONFIG = "tls/ssl.cfg"
FLAGS = (
    *("--host=127.0.0.1", "--port=0", "--model_name=digits", "--model_base_path=models"),
    *(f"--ssl_config_file={TLS_CONFIG}", "--dangerously_serve_unsealed_models"),
)


def run() -> Iterator[Result]:
    """Requests per second beside both, and per second of the servers' processor time."""
    request = predict_request("digits", {INPUT: held_out()[0][:1]}).SerializeToString()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        write_twoway(folder / "tls", ["localhost"], "client", Validity(datetime.now(UTC), 1))
        export_digits(folder / "models")
        ours = stack.enter_context(command("serve", *FLAGS, folder=folder))
        call = stack.enter_context(client())
        answer = call(ask, folder, ours.port, request)
        echo = stack.enter_context(peer(serve_echo, folder / TLS_CONFIG, answer))
        taken: dict[str, list[float]] = defaultdict(list)

        def load(subject: str, server: Server) -> None:
            before = server.processor_seconds()
            call(ask_again, folder, server.port, request)
            taken[subject].append(server.processor_seconds() - before)

        times = interleave(
            {
                ECHO: lambda: load(ECHO, echo),
                OURS: lambda: load(OURS, ours),
                ENGINE: engine_alone(folder),
            }
        )
        processor = {subject: rounds[1:] for subject, rounds in taken.items()}
    for name, seconds, limit, unit in (
        ("Predict over 8 connections", times, ECHO, "requests/s"),
        ("Predict: the part that is inference", times, ENGINE, "requests/s"),
        ("Predict: the server's processor time", processor, ECHO, "requests/CPU-s"),
    ):
        yield compared(name, seconds, OURS, limit, work=REQUESTS, unit=unit, goal=None)


def ask(folder: Path, port: int, request: bytes) -> bytes:
    """One answer, in the client's process."""
    return _clients(folder, port)[0].predict_bytes(request)


def ask_again(folder: Path, port: int, request: bytes) -> None:
    """All requests of a round, in the client's process; connections stay from round to round."""

    def share(one: Client) -> None:
        for _ in range(REQUESTS // CONNECTIONS):
            one.predict_bytes(request)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(share, _clients(folder, port)))


@functools.cache
def _clients(folder: Path, port: int) -> list[Client]:
    tls = folder / "tls"
    return [
        Client(
            f"localhost:{port}",
            ca=tls / "ca_cert.pem",
            certificate=tls / "client/cert.pem",
            private_key=tls / "client/key.pem",
        )
        for _ in range(CONNECTIONS)
    ]


def engine_alone(folder: Path) -> Callable[[], None]:
    """A round of the engine, loaded as `serve` loads it by default."""
    loader = Loader(OpenVinoEngine(plan(available_processors())), Vault(None), ["serve"])
    executable = loader.load("digits", 1, str(folder / "models/1")).executable("")
    image = held_out()[0][:1]

    def compute() -> None:
        for _ in range(REQUESTS):
            executable.run({INPUT: image})

    return compute
