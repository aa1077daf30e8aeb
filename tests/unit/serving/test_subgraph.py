"""What is cut out of a graph for one signature, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sealserve.errors import FailedPrecondition, FormatError, Unimplemented
from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import FunctionDef, GraphDef
from sealserve.messages.saved_model_pb2 import SignatureDef
from sealserve.serving.formats.subgraph import cut
from sealserve.serving.signature import parse_signature

FLOAT = tensor_pb2.DT_FLOAT
New = Callable[..., Any]


@pytest.fixture
def graph(new_graph: New) -> Any:
    """x -> doubled -> y; beside it what an export leaves behind."""
    graph = new_graph()
    graph.placeholder("x", None)
    graph.constant("two", np.float32([2]))
    graph.op("doubled", "Mul", "x", "two", "^assertion")
    graph.op("y", "Relu", "doubled:0")
    graph.op("assertion", "NoSuchOperation", "x")
    graph.proto.node.add(name="variable", op="VarHandleOp")
    graph.proto.node.add(name="save", op="SaveV2", input=["variable"])
    return graph


def pieces(graph: GraphDef, definition: SignatureDef) -> GraphDef:
    return GraphDef.FromString(b"".join(cut(graph, parse_signature("s", definition)).pieces()))


def nodes(graph: GraphDef) -> dict[str, Any]:
    return {node.name: node for node in graph.node}


def test_only_what_the_outputs_depend_on_remains(graph: Any, new_signature: New) -> None:
    definition = new_signature({"in": ("x:0", FLOAT, (None, 3))}, {"out": ("y:0", FLOAT, None)})
    found = nodes(pieces(graph.proto, definition))
    assert set(found) == {"x", "two", "doubled", "y", "sealserve_output_0"}
    assert list(found["doubled"].input) == ["x", "two"]
    assert list(found["sealserve_output_0"].input) == ["y"]


def test_the_graph_itself_is_left_as_it_was(graph: Any, new_signature: New) -> None:
    before = graph.proto.SerializeToString(deterministic=True)
    pieces(graph.proto, new_signature({"in": ("x:0", FLOAT, (1,))}, {"out": ("y:0", FLOAT, None)}))
    assert graph.proto.SerializeToString(deterministic=True) == before


def test_a_placeholder_without_a_shape_has_that_of_the_signature(
    graph: Any, new_signature: New
) -> None:
    definition = new_signature({"in": ("x:0", FLOAT, (None, 3))}, {"out": ("y:0", FLOAT, None)})
    shape = nodes(pieces(graph.proto, definition))["x"].attr["shape"].shape
    assert [dim.size for dim in shape.dim] == [-1, 3]


def test_a_graph_can_be_entered_in_the_middle(graph: Any, new_signature: New) -> None:
    definition = new_signature({"in": ("doubled:0", FLOAT, (2,))}, {"out": ("y:0", FLOAT, None)})
    found = nodes(pieces(graph.proto, definition))
    assert set(found) == {"doubled", "y", "sealserve_output_0"}
    assert found["doubled"].op == "Placeholder"
    assert not found["doubled"].input


def add_function(graph: Any, name: str, calls: str = "") -> FunctionDef:
    """A function of one tensor: Relu of it, or what another function makes of it."""
    function: FunctionDef = graph.proto.library.function.add()
    function.signature.name = name
    function.signature.input_arg.add(name="a", type=FLOAT)
    function.signature.output_arg.add(name="r", type=FLOAT)
    if calls:
        node = function.node_def.add(name="inner", op="PartitionedCall", input=["a"])
        node.attr["f"].func.name = calls
        function.ret["r"] = "inner:output:0"
    else:
        function.node_def.add(name="inner", op="Relu", input=["a"])
        function.ret["r"] = "inner:activations:0"
    return function


def test_functions_that_are_called_come_along_and_no_others(graph: Any, new_signature: New) -> None:
    for name, calls in (("outer", "inner"), ("inner", ""), ("unused", "")):
        add_function(graph, name, calls)
    graph.op("z", "PartitionedCall", "y").attr["f"].func.name = "outer"
    definition = new_signature({"in": ("x:0", FLOAT, (1,))}, {"out": ("z:0", FLOAT, None)})
    library = pieces(graph.proto, definition).library
    assert {function.signature.name for function in library.function} == {"outer", "inner"}


def test_a_function_keeps_what_its_results_depend_on(graph: Any, new_signature: New) -> None:
    function = add_function(graph, "outer")
    function.node_def.add(name="check", op="NoSuchOperation", input=["a"])
    function.node_def[0].input.append("^check")
    graph.op("z", "PartitionedCall", "y").attr["f"].func.name = "outer"
    definition = new_signature({"in": ("x:0", FLOAT, (1,))}, {"out": ("z:0", FLOAT, None)})
    (found,) = pieces(graph.proto, definition).library.function
    assert [(node.name, list(node.input)) for node in found.node_def] == [("inner", ["a"])]


def test_functions_that_call_themselves_are_refused(graph: Any, new_signature: New) -> None:
    add_function(graph, "outer", "outer")
    graph.op("z", "PartitionedCall", "y").attr["f"].func.name = "outer"
    definition = new_signature({"in": ("x:0", FLOAT, (1,))}, {"out": ("z:0", FLOAT, None)})
    with pytest.raises(Unimplemented, match="call themselves"):
        pieces(graph.proto, definition)


def test_a_variable_without_a_value_is_refused_with_what_to_do(
    graph: Any, new_signature: New
) -> None:
    graph.op("read", "ReadVariableOp", "variable")
    graph.op("z", "Mul", "y", "read")
    definition = new_signature({"in": ("x:0", FLOAT, (1,))}, {"out": ("z:0", FLOAT, None)})
    with pytest.raises(
        FailedPrecondition, match=r"has variables .* no variables/variables\.index"
    ) as (caught):
        pieces(graph.proto, definition)
    assert "variables/" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("inputs", "output", "error"),
    [
        pytest.param("nothing:0", "y:0", FormatError, id="input-not-there"),
        pytest.param("x:1", "y:0", Unimplemented, id="second-output-as-input"),
        pytest.param("x:0", "nothing:0", FormatError, id="output-not-there"),
        pytest.param("x:0", "dangling:0", FormatError, id="node-names-a-missing-one"),
    ],
)
def test_a_signature_that_the_graph_does_not_carry_is_refused(
    inputs: str, output: str, error: type[Exception], graph: Any, new_signature: New
) -> None:
    graph.op("dangling", "Relu", "gone")
    definition = new_signature({"in": (inputs, FLOAT, (1,))}, {"out": (output, FLOAT, None)})
    with pytest.raises(error):
        pieces(graph.proto, definition)


def test_a_graph_that_uses_our_output_names_is_refused(graph: Any, new_signature: New) -> None:
    graph.op("sealserve_output_0", "Relu", "x")
    definition = new_signature({"in": ("x:0", FLOAT, (1,))}, {"out": ("y:0", FLOAT, None)})
    with pytest.raises(FormatError):
        pieces(graph.proto, definition)
