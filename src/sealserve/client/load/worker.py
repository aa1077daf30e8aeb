"""One process's part of a run, on one event loop.

1. Every connection sends some requests that are not counted, one after the other.
2. All processes begin at one moment.
3. Closed loop: each client sends its next request when the answer to the last one is in.
   Open loop: each request is sent when it is due, whatever has been answered, and its time counts
   from that moment: a server that stalls is charged for those that had to wait for it.
4. After the last step nothing more falls due, what is overdue is given up, and what is under way
   is waited for.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from sealserve.client.load.plan import WARM_UP_REQUESTS, Plan
from sealserve.client.load.senders import Sender, make_sender
from sealserve.client.load.slices import Recorder, Slice
from sealserve.errors import ServingError

_NANOSECONDS = 1_000_000_000
_OVERDUE = _NANOSECONDS  # what is later than this once time is up is not sent any more
_BUSY = "serving.resource-exhausted"  # a server that is full already can be measured
_MAX_SELECTED = 500  # connections: select(2) takes handles below 1024


@dataclass(frozen=True)
class Ended:
    """The last word of a process."""

    warm_up: int  # requests that were not counted
    unsent: int  # requests that had been due for a second and not been sent when time was up
    seconds: float  # from the start to the last end


Begin = Callable[[], Awaitable[int]]
"""Wait until all processes are ready; gives the moment to begin, monotonic nanoseconds."""


def run_part(part: Plan, begin: Begin, tell: Callable[[Slice], None]) -> Ended:
    """Carry out a part, in this thread; raises ServingError where the warm-up fails."""
    with asyncio.Runner(loop_factory=lambda: _event_loop(part)) as runner:
        return runner.run(_run(part, begin, tell))


def _event_loop(part: Plan) -> asyncio.AbstractEventLoop:
    """One that wakes when a request is due: select waits for microseconds, epoll for whole ms."""
    if part.shot.transport == "http" and part.connections > _MAX_SELECTED:
        return asyncio.SelectorEventLoop()
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _run(part: Plan, begin: Begin, tell: Callable[[Slice], None]) -> Ended:
    sender = make_sender(part)
    try:
        warm_up = await _warm_up(part, sender)
        start = await begin()
        recorder = Recorder(start, int(part.interval * _NANOSECONDS), tell)
        ticking = asyncio.ensure_future(_tick(recorder, part.interval))
        try:
            await asyncio.sleep(max(0, start - time.monotonic_ns()) / _NANOSECONDS)
            unsent = await (_open if part.loop == "open" else _closed)(part, sender, recorder)
        finally:
            ticking.cancel()
            with suppress(asyncio.CancelledError):
                await ticking
        recorder.finish()
        return Ended(warm_up, unsent, (recorder.last_end - start) / _NANOSECONDS)
    finally:
        await sender.close()


async def _tick(recorder: Recorder, interval: float) -> None:
    while True:
        await asyncio.sleep(interval)
        recorder.pass_until(time.monotonic_ns())


async def _warm_up(part: Plan, sender: Sender) -> int:
    """The number of requests sent; a server that fails from the start is not measured."""
    end = time.monotonic() + part.warm_up

    async def one_after_the_other() -> int:
        sent = 0
        while sent < WARM_UP_REQUESTS or time.monotonic() < end:
            code = await sender.send()
            if code not in (None, _BUSY):
                raise ServingError(
                    f"a request before the measurement failed: {code}",
                    code=code,
                    hint="check host, port (8500 is gRPC, 8501 REST), TLS, model and input",
                )
            sent += 1
        return sent

    async with _together() as group:
        tasks = [group.create_task(one_after_the_other()) for _ in range(part.connections)]
    return sum(task.result() for task in tasks)


@asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """Tasks that are waited for; the first failure cancels the others, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _closed(part: Plan, sender: Sender, recorder: Recorder) -> int:
    left = part.requests if part.requests is not None else -1

    async def client(number: int) -> None:
        nonlocal left
        end = recorder.start
        for index, step in enumerate(part.steps):
            end = _later(end, step.seconds) if part.requests is None else 0
            if number >= step.load:
                await _sleep_until(end)
            while number < step.load and left and (not end or time.monotonic_ns() < end):
                left -= 1
                sent = time.monotonic_ns()
                error = await sender.send()
                recorder.ended(index, sent, time.monotonic_ns(), error)

    async with _together() as group:
        for number in range(int(max(step.load for step in part.steps))):
            group.create_task(client(number))
    return 0


async def _open(part: Plan, sender: Sender, recorder: Recorder) -> int:
    """The number of requests that were due and not sent."""
    room = asyncio.Semaphore(part.max_in_flight)
    end = None if part.requests is not None else _later(recorder.start, part.seconds)

    async def request(due: int, step: int) -> None:
        try:
            error = await sender.send()
            recorder.ended(step, due, time.monotonic_ns(), error)
        finally:
            room.release()

    requests = part.due()
    async with _together() as group:
        for seconds, step in requests:
            due = _later(recorder.start, seconds)
            await _sleep_until(due)
            await room.acquire()
            now = time.monotonic_ns()
            if end is not None and now > end and now - due > _OVERDUE:
                return 1 + sum(1 for _ in requests)
            recorder.sent(due, now)
            group.create_task(request(due, step))
    return 0


def _later(moment: int, seconds: float) -> int:
    return moment + round(seconds * _NANOSECONDS)


async def _sleep_until(moment: int) -> None:
    await asyncio.sleep(max(0, moment - time.monotonic_ns()) / _NANOSECONDS)
