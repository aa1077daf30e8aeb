"""Batching: who travels together, who waits, who is refused, who gives up a place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from sealserve.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from sealserve.serving.batching import Batcher, BatchSettings


class Engine:
    """Negates its input, one run at a time, each held until it is let go."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def run(self, inputs: Any) -> dict[str, np.ndarray]:
        self.sizes.append(len(inputs["x"]))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {"y": -inputs["x"]}


def rows(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.float32(values)}


def play(
    settings: BatchSettings, scene: Callable[[Engine, Callable[..., Any]], Awaitable[None]]
) -> None:
    async def stage() -> None:
        engine = Engine()
        batcher = Batcher(settings, parallel=1)

        def ask(*values: float) -> asyncio.Task[dict[str, np.ndarray]]:
            return asyncio.create_task(batcher.run(rows(*values), engine.run))

        await asyncio.wait_for(scene(engine, ask), 20)

    asyncio.run(stage())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_requests_that_wait_while_the_engine_is_busy_run_together() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        engine.gate.clear()
        tasks = [ask(1), ask(2, 3), ask(4)]
        await settle()
        engine.gate.set()
        answers = [(await task)["y"].tolist() for task in tasks]
        assert answers == [[-1], [-2, -3], [-4]]
        assert engine.sizes == [1, 3]

    play(BatchSettings(), scene)


def test_a_batch_waits_for_company_no_longer_than_told() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        first = ask(1)
        await asyncio.sleep(0.01)
        second = ask(2)
        await asyncio.gather(first, second)
        assert engine.sizes == [2]

    play(BatchSettings(timeout=0.5), scene)


def test_a_full_batch_does_not_wait() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        await asyncio.gather(ask(1), ask(2))
        assert engine.sizes == [2]

    play(BatchSettings(max_size=2, timeout=1000), scene)


def test_a_request_that_does_not_fit_closes_the_batch_before_it() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        engine.gate.clear()
        tasks = [ask(0), ask(1, 2), ask(3, 4), ask(5)]
        await settle()
        engine.gate.set()
        await asyncio.gather(*tasks)
        assert engine.sizes == [1, 2, 3]

    play(BatchSettings(max_size=3), scene)


def test_batches_are_padded_to_an_allowed_size_and_nobody_sees_it() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        assert (await ask(1, 2, 3))["y"].tolist() == [-1, -2, -3]
        assert (await ask(1))["y"].tolist() == [-1]
        assert engine.sizes == [4, 1]

    play(BatchSettings(max_size=4, allowed_sizes=(1, 4)), scene)


def test_no_rows_need_no_batch() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        assert (await ask())["y"].shape == (0,)

    play(BatchSettings(max_size=4, allowed_sizes=(4,)), scene)


def test_a_full_queue_refuses_in_the_stock_servers_words() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        engine.gate.clear()
        tasks = [ask(0)]
        await settle()
        tasks += [ask(1, 2), ask(3, 4)]
        await settle()
        with pytest.raises(ResourceExhausted, match="queue to which this task was submitted is"):
            await ask(5)
        engine.gate.set()
        await asyncio.gather(*tasks)

    play(BatchSettings(max_size=2, max_waiting=2), scene)


def test_who_is_cancelled_in_the_queue_never_reaches_the_engine() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        engine.gate.clear()
        running, kept, gone = ask(0), ask(1), ask(2, 3)
        await settle()
        gone.cancel()
        await settle()
        engine.gate.set()
        await asyncio.gather(running, kept)
        assert engine.sizes == [1, 1]
        assert (await kept)["y"].tolist() == [-1]

    play(BatchSettings(), scene)


def test_a_cancelled_request_frees_its_place_in_the_queue() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        engine.gate.clear()
        running = ask(0)
        await settle()
        gone = ask(1, 2)
        await settle()
        gone.cancel()
        await settle()
        kept = ask(3, 4)
        await settle()
        engine.gate.set()
        await asyncio.gather(running, kept)
        assert engine.sizes == [1, 2]

    play(BatchSettings(max_size=2, max_waiting=1), scene)


def test_who_is_cancelled_on_the_way_does_not_shift_the_others() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        engine.gate.clear()
        running = ask(0)
        await settle()
        first, gone, last = ask(1), ask(2), ask(3)
        await settle()
        engine.gate.set()
        await running
        engine.gate.clear()
        await settle()
        assert engine.sizes == [1, 3]
        gone.cancel()
        await settle()
        engine.gate.set()
        assert (await first)["y"].tolist() == [-1]
        assert (await last)["y"].tolist() == [-3]

    play(BatchSettings(), scene)


def test_other_shapes_travel_apart() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        batcher = Batcher(BatchSettings(timeout=0.2), parallel=1)
        arrays = [np.zeros((1, 2)), np.zeros((1, 3)), np.zeros((2, 3))]
        answers = await asyncio.gather(*(batcher.run({"x": x}, engine.run) for x in arrays))
        assert [answer["y"].shape for answer in answers] == [(1, 2), (1, 3), (2, 3)]
        assert engine.sizes == [1, 3]

    play(BatchSettings(), scene)


def test_an_engines_error_reaches_all_and_the_next_batch_runs() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        engine.error = InvalidArgument("no")
        outcomes = await asyncio.gather(ask(1), ask(2), return_exceptions=True)
        assert all(isinstance(outcome, InvalidArgument) for outcome in outcomes)
        engine.error = None
        assert (await ask(3))["y"].tolist() == [-3]

    play(BatchSettings(), scene)


def test_outputs_that_do_not_split_are_refused() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        async def total(inputs: Any) -> dict[str, np.ndarray]:
            return {"y": np.sum(inputs["x"], keepdims=True)}

        batcher = Batcher(BatchSettings(), parallel=1)
        with pytest.raises(FailedPrecondition, match="0th dimension does not equal the sum"):
            await batcher.run(rows(1, 2), total)

    play(BatchSettings(), scene)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        pytest.param({"x": np.zeros(5)}, "Task size 5 is larger than", id="too-many-rows"),
        pytest.param({"x": np.zeros(())}, "must have at least one dimension", id="scalar"),
        pytest.param(
            {"x": np.zeros(1), "z": np.zeros(2)}, "must have equal 0th-dimension", id="uneven"
        ),
    ],
)
def test_what_cannot_be_batched_is_refused(inputs: dict[str, np.ndarray], text: str) -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        with pytest.raises(InvalidArgument, match=text):
            await Batcher(BatchSettings(max_size=4), parallel=1).run(inputs, engine.run)

    play(BatchSettings(), scene)
