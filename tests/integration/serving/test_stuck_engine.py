"""SIGTERM ends a server whose engine is stuck in a native call that never returns, wherever."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealserve.client import Client
from sealserve.errors import SealServeError

PATIENCE = 30

# A server whose engine locks a mutex twice: in its first load or run, or in its second run, which
# happens in the event loop, for the first one was quick.
PROGRAM = """
import ctypes, pathlib, sys
from dataclasses import replace
import uvloop
from sealserve.serving import process
from sealserve.serving.engine import Loaded
from sealserve.serving.flags import parse_flags
from sealserve.serving.preparing import prepare

stuck_in, end_seconds, *flags = sys.argv[1:]
process.END_SECONDS = float(end_seconds)
libc = ctypes.CDLL(None)
mutex = ctypes.create_string_buffer(256)

def deadlock():
    libc.pthread_mutex_lock(mutex)
    pathlib.Path("began").touch()
    libc.pthread_mutex_lock(mutex)

class Stuck:
    def __init__(self, inner):
        self.inner, self.signature, self.runs = inner, inner.signature, 0
    def run(self, inputs):
        self.runs += 1
        if stuck_in == "thread" or stuck_in == "loop" and self.runs == 2:
            deadlock()
        return {"y": inputs["x"], "sum": inputs["x"].sum(1)}

class Engine:
    def __init__(self, inner):
        self.inner, self.name, self.concurrency = inner, inner.name, inner.concurrency
    def load(self, files, tags):
        if stuck_in == "load":
            deadlock()
        loaded = self.inner.load(files, tags)
        return Loaded(loaded.definitions, {n: Stuck(e) for n, e in loaded.executables.items()})

prepared = prepare(parse_flags(flags)[0])
announce = lambda listening: print(listening.grpc, flush=True)
uvloop.run(process.run(replace(prepared, engine=Engine(prepared.engine)), announce))
"""

Begin = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def begin(publish: Any, tmp_path: Path) -> Iterator[Begin]:
    processes: list[subprocess.Popen[str]] = []

    def start(stuck_in: str, *, end_seconds: float = 1, timeout: int = 1) -> subprocess.Popen[str]:
        publish(tmp_path / "scale", 3)
        command = [
            *(sys.executable, "-c", PROGRAM, stuck_in, str(end_seconds)),
            *("--host=127.0.0.1", "--port=0", "--model_name=scale", "--model_base_path=scale"),
            *("--dangerously_serve_plaintext", "--dangerously_serve_unsealed_models"),
            f"--shutdown_timeout_seconds={timeout}",
        ]
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def end_once_stuck(process: subprocess.Popen[str], folder: Path, *, again: bool = False) -> None:
    """Ask until the engine is stuck, then SIGTERM, once or again and again, until it has ended."""
    assert process.stdout is not None
    address = process.stdout.readline().strip()

    def ask() -> None:
        with Client(address, dangerously_plaintext=True) as client:
            while not (folder / "began").exists():
                client.predict("scale", {"x": np.ones((1, 2), "f4")}, timeout=PATIENCE)

    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(ask)
        wait_for(folder / "began")
        deadline = time.monotonic() + PATIENCE
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            if again:
                process.send_signal(signal.SIGTERM)
        with pytest.raises(SealServeError):
            asking.result()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_in_a_thread_of_the_engine(begin: Begin, tmp_path: Path) -> None:
    process = begin("thread", end_seconds=PATIENCE)
    end_once_stuck(process, tmp_path)
    assert process.returncode == 0


def test_in_a_load(begin: Begin, tmp_path: Path) -> None:
    process = begin("load", end_seconds=PATIENCE)
    wait_for(tmp_path / "began")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_in_the_event_loop(begin: Begin, tmp_path: Path) -> None:
    process = begin("loop")
    end_once_stuck(process, tmp_path)
    assert process.returncode == 1
    assert process.stderr is not None
    assert "in deadlock" in process.stderr.read(), "it says where it was stuck"


def test_in_the_event_loop_with_a_second_signal(begin: Begin, tmp_path: Path) -> None:
    process = begin("loop", end_seconds=600)
    end_once_stuck(process, tmp_path, again=True)
    assert process.returncode == 1
