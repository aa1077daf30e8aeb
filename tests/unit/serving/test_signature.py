"""What fits a signature and what does not, in the words that clients match on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sealserve.errors import InvalidArgument, Unimplemented
from sealserve.messages import tensor_pb2
from sealserve.messages.saved_model_pb2 import SignatureDef
from sealserve.messages.tensors import to_proto
from sealserve.serving.signature import Signature, TensorSpec, merged, parse_signature

FLOAT, INT = tensor_pb2.DT_FLOAT, tensor_pb2.DT_INT32
IMAGE = TensorSpec("image", "image:0", FLOAT, (None, 2, 3))
COUNT = TensorSpec("count", "count:0", INT, ())
SCORES = TensorSpec("scores", "scores:0", FLOAT, None)
SIGNATURE = Signature("s", {"image": IMAGE, "count": COUNT}, {"a": SCORES, "b": SCORES})


def arrays(**changed: Any) -> dict[str, np.ndarray]:
    return {"image": np.zeros((4, 2, 3), np.float32), "count": np.int32(1)[...], **changed}


def test_inputs_that_fit_are_taken_as_they_are() -> None:
    inputs = arrays()
    taken = SIGNATURE.complete(inputs)
    assert all(taken[alias] is array for alias, array in inputs.items())


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        pytest.param(
            arrays(image=np.zeros((4, 2, 3))),
            "input 'image': expected DT_FLOAT, found DT_DOUBLE",
            id="dtype",
        ),
        pytest.param(
            arrays(image=np.zeros((4, 3, 2), np.float32)),
            "input 'image': expected shape [-1,2,3], found [4,3,2]",
            id="dimensions",
        ),
        pytest.param(
            arrays(image=np.zeros((2, 3), np.float32)),
            "input 'image': expected shape [-1,2,3], found [2,3]",
            id="rank",
        ),
        pytest.param(
            {"image": np.zeros((1, 2, 3), np.float32)},
            "input size does not match signature: 1!=2 len({image}) != len({count,image}). "
            "Sent extra: {}. Missing but required: {count}.",
            id="missing",
        ),
        pytest.param(
            arrays(more=np.zeros(1)),
            "input size does not match signature: 3!=2 len({count,image,more}) != "
            "len({count,image}). Sent extra: {more}. Missing but required: {}.",
            id="extra",
        ),
        pytest.param(
            {"image": np.zeros((1, 2, 3), np.float32), "cuont": np.int32(1)[...]},
            "input size does not match signature: 2!=2 len({cuont,image}) != len({count,image}). "
            "Sent extra: {cuont}. Missing but required: {count}.",
            id="misspelt",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_told_why(inputs: dict[str, np.ndarray], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        SIGNATURE.complete(inputs)
    assert caught.value.message == text


def test_a_default_stands_in_for_an_input_that_is_left_out() -> None:
    signature = Signature("s", SIGNATURE.inputs, SIGNATURE.outputs, {"count": np.int32(7)[...]})
    assert signature.complete({"image": arrays()["image"]})["count"] == 7
    assert signature.complete(arrays())["count"] == 1


def test_all_outputs_are_answered_unless_some_are_asked_for() -> None:
    assert SIGNATURE.select([]) == ("a", "b")
    assert SIGNATURE.select(["b"]) == ("b",)


def test_an_output_filter_names_known_outputs_once() -> None:
    with pytest.raises(InvalidArgument, match="output tensor alias not found in signature: c "):
        SIGNATURE.select(["c"])
    with pytest.raises(InvalidArgument, match="duplicate output tensor alias: a"):
        SIGNATURE.select(["a", "b", "a"])


@pytest.mark.parametrize(
    ("shape", "batchable"),
    [((None, 3), True), ((1, 3), False), ((), False), (None, False)],
)
def test_only_a_free_first_dimension_is_batched(
    shape: tuple[int | None, ...] | None, batchable: bool
) -> None:
    spec = TensorSpec("x", "x:0", FLOAT, shape)
    assert Signature("s", {"x": spec}, {"y": IMAGE}).batchable is batchable
    assert Signature("s", {"x": IMAGE}, {"y": spec}).batchable is batchable


def test_two_descriptions_of_a_shape_complete_each_other() -> None:
    assert merged((None, 2), (3, None)) == (3, 2)
    assert merged(None, (3, None)) == (3, None)
    assert merged((3, None), None) == (3, None)
    assert merged((None, 2), (1, 2, 3)) == (None, 2)


def test_a_definition_is_read_with_its_default_values(
    new_signature: Callable[..., SignatureDef],
) -> None:
    definition = new_signature(
        {"x": ("x", FLOAT, (None, 2)), "n": ("n:0", INT, ())}, {"y": ("y:1", FLOAT, None)}
    )
    definition.defaults["n"].CopyFrom(to_proto(np.int32(5)[...]))
    signature = parse_signature("s", definition)
    assert signature.inputs["x"] == TensorSpec("x", "x:0", FLOAT, (None, 2))
    assert signature.outputs["y"] == TensorSpec("y", "y:1", FLOAT, None)
    assert signature.defaults["n"] == 5


@pytest.mark.parametrize(
    "data_type",
    [tensor_pb2.DT_BFLOAT16, tensor_pb2.DT_QUINT8, tensor_pb2.DT_RESOURCE, tensor_pb2.DT_INVALID],
)
def test_dtypes_that_arrays_cannot_have_are_not_served(
    data_type: int, new_signature: Callable[..., SignatureDef]
) -> None:
    definition = new_signature({"x": ("x:0", data_type, (2,))}, {"y": ("y:0", FLOAT, (2,))})
    with pytest.raises(Unimplemented, match="tensor 'x' is DT_"):
        parse_signature("s", definition)


def test_sparse_tensors_and_signatures_without_outputs_are_not_served(
    new_signature: Callable[..., SignatureDef],
) -> None:
    sparse = new_signature({}, {"y": ("y:0", FLOAT, (2,))})
    sparse.inputs["x"].coo_sparse.values_tensor_name = "x:0"
    with pytest.raises(Unimplemented, match="sparse"):
        parse_signature("s", sparse)
    with pytest.raises(Unimplemented, match="no outputs"):
        parse_signature("s", SignatureDef())
