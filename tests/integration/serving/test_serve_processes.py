"""`sealserve serve --processes=N`: one server to its clients, whichever of its processes dies."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from sealserve.client import Client
from sealserve.sealing import seal

KEY = bytes(range(16))
PATIENCE = 60.0
X = {"x": np.ones((1, 2), "f4")}
PROCESSES = 2


@dataclass
class Served:
    """A running command over plaintext, on loopback."""

    process: subprocess.Popen[str]
    line: str
    folder: Path

    @property
    def grpc(self) -> str:
        return re.search(r"gRPC (\S+),", self.line)[1]  # type: ignore[index]

    @property
    def rest(self) -> str:
        return re.search(r"REST (\S+),", self.line)[1]  # type: ignore[index]

    def workers(self) -> set[int]:
        """The processes below the parent, which has one thread and so one list of children."""
        pid = self.process.pid
        return {int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def predict(self) -> float:
        """One prediction over a connection of its own."""
        with Client(self.grpc, dangerously_plaintext=True) as client:
            return float(client.predict("scale", X, timeout=PATIENCE)["sum"][0])

    def metric(self, name: str) -> float:
        """A sample, as whichever process answers shows it."""
        text = httpx.get(f"http://{self.rest}/monitoring/prometheus/metrics").text
        values = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(name)]
        return sum(map(float, values))


def until(condition: Any, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def command(*more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "sealserve", "serve", "--port=0", "--rest_api_port=0"),
        *("--model_name=scale", "--model_base_path=models/scale", f"--processes={PROCESSES}"),
        *("--dangerously_serve_plaintext", "--dangerously_use_key_file=wrap.key", *more),
    ]


def sealed(folder: Path, path: str, plain: bytes) -> None:
    """A file under `KEY` for the path under which the server is told of it."""
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    with (folder / path).open("w+b") as sink:
        seal(io.BytesIO(plain), sink, KEY, path=path)


@pytest.fixture
def folder(tmp_path: Path, publish: Any) -> Path:
    plain = publish(tmp_path / "plain", 2) / "saved_model.pb"
    sealed(tmp_path, "models/scale/2/saved_model.pb", plain.read_bytes())
    sealed(tmp_path, "monitoring", b"prometheus_config { enable: true }")
    key = tmp_path / "wrap.key"
    key.write_bytes(KEY)
    key.chmod(0o600)
    return tmp_path


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command("--monitoring_config_file=monitoring", "--access_log"),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            watchdog.cancel()
            yield Served(process, line, folder)
        finally:
            watchdog.cancel()
            process.terminate()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()


def test_all_processes_serve_count_together_and_one_that_dies_is_followed(served: Served) -> None:
    assert re.fullmatch(
        r"sealserve serve: ready, gRPC 127\.0\.0\.1:\d+, REST 127\.0\.0\.1:\d+, "
        r"model scale version 2\. Entering the event loop \.\.\.\n",
        served.line,
    ), (served.line, served.log())
    first = served.workers()
    assert len(first) == PROCESSES
    until(lambda: served.predict() == 4 and len(who_served(served)) == PROCESSES, "all serve")
    asked = served.log().count('"event": "request"')
    requests = ":tensorflow:serving:request_count"
    assert served.metric(requests) == asked
    assert served.metric("sealserve_serving_ready") == 1
    assert served.metric('sealserve_serving_versions{model_name="scale",state="available"}') == 2

    (served.folder / "wrap.key").unlink()  # whoever follows has the key from the parent
    failed = killed_under_load(served, min(first))
    until(lambda: len(served.workers()) == PROCESSES, "a worker follows")
    assert failed <= CLIENTS, "no more than each client's one request to the process that died"
    until(lambda: served.metric("sealserve_serving_ready") == 1, "and is ready")
    assert served.metric(requests) > asked, "what was counted stays counted"

    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(PATIENCE) == 0
    assert not [pid for pid in first | served_by(served) if Path(f"/proc/{pid}").exists()]


CLIENTS = 4


def killed_under_load(served: Served, victim: int) -> int:
    """Kill a process while clients predict; how many of their requests failed."""
    over = threading.Event()

    url = f"http://{served.rest}/v1/models/scale:predict"

    def ask() -> tuple[int, int]:
        went, failed = 0, 0
        with httpx.Client(timeout=PATIENCE) as client:
            while not (over.is_set() and went):
                try:
                    assert client.post(url, json={"inputs": [[1, 1]]}).status_code == 200
                    went += 1
                except httpx.TransportError:
                    failed += 1
        return went, failed

    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = [pool.submit(ask) for _ in range(CLIENTS)]
        try:
            os.kill(victim, signal.SIGKILL)
            until(lambda: victim not in served.workers(), "it is dead")
            until(lambda: len(served.workers()) == PROCESSES, "another follows")
        finally:
            over.set()
        return sum(each.result(PATIENCE)[1] for each in asked)


def who_served(served: Served) -> set[str]:
    return set(re.findall(r'"event": "request".*"worker": (\d+)', served.log()))


def served_by(served: Served) -> set[int]:
    started = re.findall(r'"event": "worker_started".*"process": (\d+)', served.log())
    return {int(pid) for pid in started}


def test_a_worker_that_cannot_start_ends_the_server_with_an_error(folder: Path) -> None:
    (folder / "models" / "scale" / "2").rename(folder / "models" / "two")
    done = subprocess.run(command(), cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1, done.stderr
    assert "no version to serve under models/scale" in done.stderr
    assert "ended before it was ready" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_another_server_has_is_not_shared_with_it(served: Served) -> None:
    port = served.grpc.rpartition(":")[2]
    done = subprocess.run(
        command(f"--port={port}"),
        cwd=served.folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
