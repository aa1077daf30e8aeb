"""The way to an executable: what a request that has gone leaves behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from sealserve.serving.calls import Call
from sealserve.serving.running.runner import Runner
from sealserve.serving.signature import Signature

PATIENCE = 20
SMALL, LARGE = np.zeros(1), np.zeros(100_000)


class Gated:
    """Negates, in no time at all while its gate is open."""

    signature = Signature("serving_default", {}, {})

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Event()

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self.began.set()
        assert self.gate.wait(PATIENCE)
        return {"y": -inputs["x"]}


def test_a_run_that_goes_on_unheard_keeps_nobody_waiting_in_the_event_loop() -> None:
    async def scene() -> None:
        executable = Gated()
        with ThreadPoolExecutor(1) as threads:
            runner = Runner(executable, threads, batching=None, parallel=1)

            def ask(x: Any) -> asyncio.Task[dict[str, Any]]:
                return asyncio.create_task(runner.run({"x": x}, Call("Predict", "GRPC")))

            for _ in range(50):  # it is known to be quick
                await ask(SMALL)
            executable.gate.clear()
            executable.began.clear()
            gone = ask(LARGE)
            while not executable.began.is_set():
                await asyncio.sleep(0.001)
            gone.cancel()
            await asyncio.wait([gone])
            after = ask(SMALL)
            await asyncio.sleep(0.01)  # the loop goes on
            assert not after.done()
            executable.gate.set()
            assert (await after)["y"].tolist() == [0]

    asyncio.run(asyncio.wait_for(scene(), PATIENCE * 3))
