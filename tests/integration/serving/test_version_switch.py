"""A model changes while clients keep asking: no request fails, and answers only move forward."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

LAST = 5


def test_versions_are_switched_without_a_failed_request(
    start: Any, publish: Any, tmp_path: Path
) -> None:
    base = tmp_path / "scale"
    publish(base, 1)
    running = start(base, file_system_poll_wait_seconds=1, enable_batching=True)
    factors: list[list[float]] = [[] for _ in range(3)]
    errors: list[Exception] = []
    done = threading.Event()

    def ask_grpc(found: list[float]) -> None:
        with running.client(running.world.client) as client:
            while not done.is_set():
                found.append(
                    float(client.predict("scale", {"x": np.ones((1, 2), "f4")})["y"][0, 0])
                )

    def ask_rest(found: list[float]) -> None:
        with running.http(tmp_path, running.world.client) as http:
            while not done.is_set():
                answer = http.post("/v1/models/scale:predict", content='{"inputs": [[1, 1]]}')
                found.append(answer.raise_for_status().json()["outputs"]["y"][0][0])

    def run(ask: Any, found: list[float]) -> None:
        try:
            ask(found)
        except Exception as error:  # noqa: BLE001  # whatever it is, the test is to show it
            errors.append(error)

    threads = [
        threading.Thread(target=run, args=(ask, found))
        for ask, found in zip((ask_grpc, ask_grpc, ask_rest), factors, strict=True)
    ]
    for thread in threads:
        thread.start()
    for version in range(2, LAST + 1):
        publish(base, version)
        if version == 3:
            (base / "4.broken").mkdir()
        while not errors and not all(found and found[-1] == version for found in factors):
            time.sleep(0.05)
    done.set()
    for thread in threads:
        thread.join(20)
    assert not errors
    for found in factors:
        assert found == sorted(found)
        assert set(found) == set(range(1, LAST + 1))
