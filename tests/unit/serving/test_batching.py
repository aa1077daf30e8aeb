"""Batching: who travels together, who waits, who is refused, who gives up a place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from sealserve.errors import FailedPrecondition, InvalidArgument, Unavailable
from sealserve.serving.running import batching, merging
from sealserve.serving.running.batching import Batcher, BatchSettings


class Engine:
    """Negates its input, one run at a time, each held until it is let go.

    `threads` is the queue for its threads: runs wait there before they gather their inputs.
    """

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.shapes: list[tuple[int, ...]] = []
        self.threads = asyncio.Event()
        self.gate = asyncio.Event()
        for gate in (self.threads, self.gate):
            gate.set()
        self.error: Exception | None = None

    async def run(self, gather: Any) -> tuple[dict[str, np.ndarray], float, float]:
        await self.threads.wait()
        inputs = gather()
        self.sizes.append(len(inputs["x"]))
        self.shapes.append(inputs["x"].shape)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {"y": -inputs["x"]}, 1.0, 2.0


def rows(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.float32(values)}


async def answer(batcher: Batcher, engine: Engine, inputs: Any) -> dict[str, np.ndarray]:
    outputs, began, ended = await batcher.run(inputs, engine.run)
    assert (began, ended) == (1.0, 2.0)
    return outputs


def play(
    settings: BatchSettings, scene: Callable[[Engine, Callable[..., Any]], Awaitable[None]]
) -> None:
    async def stage() -> None:
        engine = Engine()
        batcher = Batcher(settings, parallel=1)

        def ask(*values: float) -> asyncio.Task[dict[str, np.ndarray]]:
            return asyncio.create_task(answer(batcher, engine, rows(*values)))

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
        with pytest.raises(Unavailable, match="queue to which this task was submitted is"):
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


def test_who_is_cancelled_in_the_queue_for_a_thread_never_reaches_the_engine() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        engine.threads.clear()
        gone, kept = ask(1, 2), ask(3)
        await settle()
        gone.cancel()
        await settle()
        engine.threads.set()
        assert (await kept)["y"].tolist() == [-3]
        assert engine.sizes == [1]

    play(BatchSettings(), scene)


def test_a_batch_that_nobody_is_left_in_frees_its_place_in_the_queue_for_a_thread() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        engine.threads.clear()
        gone = [ask(1), ask(2)]
        await settle()
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        await settle()
        engine.threads.set()
        assert (await ask(3))["y"].tolist() == [-3]
        assert engine.sizes == [1]

    play(BatchSettings(), scene)


PADDED = BatchSettings(timeout=0.05, pad_lengths=True)


def test_lengths_are_padded_with_the_first_value_of_their_own_request() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        batcher = Batcher(PADDED, parallel=1)
        arrays = [np.float32([[1, 2]]), np.float32([[3], [4]])]
        answers = await asyncio.gather(*(answer(batcher, engine, {"x": x}) for x in arrays))
        assert [found["y"].tolist() for found in answers] == [[[-1, -2]], [[-3, -3], [-4, -3]]]
        assert engine.shapes == [(3, 2)]

    play(PADDED, scene)


@pytest.mark.parametrize(
    "arrays",
    [
        pytest.param([np.ones((1, 2)), np.ones((1, 2, 2))], id="ranks"),
        pytest.param([np.ones((1, 2)), np.ones((1, 0))], id="nothing-to-pad-with"),
    ],
)
def test_what_padding_cannot_make_alike_travels_apart(arrays: list[np.ndarray]) -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        batcher = Batcher(PADDED, parallel=1)
        answers = await asyncio.gather(*(answer(batcher, engine, {"x": x}) for x in arrays))
        assert [found["y"].shape for found in answers] == [array.shape for array in arrays]

    play(PADDED, scene)


def test_one_long_request_does_not_make_a_batch_larger_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "BATCH_BYTES", 8 * 300)

    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        batcher = Batcher(PADDED, parallel=1)
        arrays = [np.zeros((1, 100)), *(np.zeros((1, 1)) for _ in range(4))]
        await asyncio.gather(*(answer(batcher, engine, {"x": x}) for x in arrays))
        assert engine.shapes == [(3, 100), (2, 1)]

    play(PADDED, scene)


def test_padding_to_an_allowed_size_does_not_exceed_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "BATCH_BYTES", 8 * 100)

    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        batcher = Batcher(BatchSettings(max_size=8, allowed_sizes=(1, 2, 8)), parallel=1)
        arrays = [np.zeros((1, 30))] * 3
        await asyncio.gather(*(answer(batcher, engine, {"x": x}) for x in arrays))
        assert engine.sizes == [1, 2]
        with pytest.raises(InvalidArgument, match="padded to 8 rows, are too large"):
            await batcher.run({"x": np.zeros((3, 30))}, engine.run)

    play(PADDED, scene)


SPLIT = BatchSettings(max_size=100, max_execution=4, max_waiting=3)


def test_a_large_request_is_split_and_its_answer_is_whole() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        engine.gate.clear()
        tasks = [ask(0), ask(1, 2), ask(*range(10, 18)), ask(3)]
        await settle()
        engine.gate.set()
        answers = [(await task)["y"].tolist() for task in tasks]
        assert answers == [[0], [-1, -2], [-value for value in range(10, 18)], [-3]]
        assert engine.sizes == [1, 4, 4, 3]

    play(SPLIT, scene)


def test_a_large_request_that_does_not_fit_is_refused_whole() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        engine.gate.clear()
        tasks = [ask(0), ask(1, 2)]
        await settle()
        with pytest.raises(Unavailable) as caught:
            await ask(*range(11))
        assert caught.value.message.endswith(
            "task size is 11 but scheduling capacity is only 10 (num_enqueued_batches=1, "
            "max_enqueued_batches=3, max_execution_batch_size=4)"
        )
        engine.gate.set()
        await asyncio.gather(*tasks)
        assert engine.sizes == [1, 2]

    play(SPLIT, scene)


def test_a_cancelled_large_request_takes_all_its_parts_with_it() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        engine.gate.clear()
        running, gone = ask(0), ask(*range(10))
        await settle()
        gone.cancel()
        await settle()
        kept = ask(7)
        engine.gate.set()
        await asyncio.gather(running, kept)
        assert engine.sizes == [1, 1]

    play(SPLIT, scene)


def test_the_error_of_one_part_is_the_answer_and_the_others_are_withdrawn() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        engine.error = InvalidArgument("no")
        with pytest.raises(InvalidArgument, match="no"):
            await ask(*range(12))
        engine.error = None
        assert (await ask(3))["y"].tolist() == [-3]
        assert engine.sizes == [4, 1]

    play(SPLIT, scene)


def test_parts_whose_outputs_differ_in_shape_are_refused() -> None:
    parts = [({"y": np.zeros((1, length))}, 0.0, 0.0) for length in (1, 2)]
    with pytest.raises(FailedPrecondition, match="differ in shape"):
        merging.joined(parts)


def test_other_shapes_travel_apart() -> None:
    async def scene(engine: Engine, ask: Callable[..., Any]) -> None:
        batcher = Batcher(BatchSettings(timeout=0.2), parallel=1)
        arrays = [np.zeros((1, 2)), np.zeros((1, 3)), np.zeros((2, 3))]
        answers = await asyncio.gather(*(answer(batcher, engine, {"x": x}) for x in arrays))
        assert [found["y"].shape for found in answers] == [(1, 2), (1, 3), (2, 3)]
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
        async def total(gather: Any) -> tuple[dict[str, np.ndarray], float, float]:
            return {"y": np.sum(gather()["x"], keepdims=True)}, 0.0, 0.0

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
