"""Batching across requests: one run of the engine for several that wait at the same time.

1. A request joins the last waiting batch if its rows still fit, or opens the next one; when as many
   batches wait as are allowed, it is refused at once.
2. A batch leaves when a run is free and it is full or its first request has waited long enough.
3. Its arrays are concatenated along the first dimension, padded to an allowed size by repeating the
   first row, run once, and split again.

A request that is cancelled while it waits, by its deadline or by its client, gives up its place and
never reaches the engine. Requests whose other dimensions differ are not mixed. Settings, defaults
and texts: TensorFlow Serving, session_bundle_config.proto (BatchingParameters) and
batching/batching_session.cc; TensorFlow, batching_util/shared_batch_scheduler.h.

Everything here belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sealserve.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from sealserve.serving.signature import Array
from sealserve.serving.watching import Observer, Unobserved

Arrays = Mapping[str, Array]
Timed = tuple[dict[str, Array], float, float]
"""Outputs, and when the engine began and ended: seconds of `time.perf_counter`."""
Run = Callable[[Arrays], Awaitable[Timed]]


@dataclass(frozen=True)
class BatchSettings:
    """BatchingParameters. `parallel` is num_batch_threads; 0: as many as the engine can use."""

    max_size: int = 1000
    timeout: float = 0.0  # seconds
    max_waiting: int = 10
    parallel: int = 0
    allowed_sizes: Sequence[int] = ()

    def padded(self, rows: int) -> int:
        """The smallest allowed size for so many rows; `rows` itself where all are allowed."""
        return next((size for size in self.allowed_sizes if size >= rows), rows)


@dataclass(eq=False)
class _Request:
    inputs: Arrays
    rows: int
    outputs: asyncio.Future[Timed]


@dataclass(eq=False)
class _Batch:
    kind: object  # what its requests must have in common to be concatenated
    opened: float  # seconds on the loop's clock
    execute: Run
    requests: list[_Request] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(request.rows for request in self.requests)


class Batcher:
    """The queue before one executable whose inputs and outputs begin with a free dimension."""

    def __init__(
        self, settings: BatchSettings, *, parallel: int, observer: Observer | None = None
    ) -> None:
        self._settings = settings
        self._observer = observer or Unobserved()
        self._free = settings.parallel or parallel
        self._waiting: deque[_Batch] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, inputs: Arrays, execute: Run) -> Timed:
        """The outputs for these inputs, computed by `execute` together with those of others.

        Raises InvalidArgument for arrays that do not agree on their first dimension or have too
        many rows, ResourceExhausted when the queue is full, and what the engine raises.
        """
        rows = self._rows(inputs)
        if not rows:
            return await execute(inputs)  # there is no first row to pad with
        kind = tuple((alias, array.shape[1:]) for alias, array in sorted(inputs.items()))
        batch = self._place(kind, rows, execute)
        request = _Request(inputs, rows, asyncio.get_running_loop().create_future())
        batch.requests.append(request)
        self._dispatch()
        try:
            return await request.outputs
        except asyncio.CancelledError:
            self._withdraw(batch, request)
            raise

    def _rows(self, inputs: Arrays) -> int:
        sizes = {array.shape[0] if array.ndim else -1 for array in inputs.values()}
        if -1 in sizes:
            raise InvalidArgument("Batching Run() input tensors must have at least one dimension")
        if len(sizes) != 1:
            raise InvalidArgument("Batching Run() input tensors must have equal 0th-dimension size")
        rows = sizes.pop()
        if rows > self._settings.max_size:
            raise InvalidArgument(
                f"Task size {rows} is larger than maximum input batch size "
                f"{self._settings.max_size}"
            )
        return rows

    def _place(self, kind: object, rows: int, execute: Run) -> _Batch:
        last = self._waiting[-1] if self._waiting else None
        if last and last.kind == kind and last.rows + rows <= self._settings.max_size:
            return last
        if len(self._waiting) >= self._settings.max_waiting:
            raise ResourceExhausted(
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{len(self._waiting)} batches enqueued and max_enqueued_batches is "
                f"{self._settings.max_waiting}"
            )
        self._waiting.append(_Batch(kind, asyncio.get_running_loop().time(), execute))
        return self._waiting[-1]

    def _withdraw(self, batch: _Batch, request: _Request) -> None:
        if request in batch.requests:
            batch.requests.remove(request)
        if not batch.requests and batch in self._waiting:
            self._waiting.remove(batch)

    def _dispatch(self) -> None:
        """Let go every batch that may leave, and come back when the next one may."""
        now = asyncio.get_running_loop().time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._free and self._waiting:
            due = self._waiting[0].opened + self._settings.timeout
            full = len(self._waiting) > 1 or self._waiting[0].rows >= self._settings.max_size
            if not full and now < due:
                self._timer = asyncio.get_running_loop().call_at(due, self._dispatch)
                return
            self._free -= 1
            task = asyncio.create_task(self._process(self._waiting.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _process(self, batch: _Batch) -> None:
        # A list of its own: who is cancelled from here on keeps its rows, and nobody's move.
        requests = [request for request in batch.requests if not request.outputs.done()]
        try:
            if not requests:
                return
            padded = self._settings.padded(sum(request.rows for request in requests))
            merged = _merge([request.inputs for request in requests], padded)
            _split(await batch.execute(merged), requests, padded)
            self._observer.batch([request.rows for request in requests], padded)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the requests' answer
            for request in requests:
                if not request.outputs.done():
                    request.outputs.set_exception(error)
        finally:
            self._free += 1
            self._dispatch()


def _merge(parts: Sequence[Arrays], rows: int) -> dict[str, Array]:
    """The arrays of all parts, one after the other, and the first row again up to `rows`."""
    merged = {}
    for alias in parts[0]:
        arrays = [part[alias] for part in parts]
        missing = rows - sum(len(array) for array in arrays)
        if missing:
            arrays.append(np.repeat(arrays[0][:1], missing, axis=0))
        merged[alias] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return merged


def _split(timed: Timed, requests: Sequence[_Request], rows: int) -> None:
    outputs, began, ended = timed
    for array in outputs.values():
        if not array.ndim or len(array) != rows:
            raise FailedPrecondition(
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension "
                "sizes of the input tensors"
            )
    start = 0
    for request in requests:
        end = start + request.rows
        if not request.outputs.done():
            own = {alias: array[start:end] for alias, array in outputs.items()}
            request.outputs.set_result((own, began, ended))
        start = end
