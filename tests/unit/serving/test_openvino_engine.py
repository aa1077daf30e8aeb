"""The engine on real graphs: exact float32, every dtype, from many threads, nothing on a disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_versions import HeldFiles
from sealserve.errors import FailedPrecondition, InvalidArgument, Unimplemented
from sealserve.messages import tensor_pb2
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.messages.tensors import dtype_of
from sealserve.serving.engine import Executable
from sealserve.serving.engines.openvino import OpenVinoEngine

FLOAT = tensor_pb2.DT_FLOAT
New = Callable[..., Any]


def load(engine: OpenVinoEngine, graph: Any, definition: Any) -> Executable:
    model = SavedModel()
    meta_graph = model.meta_graphs.add(graph_def=graph.proto)
    meta_graph.meta_info_def.tags.append("serve")
    meta_graph.signature_def["serving_default"].CopyFrom(definition)
    files = HeldFiles({"saved_model.pb": model.SerializeToString()})
    found = engine.load(files, ["serve"]).executables["serving_default"]
    if isinstance(found, Unimplemented):
        raise found
    return found


@pytest.fixture
def classifier(new_graph: New, new_signature: New, engine: OpenVinoEngine) -> Executable:
    """softmax(x @ w), with the logits as a second output and the input as a third."""
    graph = new_graph()
    graph.placeholder("x", None)
    graph.constant("w", np.linspace(-1, 1, 512 * 3, dtype=np.float32).reshape(512, 3))
    graph.op("logits", "MatMul", "x", "w")
    graph.op("softmax", "Softmax", "logits")
    definition = new_signature(
        {"input": ("x:0", FLOAT, (None, 512))},
        {
            "predict": ("softmax:0", FLOAT, (None, 3)),
            "logits": ("logits:0", FLOAT, None),
            "logits_again": ("logits:0", FLOAT, None),
            "echo": ("x:0", FLOAT, None),
        },
    )
    return load(engine, graph, definition)


def inputs(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 512), np.float32)


def expected(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) @ np.linspace(-1, 1, 512 * 3).reshape(512, 3)


def test_every_output_has_its_own_values(classifier: Executable) -> None:
    x = inputs(4)
    outputs = classifier.run({"input": x})
    exponents = np.exp(expected(x) - expected(x).max(axis=1, keepdims=True))
    assert outputs.keys() == {"predict", "logits", "logits_again", "echo"}
    assert np.allclose(outputs["logits"], expected(x), atol=1e-4)
    assert np.array_equal(outputs["logits"], outputs["logits_again"])
    assert np.allclose(outputs["predict"], exponents / exponents.sum(axis=1, keepdims=True))
    assert np.array_equal(outputs["echo"], x)


def test_results_are_float32_and_not_what_is_faster(classifier: Executable) -> None:
    x = inputs(64)
    error = np.abs(classifier.run({"input": x})["logits"] - expected(x)).max()
    assert error < 1e-4  # bfloat16 is off by more than 1e-2 here


def test_shapes_are_completed_from_the_graph(classifier: Executable) -> None:
    assert classifier.signature.outputs["logits"].shape == (None, 3)
    assert classifier.signature.outputs["echo"].shape == (None, 512)


def test_no_rows_give_no_rows(classifier: Executable) -> None:
    assert classifier.run({"input": inputs(0)})["predict"].shape == (0, 3)


def test_read_only_and_strided_arrays_are_taken(classifier: Executable) -> None:
    x = inputs(4)
    want = classifier.run({"input": x})["logits"]
    read_only = np.frombuffer(x.tobytes(), np.float32).reshape(x.shape)
    strided = np.asfortranarray(x)
    assert np.array_equal(classifier.run({"input": read_only})["logits"], want)
    assert np.array_equal(classifier.run({"input": strided})["logits"], want)


def test_threads_get_the_answers_to_their_own_questions(classifier: Executable) -> None:
    batches = [inputs(1 + seed % 5, seed) for seed in range(64)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda x: classifier.run({"input": x}), batches))
    for x, answer in zip(batches, answers, strict=True):
        assert np.array_equal(answer["echo"], x)
        assert np.allclose(answer["logits"], expected(x), atol=1e-4)


def test_an_answer_is_not_overwritten_by_the_next(classifier: Executable) -> None:
    first = classifier.run({"input": inputs(2, 1)})["logits"]
    copy = first.copy()
    classifier.run({"input": inputs(2, 2)})
    assert np.array_equal(first, copy)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "?"])
def test_values_of_every_dtype_survive(
    dtype: str, new_graph: New, new_signature: New, engine: OpenVinoEngine
) -> None:
    data_type = dtype_of(dtype)
    graph = new_graph()
    graph.placeholder("x", (None, 3), data_type)
    graph.op("y", "Reshape", "x", "shape", data_type=data_type)
    graph.constant("shape", np.int32([3, -1]))
    tensors = {"x": ("x:0", data_type, (None, 3))}, {"y": ("y:0", data_type, (3, None))}
    executable = load(engine, graph, new_signature(*tensors))
    x = np.array([[0, 1, 1], [1, 0, 1]], dtype)
    y = executable.run({"x": x})["y"]
    assert y.dtype == x.dtype
    assert np.array_equal(y, x.reshape(3, 2))


def test_an_input_without_effect_is_taken(
    new_graph: New, new_signature: New, engine: OpenVinoEngine
) -> None:
    graph = new_graph()
    graph.placeholder("x", (2,))
    graph.placeholder("seed", (), tensor_pb2.DT_INT64)
    graph.op("y", "Relu", "x")
    tensors = {"x": ("x:0", FLOAT, (2,)), "seed": ("seed:0", tensor_pb2.DT_INT64, ())}
    executable = load(engine, graph, new_signature(tensors, {"y": ("y:0", FLOAT, (2,))}))
    outputs = executable.run({"x": np.float32([-1, 1]), "seed": np.int64(1)[...]})
    assert outputs["y"].tolist() == [0, 1]


def test_shapes_that_the_graph_cannot_take_are_the_askers_mistake(
    new_graph: New, new_signature: New, engine: OpenVinoEngine
) -> None:
    graph = new_graph()
    graph.placeholder("x", (None, None))
    graph.placeholder("w", (None, None))
    graph.op("y", "MatMul", "x", "w")
    tensors = {"x": ("x:0", FLOAT, (None, None)), "w": ("w:0", FLOAT, (None, None))}
    outputs = {"y": ("y:0", FLOAT, (None, None))}
    executable = load(engine, graph, new_signature(tensors, outputs))
    ones = np.ones((2, 2), np.float32)
    with pytest.raises(InvalidArgument, match=r"inputs 'w' \[3,2\], 'x' \[2,2\]"):
        executable.run({"x": ones, "w": np.ones((3, 2), np.float32)})
    assert executable.run({"x": ones, "w": ones})["y"].tolist() == [[2, 2], [2, 2]]


@pytest.mark.parametrize(
    ("op", "data_type", "error", "text"),
    [
        pytest.param("NoSuchOperation", FLOAT, Unimplemented, "it lacks NoSuch", id="operation"),
        pytest.param("Identity", tensor_pb2.DT_STRING, Unimplemented, "DT_STRING", id="strings"),
        pytest.param("ReadVariableOp", FLOAT, Unimplemented, "of a variable", id="no-variable"),
        pytest.param("VarHandleOp", FLOAT, FailedPrecondition, "has variables", id="variables"),
    ],
)
def test_what_the_engine_cannot_run_it_says(
    op: str,
    data_type: int,
    error: type[Exception],
    text: str,
    new_graph: New,
    new_signature: New,
    engine: OpenVinoEngine,
) -> None:
    graph = new_graph()
    graph.placeholder("x", (None,), data_type)
    graph.op("y", op, "x", data_type=data_type)
    tensors = {"x": ("x:0", data_type, (None,))}, {"y": ("y:0", data_type, (None,))}
    with pytest.raises(error, match=text):
        load(engine, graph, new_signature(*tensors))


def test_no_file_stays_open_after_loading(classifier: Executable) -> None:
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert not [link for link in links if "memfd:model" in str(link.readlink())]


def test_loading_the_engine_sends_no_usage_report() -> None:
    script = (
        "import sys; from sealserve.serving.capacity import plan; "
        "from sealserve.serving.engines.openvino import OpenVinoEngine; "
        "OpenVinoEngine(plan(1)); "
        "print([name for name in sys.modules if 'telemetry' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
