"""Batching across requests: one run of the engine for several that wait at the same time.

1. A request joins the last waiting batch if its rows still fit, or opens the next one; with large
   batch splitting its rows fill the last batch and as many new ones as they need. When as many
   batches wait as are allowed, it is refused at once.
2. A batch asks for a thread of the engine when a run is free and it is full or its first request
   has waited long enough.
3. Once it has one, its arrays are concatenated along the first dimension, padded to an allowed size
   by repeating the first row, run once, and split again (`merging`).

A request that is cancelled, by its deadline or by its client, before step 3 gives up its place and
never reaches the engine; a batch that nobody is left in gives up its place in the queue for threads
too. Requests whose other dimensions differ are padded to the largest with
`pad_variable_length_inputs`, and otherwise not mixed, where the stock server would fail them all.
Settings, defaults and texts: TensorFlow Serving, session_bundle_config.proto (BatchingParameters)
and batching/batching_session.cc; TensorFlow, batching_util/shared_batch_scheduler.h.

Everything here belongs to the event loop, but for `_Batch.depart`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from sealserve.errors import InvalidArgument, Unavailable
from sealserve.serving.running.merging import (
    BATCH_BYTES,
    Arrays,
    Timed,
    Widths,
    joined,
    kind_of,
    merge,
    size_of,
    slices,
    widest,
    widths_of,
)
from sealserve.serving.watching.events import Observer, Unobserved

Execute = Callable[[Callable[[], Arrays]], Awaitable[Timed]]
"""Gets the inputs, in the thread in which it then runs them, and gives the outputs."""


@dataclass(frozen=True)
class BatchSettings:
    """BatchingParameters. `parallel` is num_batch_threads; 0: as many as the engine can use.

    `max_execution` is set exactly where requests are split: the rows of one run.
    """

    max_size: int = 1000
    timeout: float = 0.0  # seconds
    max_waiting: int = 10
    parallel: int = 0
    allowed_sizes: Sequence[int] = ()
    pad_lengths: bool = False
    max_execution: int | None = None

    @property
    def batch_size(self) -> int:
        """The most rows of one run."""
        return self.max_size if self.max_execution is None else self.max_execution

    def padded(self, rows: int) -> int:
        """The smallest allowed size for so many rows; `rows` itself where all are allowed."""
        return next((size for size in self.allowed_sizes if size >= rows), rows)

    def within(self, rows: int) -> int:
        """The most rows that are no more than these once they are padded."""
        if not self.allowed_sizes:
            return rows
        return max((size for size in self.allowed_sizes if size <= rows), default=0)


@dataclass(eq=False)
class _Request:
    """A request, or a part of one that was split."""

    inputs: Arrays
    rows: int
    outputs: asyncio.Future[Timed]


@dataclass(eq=False)
class _Batch:
    kind: object  # what its requests must have in common to be concatenated
    opened: float  # seconds on the loop's clock
    execute: Execute
    settings: BatchSettings
    widths: Widths  # of the largest inputs
    requests: list[_Request] = field(default_factory=list)
    riders: tuple[_Request, ...] | None = None  # who was there when it departed
    task: asyncio.Task[None] | None = None

    @property
    def rows(self) -> int:
        return sum(request.rows for request in self.requests)

    def room(self, kind: object, widths: Widths) -> int:
        """How many rows of such a request it can still take."""
        if kind != self.kind:
            return 0
        row = size_of(1, widest(self.widths, widths))
        most = self.settings.within(BATCH_BYTES // max(row, 1))
        return max(min(self.settings.batch_size, most) - self.rows, 0)

    def depart(self) -> Arrays:
        """The inputs of those who are still there. Called in the engine's thread, once."""
        self.riders = tuple(self.requests)  # one step: the event loop may be taking one out
        rows = self.settings.padded(sum(rider.rows for rider in self.riders))
        return merge([rider.inputs for rider in self.riders], rows)


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

    async def run(self, inputs: Arrays, execute: Execute) -> Timed:
        """The outputs for these inputs, computed by `execute` together with those of others.

        Raises InvalidArgument for arrays that do not agree on their first dimension or have too
        many rows, Unavailable when the queue is full, and what the engine raises.
        """
        rows = self._rows(inputs)
        if not rows:
            return await execute(lambda: inputs)  # there is no first row to pad with
        places = self._place(inputs, rows, execute)
        self._dispatch()
        try:
            if len(places) == 1:
                return await places[0][1].outputs
            return joined(await asyncio.gather(*(request.outputs for _, request in places)))
        except BaseException:
            for batch, request in places:
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
        padded = self._settings.padded(min(rows, self._settings.batch_size))
        if padded > rows and size_of(padded, widths_of(inputs)) > BATCH_BYTES:
            raise InvalidArgument(f"the inputs, padded to {padded} rows, are too large")
        return rows

    def _place(self, inputs: Arrays, rows: int, execute: Execute) -> list[tuple[_Batch, _Request]]:
        """Put the rows into waiting batches and new ones; Unavailable, and nothing put, if full."""
        kind, widths = kind_of(inputs, self._settings.pad_lengths), widths_of(inputs)
        room = self._waiting[-1].room(kind, widths) if self._waiting else 0
        size = self._settings.batch_size
        if self._settings.max_execution is None and room < rows:
            room = 0  # it is not split
        self._require_place(rows, room)
        loop = asyncio.get_running_loop()
        places = []
        start = 0
        while start < rows:
            end = min(start + (room or size), rows)
            if not room:
                self._waiting.append(_Batch(kind, loop.time(), execute, self._settings, widths))
            batch, room = self._waiting[-1], 0
            part = inputs if end - start == rows else {a: x[start:end] for a, x in inputs.items()}
            request = _Request(part, end - start, loop.create_future())
            batch.widths = widest(batch.widths, widths)
            batch.requests.append(request)
            places.append((batch, request))
            start = end
        return places

    def _require_place(self, rows: int, room: int) -> None:
        size, waiting, limit = (
            self._settings.batch_size,
            len(self._waiting),
            self._settings.max_waiting,
        )
        if waiting - (-(rows - room) // size) <= limit:
            return
        text = "The batch scheduling queue to which this task was submitted is full; "
        if self._settings.max_execution is None:
            raise Unavailable(
                f"{text}currently {waiting} batches enqueued and max_enqueued_batches is {limit}"
            )
        capacity = max(limit - waiting, 0) * size + room
        raise Unavailable(
            f"{text}task size is {rows} but scheduling capacity is only {capacity} "
            f"(num_enqueued_batches={waiting}, max_enqueued_batches={limit}, "
            f"max_execution_batch_size={size})"
        )

    def _withdraw(self, batch: _Batch, request: _Request) -> None:
        request.outputs.cancel()
        if batch.riders is not None or request not in batch.requests:
            return  # it keeps its rows, so that nobody else's move
        batch.requests.remove(request)
        if batch.requests:
            return
        if batch in self._waiting:
            self._waiting.remove(batch)
        elif batch.task is not None:
            batch.task.cancel()

    def _dispatch(self) -> None:
        """Let go every batch that may leave, and come back when the next one may."""
        now = asyncio.get_running_loop().time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._free and self._waiting:
            due = self._waiting[0].opened + self._settings.timeout
            full = len(self._waiting) > 1 or self._waiting[0].rows >= self._settings.batch_size
            if not full and now < due:
                self._timer = asyncio.get_running_loop().call_at(due, self._dispatch)
                return
            self._free -= 1
            batch = self._waiting.popleft()
            batch.task = asyncio.create_task(self._process(batch))
            self._tasks.add(batch.task)
            batch.task.add_done_callback(self._processed)

    def _processed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._free += 1
        self._dispatch()

    async def _process(self, batch: _Batch) -> None:
        try:
            timed = await batch.execute(batch.depart)
            riders = batch.riders or ()
            sizes = [rider.rows for rider in riders]
            padded = self._settings.padded(sum(sizes))
            for rider, own in zip(riders, slices(timed, sizes, padded), strict=True):
                if not rider.outputs.done():
                    rider.outputs.set_result(own)
            self._observer.batch(sizes, padded)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the requests' answer
            for request in batch.requests:
                if not request.outputs.done():
                    request.outputs.set_exception(error)
