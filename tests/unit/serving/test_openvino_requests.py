"""Runs on OpenVINO: whose memory, which threads, and what a wrong request leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from made_versions import HeldFiles
from sealserve.errors import InvalidArgument, Unimplemented
from sealserve.messages import tensor_pb2
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.serving.capacity import Capacity
from sealserve.serving.engine import Executable
from sealserve.serving.engines.openvino import OpenVinoEngine
from sealserve.serving.engines.openvino_memory import OWN_BYTES

FLOAT = tensor_pb2.DT_FLOAT
New = Callable[..., Any]
Build = Callable[..., Executable]
CAPACITIES = {
    "one thread": Capacity(1, 1),
    "two threads": Capacity(2, 1),
    "two streams": Capacity(2, 2),
}


@pytest.fixture(scope="module", params=CAPACITIES.values(), ids=CAPACITIES.keys())
def any_engine(request: pytest.FixtureRequest) -> OpenVinoEngine:
    return OpenVinoEngine(request.param)


def load(engine: OpenVinoEngine, graph: Any, definition: Any) -> Executable:
    model = SavedModel()
    meta_graph = model.meta_graphs.add(graph_def=graph.proto)
    meta_graph.meta_info_def.tags.append("serve")
    meta_graph.signature_def["serving_default"].CopyFrom(definition)
    files = HeldFiles({"saved_model.pb": model.SerializeToString()})
    found = engine.load(files, ["serve"]).executables["serving_default"]
    assert not isinstance(found, Unimplemented)
    return found


@pytest.fixture
def product(any_engine: OpenVinoEngine, new_graph: New, new_signature: New) -> Executable:
    """x @ w, both from the request."""
    graph = new_graph()
    graph.placeholder("x", (None, None))
    graph.placeholder("w", (None, None))
    graph.op("y", "MatMul", "x", "w")
    tensors = {"x": ("x:0", FLOAT, (None, None)), "w": ("w:0", FLOAT, (None, None))}
    definition = new_signature(tensors, {"y": ("y:0", FLOAT, (None, None))})
    return load(any_engine, graph, definition)


@pytest.fixture
def doubling(any_engine: OpenVinoEngine, new_graph: New, new_signature: New) -> Build:
    """y = x + x, for x of a shape."""

    def build(*shape: int | None) -> Executable:
        graph = new_graph()
        graph.placeholder("x", shape)
        graph.op("y", "AddV2", "x", "x")
        definition = new_signature({"x": ("x:0", FLOAT, shape)}, {"y": ("y:0", FLOAT, shape)})
        return load(any_engine, graph, definition)

    return build


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def test_a_wrong_request_fails_alone(product: Executable) -> None:
    for _ in range(4):
        with pytest.raises(InvalidArgument, match=r"inputs 'w' \[3,2\], 'x' \[2,2\]"):
            product.run({"x": ones(2, 2), "w": ones(3, 2)})
        for size in (2, 3, 2):
            y = product.run({"x": ones(2, size), "w": ones(size, 2) * size})["y"]
            assert y.tolist() == [[size * size] * 2] * 2


def test_one_row_and_many_have_the_same_answers(doubling: Build) -> None:
    executable = doubling(None, 3)
    for rows in (1, 2, 1, 5, 0, 1):
        x = np.random.default_rng(rows).standard_normal((rows, 3), np.float32)
        assert np.array_equal(executable.run({"x": x})["y"], x + x)


@pytest.mark.parametrize("shape", [(), (3,), (1, 3), (None, 3), (None, None)])
def test_any_shape_is_free_or_fixed(doubling: Build, shape: tuple[int | None, ...]) -> None:
    x = ones(*(size or 2 for size in shape))
    assert np.array_equal(doubling(*shape).run({"x": x})["y"], x + x)


def test_bytes_of_a_request_may_lie_anywhere(doubling: Build) -> None:
    executable = doubling(None, 3)
    for rows in (1, 2, OWN_BYTES // 8):
        x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
        view = np.ndarray(x.shape, x.dtype, b"1" + x.tobytes(), 1)
        assert not view.flags.aligned
        assert np.array_equal(executable.run({"x": view})["y"], x + x)


def test_what_was_asked_and_answered_stays_as_it_was(doubling: Build) -> None:
    executable = doubling(None, 3)
    for rows in (1, 2, OWN_BYTES // 8):
        x = ones(rows, 3)
        first = executable.run({"x": x})["y"]
        executable.run({"x": x * 5})
        assert x.max() == 1
        assert (first.min(), first.max()) == (2, 2)
        assert first.flags.writeable


def test_threads_get_their_own_answers_whatever_they_bring(doubling: Build) -> None:
    executable = doubling(None, 3)
    asked = [np.full((1 + seed % 2, 3), seed, np.float32) for seed in range(200)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda x: executable.run({"x": x})["y"], asked))
    assert all(np.array_equal(y, x + x) for x, y in zip(asked, answers, strict=True))
