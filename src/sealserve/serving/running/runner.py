"""How a request reaches the engine: at once, through a thread, or in a batch with others.

A run blocks whoever calls it, so it belongs in a thread, and the event loop serves others
meanwhile. But to hand work to a thread and to hear of its end costs more than a small model
computes. So a run that is known to be quick, of a small request, while no other run of this
executable is under way, happens at once in the event loop. What it costs is measured with every run
and forgotten slowly: a model that becomes slow goes back to the threads.

All methods belong to the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from sealserve.serving.calls import Call
from sealserve.serving.engine import Executable
from sealserve.serving.quick import Expectation, is_small
from sealserve.serving.running.batching import Batcher, BatchSettings
from sealserve.serving.running.merging import Timed
from sealserve.serving.signature import Array
from sealserve.serving.watching.events import Observer


class Runner:
    """The way to one executable."""

    def __init__(
        self,
        executable: Executable,
        threads: ThreadPoolExecutor,
        *,
        batching: BatchSettings | None,
        parallel: int,
        observer: Observer | None = None,
    ) -> None:
        self._executable = executable
        self._threads = threads
        self._expected = Expectation()
        self._under_way = 0
        self._batcher: Batcher | None = None
        if batching is not None and executable.signature.batchable:
            self._batcher = Batcher(batching, parallel=parallel, observer=observer)

    async def run(self, inputs: Mapping[str, Array], call: Call) -> dict[str, Array]:
        """The outputs; `call` learns how long they waited and took.

        Cancelling takes the request out of every queue; a run that has begun ends unheard. Raises
        what the engine does, and Unavailable where the batch queue is full.
        """
        asked = time.perf_counter()
        if self._batcher is not None:
            call.batched = True
            outputs, began, ended = await self._batcher.run(inputs, self._in_thread)
        else:
            outputs, began, ended = await self._in_thread(lambda: inputs)
            if is_small(inputs):
                self._expected.learn(ended - began)
        call.queue_seconds += began - asked
        call.engine_seconds += ended - began
        return outputs

    def at_once(self, inputs: Mapping[str, Array], call: Call) -> dict[str, Array] | None:
        """The outputs of a run that is quick; None where it is not known to be."""
        if (
            self._batcher is not None
            or self._under_way
            or not self._expected.quick
            or not is_small(inputs)
        ):
            return None
        began = time.perf_counter()
        outputs = self._executable.run(inputs)
        seconds = time.perf_counter() - began
        self._expected.learn(seconds)
        call.engine_seconds += seconds
        return outputs

    async def _in_thread(self, gather: Callable[[], Mapping[str, Array]]) -> Timed:
        """Run what `gather` gives, in a thread, once one is free; cancelled before, it never runs.

        `gather` is called in that thread.
        """
        loop = asyncio.get_running_loop()
        run = self._threads.submit(_timed, self._executable, gather)
        self._under_way += 1
        try:
            return await asyncio.wrap_future(run)
        finally:
            if run.done():
                self._came_back()
            else:  # cancelled, and too late: it goes on unheard, but whoever comes must not meet it
                run.add_done_callback(partial(_tell, loop, self._came_back))

    def _came_back(self) -> None:
        self._under_way -= 1


def _timed(executable: Executable, gather: Callable[[], Mapping[str, Array]]) -> Timed:
    """The outputs of a run, and when it began and ended."""
    inputs = gather()
    began = time.perf_counter()
    outputs = executable.run(inputs)
    return outputs, began, time.perf_counter()


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], None], _run: object) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(what)
