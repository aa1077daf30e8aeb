"""A run, in this process or in several of its own.

One Python process fills one core. Processes are started afresh (gRPC's threads do not survive a
fork) and get their part over a pipe; each tells its slices through it, and ends with it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

from sealserve.client.load.plan import Plan
from sealserve.client.load.report import Report, Row, Tally
from sealserve.client.load.slices import Slice
from sealserve.client.load.worker import Ended, run_part
from sealserve.errors import NetworkError, SealServeError

READY_SECONDS = 60.0  # for a process to start and to warm up, beyond the warm-up's own time
PATIENCE = 10.0  # seconds, for a process that has ended to be gone
_HEAD_START = 100_000_000  # nanoseconds from the word to begin to the moment itself
_READY = "ready"

OnRow = Callable[[Row], None]


def run_load(plan: Plan, on_row: OnRow = lambda row: None) -> Report:
    """Carry a plan out; `on_row` is told the course as it goes.

    A KeyboardInterrupt ends the run, and the report is of what was measured by then; where nothing
    was, it is raised.
    Raises ServingError where a request before the measurement fails, NetworkError where a process
    ends before its time. Later failures are counted.
    """
    tally = _Telling(plan, on_row)
    try:
        if plan.processes == 1:
            [part] = plan.parts()
            tally.end(run_part(part, _at_once, lambda told: tally.add(0, told)))
        else:
            _run_processes(plan, tally)
    except KeyboardInterrupt:
        if not tally.rows:
            raise
    return tally.report()


class _Telling(Tally):
    """A tally that tells of each row once."""

    def __init__(self, plan: Plan, on_row: OnRow) -> None:
        super().__init__(plan)
        self._on_row = on_row

    def add(self, process: int, told: Slice) -> None:
        known = len(self.rows)
        super().add(process, told)
        for row in self.rows[known:]:
            self._on_row(row)


async def _at_once() -> int:
    return time.monotonic_ns()


def _run_processes(plan: Plan, tally: Tally) -> None:
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pipes: list[Connection[Any, Any]] = []
        for part in plan.parts():
            ours, theirs = context.Pipe()
            process = context.Process(target=_process, args=(part, theirs), daemon=True)
            process.start()
            theirs.close()
            stack.push(partial(_end, process))
            stack.callback(ours.close)
            pipes.append(ours)
        deadline = time.monotonic() + READY_SECONDS + plan.warm_up + plan.timeout
        for pipe in pipes:
            if not pipe.poll(max(0.0, deadline - time.monotonic())):
                raise NetworkError("a process of the load was not ready in time")
            _received(pipe)
        start = time.monotonic_ns() + _HEAD_START
        for pipe in pipes:
            pipe.send(start)
        _collect(pipes, tally)


def _collect(pipes: list[Connection[Any, Any]], tally: Tally) -> None:
    running: dict[Any, int] = {pipe: number for number, pipe in enumerate(pipes)}
    while running:
        for pipe in wait(list(running)):
            told = _received(pipe)
            if isinstance(told, Slice):
                tally.add(running[pipe], told)
            else:
                tally.end(told)
                del running[pipe]


def _received(pipe: Any) -> Any:
    try:
        told = pipe.recv()
    except EOFError as error:
        raise NetworkError("a process of the load ended before its time") from error
    if isinstance(told, SealServeError):
        raise told
    return told


def _end(process: Any, failure: object, *_details: object) -> None:
    """Wait for a process that has said its last word; end it where the run has failed."""
    process.join(0 if failure else PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()


def _process(part: Plan, pipe: Connection[Any, Any]) -> None:
    """What a process of the load does. An interruption is its parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def begin() -> int:
        pipe.send(_READY)
        start: int = await asyncio.to_thread(pipe.recv)
        return start

    try:
        ended: Ended | SealServeError = run_part(part, begin, pipe.send)
    except SealServeError as error:
        ended = error
    except (EOFError, BrokenPipeError):
        return  # whoever asked is gone
    pipe.send(ended)
