"""Frozen graphs to SavedModels: signatures out of the graph, and clear refusals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sealserve.errors import FormatError, SealServeError, UsageError
from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import AttrValue, GraphDef, NodeDef
from sealserve.messages.saved_model_pb2 import SignatureDef
from sealserve.models.convert import SignatureNames, convert, split_names
from sealserve.models.digits import digits_model
from sealserve.models.graph import GraphBuilder
from sealserve.models.saved_model import serialize

FLOAT = AttrValue(type=tensor_pb2.DT_FLOAT)


def digits_graph() -> GraphDef:
    return digits_model().meta_graphs[0].graph_def


def signature_of(graph: GraphDef, inputs: str, outputs: str) -> SignatureDef:
    names = SignatureNames(inputs.split(","), outputs.split(","))
    model = convert(graph.SerializeToString(), names)
    return model.meta_graphs[0].signature_def["serving_default"]


def sizes(signature: SignatureDef, name: str) -> list[int] | None:
    info = {**signature.inputs, **signature.outputs}[name]
    return None if info.tensor_shape.unknown_rank else [d.size for d in info.tensor_shape.dim]


def test_a_frozen_graph_becomes_the_saved_model_that_it_was_taken_from() -> None:
    data = digits_graph().SerializeToString()

    converted = convert(data, SignatureNames(["input"], ["predict"]))

    assert serialize(converted) == serialize(digits_model())


def test_several_names_and_other_outputs_go_into_the_signature() -> None:
    graph = digits_graph()
    top = NodeDef(name="top", op="TopKV2", input=["predict", "flat/shape"])
    top.attr["T"].CopyFrom(FLOAT)
    graph.node.append(top)

    signature = signature_of(graph, "input:0", "logits,predict:0,top:1")

    assert {key: info.name for key, info in signature.inputs.items()} == {"input": "input:0"}
    names = {key: (info.name, info.dtype) for key, info in signature.outputs.items()}
    assert names == {
        "logits": ("logits:0", tensor_pb2.DT_FLOAT),
        "predict": ("predict:0", tensor_pb2.DT_FLOAT),
        "top:1": ("top:1", tensor_pb2.DT_INT32),
    }
    assert sizes(signature, "top:1") is None


def test_an_operation_without_a_rule_has_an_unknown_shape() -> None:
    graph = digits_graph()
    odd = NodeDef(name="odd", op="Snapshot", input=["predict"])
    last = NodeDef(name="last", op="Identity", input=["odd"])
    last.attr["T"].CopyFrom(FLOAT)
    graph.node.extend([odd, last])

    assert sizes(signature_of(graph, "input", "last"), "last") is None


def test_shapes_follow_the_operations_through_the_graph() -> None:
    builder = GraphBuilder()
    image = builder.placeholder("image", [None, 13, 10, 3])
    image = builder.pad("pad", image, [(0, 0), (3, 3), (3, 2), (0, 0)])
    kernel = np.zeros((7, 7, 3, 4), np.float32)
    image = builder.conv2d("conv", image, kernel, stride=2, padding="VALID")
    builder.max_pool("pool", image, size=3, stride=2, padding="SAME")
    builder.add("sum", image, image)
    builder.mean("mean", image, [1, -2])
    builder.reshape("open", image, [-1, 4])
    builder.reshape("fixed", image, [8, 4])

    names = "pad,conv,pool,sum,mean,open,fixed"
    signature = signature_of(builder.graph, "image", names)

    assert {name: sizes(signature, name) for name in names.split(",")} == {
        "pad": [-1, 19, 15, 3],
        "conv": [-1, 7, 5, 4],
        "pool": [-1, 4, 3, 4],
        "sum": [-1, 7, 5, 4],
        "mean": [-1, 4],
        "open": [-1, 4],
        "fixed": [8, 4],
    }


def test_a_placeholder_without_a_shape_has_unknown_rank() -> None:
    graph = digits_graph()
    del graph.node[0].attr["shape"]

    signature = signature_of(graph, "input", "predict")

    assert sizes(signature, "input") is None
    assert sizes(signature, "predict") == [-1, 10]  # the weights alone tell this


def test_the_empty_shape_of_an_old_graph_means_unknown() -> None:
    graph = digits_graph()
    graph.node[0].attr["shape"].shape.ClearField("dim")
    assert sizes(signature_of(graph, "input", "input"), "input") == []

    graph.versions.producer = 23
    assert sizes(signature_of(graph, "input", "input"), "input") is None


BAD_NAMES = {
    "input not there": ("imput", "predict", "no node 'imput'", "near names in the graph: 'input'"),
    "output not there": ("input", "x", "no node 'x'", "has, for this: 'predict'"),
    "input no placeholder": ("dense", "predict", "expected a Placeholder", "graph: 'input'"),
    "placeholder not fed": ("input:0,input", "predict", "named twice", None),
    "no such output": ("input", "predict:1", "dtype of 'predict:1' cannot be told", "Identity"),
    "output no number": ("input", "predict:x", "expected NODE or NODE:NUMBER", None),
    "empty": ("input", "", "no node ''", None),
}


@pytest.mark.parametrize(
    ("inputs", "outputs", "message", "hint"), BAD_NAMES.values(), ids=BAD_NAMES.keys()
)
def test_names_that_do_not_fit_are_refused_with_what_would(
    inputs: str, outputs: str, message: str, hint: str | None
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        signature_of(digits_graph(), inputs, outputs)
    if hint is not None:
        assert caught.value.hint is not None
        assert hint in caught.value.hint


def test_a_placeholder_that_nobody_would_feed_is_refused() -> None:
    builder = GraphBuilder()
    left, right = builder.placeholder("left", [2]), builder.placeholder("right", [2])
    builder.add("sum", left, right)

    with pytest.raises(UsageError, match="placeholders that are not inputs: 'right'"):
        signature_of(builder.graph, "left", "sum")


def test_a_graph_with_variables_is_refused_as_not_frozen() -> None:
    graph = digits_graph()
    graph.node.append(NodeDef(name="bias", op="VarHandleOp"))
    next(node for node in graph.node if node.name == "logits").input[1] = "bias"

    with pytest.raises(UsageError, match="not frozen: the outputs rest on variables: 'bias'"):
        signature_of(graph, "input", "predict")


def without_name(graph: GraphDef) -> None:
    graph.node[3].name = ""


def twice(graph: GraphDef) -> None:
    graph.node.append(graph.node[3])


def dangling(graph: GraphDef) -> None:
    graph.node[2].input[0] = "gone"


def bad_output_number(graph: GraphDef) -> None:
    graph.node[2].input[0] = "input:9999999999"


def without_dtype(graph: GraphDef) -> None:
    del graph.node[0].attr["dtype"]


def empty(graph: GraphDef) -> None:
    graph.Clear()


BROKEN = [without_name, twice, dangling, bad_output_number, without_dtype, empty]


@pytest.mark.parametrize("damage", BROKEN, ids=lambda damage: damage.__name__)
def test_a_graph_that_contradicts_itself_is_rejected(damage: Callable[[GraphDef], None]) -> None:
    graph = digits_graph()
    damage(graph)

    with pytest.raises(FormatError):
        signature_of(graph, "input", "predict")


def test_a_loop_in_the_graph_ends_in_an_unknown_shape() -> None:
    graph = GraphDef()
    for name, source in (("a", "b"), ("b", "a")):
        node = NodeDef(name=name, op="Identity", input=[source])
        node.attr["T"].CopyFrom(FLOAT)
        graph.node.append(node)
    placeholder = NodeDef(name="x", op="Placeholder")
    placeholder.attr["dtype"].CopyFrom(FLOAT)
    graph.node.append(placeholder)

    assert sizes(signature_of(graph, "x", "a"), "a") is None


def test_a_saved_model_is_said_to_need_no_conversion() -> None:
    with pytest.raises(FormatError) as caught:
        convert(serialize(digits_model()), SignatureNames(["input"], ["predict"]))
    assert "needs no conversion" in (caught.value.hint or "")


def test_an_error_shows_names_of_a_hostile_graph_escaped_and_short() -> None:
    graph = digits_graph()
    graph.node.append(NodeDef(name="\x1b[2J" + "x" * 10_000, op="Placeholder"))

    with pytest.raises(SealServeError) as caught:
        signature_of(graph, "predict", "predict")
    assert "\x1b" not in (caught.value.hint or "")
    assert len(caught.value.hint or "") < 500


def test_names_are_separated_by_commas() -> None:
    assert split_names("input, mask") == ["input", "mask"]
    with pytest.raises(UsageError, match="expected names separated by commas"):
        split_names("input,")
