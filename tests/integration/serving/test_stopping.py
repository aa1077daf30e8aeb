"""The end of a server that is a process: readiness first, then the port, then what runs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from sealserve.client import Client
from sealserve.errors import SealServeError

PATIENCE = 20
ONES = np.ones((1, 2), "f4")

# A server whose runs wait until there is a file `gate`, in a process of its own.
PROGRAM = """
import asyncio, pathlib, sys, time
from dataclasses import replace
from sealserve.serving.engine import Loaded
from sealserve.serving.flags import parse_flags
from sealserve.serving.preparing import prepare
from sealserve.serving.process import run

class Held:
    def __init__(self, inner):
        self.inner, self.signature = inner, inner.signature
    def run(self, inputs):
        pathlib.Path("began").touch()
        while not pathlib.Path("gate").exists():
            time.sleep(0.01)
        return self.inner.run(inputs)

class Engine:
    def __init__(self, inner):
        self.inner, self.name, self.concurrency = inner, inner.name, inner.concurrency
    def load(self, files, tags):
        loaded = self.inner.load(files, tags)
        return Loaded(loaded.definitions, {n: Held(e) for n, e in loaded.executables.items()})

prepared = prepare(parse_flags(sys.argv[1:])[0])
announce = lambda listening: print(listening.grpc, listening.rest, flush=True)
asyncio.run(run(replace(prepared, engine=Engine(prepared.engine)), announce))
"""


@dataclass
class Server:
    """The process, where it listens, and the folder that it watches for its gate."""

    process: subprocess.Popen[str]
    grpc: str
    rest: str
    folder: Path

    def client(self) -> Client:
        return Client(self.grpc, dangerously_plaintext=True)

    def predict(self) -> float:
        with self.client() as client:
            return float(client.predict("scale", {"x": ONES})["y"][0, 0])

    def wait_for_a_run(self) -> None:
        until((self.folder / "began").exists)

    def open_gate(self) -> None:
        (self.folder / "gate").touch()

    def terminate(self) -> None:
        """SIGTERM, and wait until the server says that it is not ready."""
        with grpc.insecure_channel(self.grpc) as channel:
            watch = HealthStub(channel).Watch(HealthCheckRequest(), timeout=PATIENCE)
            assert next(watch).status == HealthCheckResponse.SERVING
            self.process.send_signal(signal.SIGTERM)
            assert next(watch).status == HealthCheckResponse.NOT_SERVING


Begin = Callable[..., Server]


@pytest.fixture
def begin(publish: Any, tmp_path: Path) -> Iterator[Begin]:
    processes: list[subprocess.Popen[str]] = []

    def start(*flags: str) -> Server:
        publish(tmp_path / "scale", 3)
        command = [
            *(sys.executable, "-c", PROGRAM, "--host=127.0.0.1", "--port=0", "--rest_api_port=0"),
            *("--model_name=scale", "--model_base_path=scale"),
            *("--dangerously_serve_plaintext", "--dangerously_serve_unsealed_models", *flags),
        ]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        return Server(process, *process.stdout.readline().split(), tmp_path)

    yield start
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_server_that_is_not_ready_any_more_still_serves_for_a_while(begin: Begin) -> None:
    server = begin("--shutdown_delay_seconds=3")
    server.open_gate()
    server.terminate()
    ready = httpx.get(f"http://{server.rest}/v2/health/ready")
    live = httpx.get(f"http://{server.rest}/v2/health/live")
    assert server.predict() == 3
    assert (ready.is_success, live.is_success) == (False, True)
    assert server.process.wait(PATIENCE) == 0


def test_requests_that_run_are_finished_while_new_ones_are_refused(begin: Begin) -> None:
    server = begin("--shutdown_timeout_seconds=60")
    with ThreadPoolExecutor(1) as threads:
        inside = threads.submit(server.predict)
        server.wait_for_a_run()
        server.terminate()
        until(lambda: _refuses(server))
        assert not inside.done()
        server.open_gate()
        assert inside.result() == 3
    assert server.process.wait(PATIENCE) == 0


def test_a_stuck_request_is_cut_off_at_the_deadline(begin: Begin) -> None:
    server = begin("--shutdown_timeout_seconds=1")
    with ThreadPoolExecutor(1) as threads:
        inside = threads.submit(server.predict)
        server.wait_for_a_run()
        server.terminate()
        assert server.process.wait(PATIENCE) == 0
        with pytest.raises(SealServeError):
            inside.result()


@pytest.mark.parametrize("flag", ["--shutdown_timeout_seconds=600", "--shutdown_delay_seconds=600"])
def test_a_second_signal_ends_at_once(begin: Begin, flag: str) -> None:
    server = begin(flag)
    with ThreadPoolExecutor(1) as threads:
        inside = threads.submit(server.predict)
        server.wait_for_a_run()
        server.terminate()
        until(lambda: _ended_by(server, signal.SIGTERM))
        assert server.process.returncode == -signal.SIGTERM
        with pytest.raises(SealServeError):
            inside.result()


def test_a_signal_that_comes_twice_in_a_moment_is_one(begin: Begin) -> None:
    server = begin("--shutdown_timeout_seconds=60")
    with ThreadPoolExecutor(1) as threads:
        inside = threads.submit(server.predict)
        server.wait_for_a_run()
        server.process.send_signal(signal.SIGINT)
        server.process.send_signal(signal.SIGINT)
        until(lambda: _refuses(server))
        server.open_gate()
        assert inside.result() == 3
    assert server.process.wait(PATIENCE) == 0


def _refuses(server: Server) -> bool:
    with grpc.insecure_channel(server.grpc) as channel:
        try:
            HealthStub(channel).Check(HealthCheckRequest(), timeout=PATIENCE)
        except grpc.RpcError as error:
            # gRPC itself cancels a call that comes in the very moment in which it begins to stop.
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
            return error.code() is grpc.StatusCode.UNAVAILABLE
        return False


def _ended_by(server: Server, number: signal.Signals) -> bool:
    server.process.send_signal(number)
    return server.process.poll() is not None
