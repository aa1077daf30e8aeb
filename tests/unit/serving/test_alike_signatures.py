"""Signatures that compute the same are compiled once; others are never taken for the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from made_versions import HeldFiles
from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import GraphDef
from sealserve.serving.engines.openvino import OpenVinoEngine
from sealserve.serving.formats.subgraph import cut
from sealserve.serving.signature import parse_signature

FLOAT = tensor_pb2.DT_FLOAT
New = Callable[..., Any]


@pytest.fixture
def graph(new_graph: New) -> Any:
    """`ya` and `yb` are what two wrapping functions make of `a` and of `b`; both call `double`."""
    graph = new_graph()
    double = function(graph.proto, "double", "product:z:0")
    two = double.node_def.add(name="two", op="Const")
    two.attr["dtype"].type = FLOAT
    two.attr["value"].tensor.dtype = FLOAT
    two.attr["value"].tensor.float_val.append(2)
    product = double.node_def.add(name="product", op="Mul", input=["x", "two:output:0"])
    product.attr["T"].type = FLOAT
    for letter in "ab":
        graph.placeholder(letter, (None,))
        wrapper = function(graph.proto, f"wrapper_{letter}", "call:output:0")
        call(wrapper.node_def, "call", "double", "x")
        call(graph.proto.node, f"y{letter}", f"wrapper_{letter}", letter)
    return graph


def function(proto: GraphDef, name: str, result: str) -> Any:
    found = proto.library.function.add()
    found.signature.name = name
    found.signature.input_arg.add(name="x", type=FLOAT)
    found.signature.output_arg.add(name="r", type=FLOAT)
    found.ret["r"] = result
    return found


def call(nodes: Any, name: str, called: str, argument: str) -> None:
    node = nodes.add(name=name, op="PartitionedCall", input=[argument])
    node.attr["f"].func.name = called
    node.attr["Tin"].list.type.append(FLOAT)
    node.attr["Tout"].list.type.append(FLOAT)


def of(new_signature: New, letter: str, **more: str) -> Any:
    takes = {"x": (f"{letter}:0", FLOAT, (None,))}
    takes |= {alias: (f"{node}:0", FLOAT, (None,)) for alias, node in more.items()}
    return new_signature(takes, {"y": (f"y{letter}:0", FLOAT, None)})


def computation(graph: Any, definition: Any) -> bytes | None:
    return cut(graph.proto, parse_signature("s", definition)).computation()


def test_two_wrappers_of_one_function_are_compiled_once_and_run_under_both_names(
    graph: Any, new_signature: New, new_model: New, engine: OpenVinoEngine
) -> None:
    one, other = of(new_signature, "a"), of(new_signature, "b")
    model = new_model(graph.proto, serve=one, serving_default=other)
    files = HeldFiles({"saved_model.pb": model.SerializeToString()})
    found = engine.load(files, ["serve"]).executables
    for name, executable in found.items():
        assert executable.signature.name == name  # type: ignore[union-attr]
        assert executable.run({"x": np.float32([1, 2])})["y"].tolist() == [2, 4]  # type: ignore[union-attr]
    assert computation(graph, one) == computation(graph, other)


def other_constant(graph: Any) -> None:
    graph.constant("c", np.float32([1]))
    graph.constant("d", np.float32([3]))
    graph.op("ya2", "Mul", "ya", "c")
    graph.op("yb2", "Mul", "yb", "d")
    for letter in "ab":
        graph.op(f"z{letter}", "Identity", f"y{letter}2")


def other_operation(graph: Any) -> None:
    graph.op("za", "Relu", "ya")
    graph.op("zb", "Neg", "yb")


def other_function(graph: Any) -> None:
    third = function(graph.proto, "third", "relu:activations:0")
    third.node_def.add(name="relu", op="Relu", input=["x"]).attr["T"].type = FLOAT
    graph.op("za", "Identity", "ya")
    call(graph.proto.node, "zb", "third", "b")


def other_shape(graph: Any) -> None:
    graph.proto.node[0].attr["shape"].shape.dim[0].size = 5
    for letter in "ab":
        graph.op(f"z{letter}", "Identity", f"y{letter}")


@pytest.mark.parametrize("change", [other_constant, other_operation, other_function, other_shape])
def test_a_difference_anywhere_is_a_difference(
    change: Callable[[Any], None], graph: Any, new_signature: New
) -> None:
    change(graph)
    found = set()
    for letter in "ab":
        definition = of(new_signature, letter)
        definition.outputs["y"].name = f"z{letter}:0"
        found.add(computation(graph, definition))
    assert len(found) == 2
    assert None not in found


def test_inputs_that_change_places_are_a_difference(graph: Any, new_signature: New) -> None:
    graph.op("y", "Sub", "a", "b")
    found = set()
    for names in ("ab", "ba"):
        takes = {
            alias: (f"{n}:0", FLOAT, (None,)) for alias, n in zip(("p", "q"), names, strict=True)
        }
        found.add(computation(graph, new_signature(takes, {"y": ("y:0", FLOAT, None)})))
    assert len(found) == 2


def test_two_aliases_of_one_node_are_a_doubt(graph: Any, new_signature: New) -> None:
    assert computation(graph, of(new_signature, "a", again="a")) is None
