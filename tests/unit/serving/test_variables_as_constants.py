"""Variables that become constants: the engine computes with their values, wherever handles go."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from made_versions import HeldFiles, add_restoring, bundle
from sealserve.errors import FormatError, SealServeError, Unimplemented
from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import FunctionDef, GraphDef, NodeDef
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.serving.engine import Executable
from sealserve.serving.engines.openvino import OpenVinoEngine
from sealserve.serving.formats.bundle import INDEX_NAME, Bundle
from sealserve.serving.formats.restoring import stored_variables
from sealserve.serving.formats.subgraph import cut
from sealserve.serving.formats.variables import Variables
from sealserve.serving.signature import Signature, TensorSpec

FLOAT, INT32, RESOURCE = tensor_pb2.DT_FLOAT, tensor_pb2.DT_INT32, tensor_pb2.DT_RESOURCE
BOOL = tensor_pb2.DT_BOOL
WEIGHTS = np.float32([[1, 2], [3, 4], [5, 6]])
X = np.float32([[1, 0, 2], [0, 1, 1]])
New = Callable[..., Any]


class Model:
    """`x` [n,3] -> `y`, with the variable `w` behind a handle, under construction."""

    def __init__(self, graph: Any, engine: OpenVinoEngine) -> None:
        self.graph = graph
        self.engine = engine
        self.values = {"key/of/w": WEIGHTS}
        graph.placeholder("x", (None, 3))
        self.variable("w", WEIGHTS.shape)

    def variable(self, name: str, shape: tuple[int, ...], data_type: int = FLOAT) -> None:
        node = self.graph.proto.node.add(name=name, op="VarHandleOp")
        node.attr["dtype"].type = data_type
        node.attr["shape"].shape.SetInParent()
        for size in shape:
            node.attr["shape"].shape.dim.add(size=size)

    def node(self, name: str, op: str, *inputs: str, **types: Any) -> NodeDef:
        return add(self.graph.proto.node, name, op, *inputs, **types)

    def function(
        self, name: str, takes: Mapping[str, int], gives: Mapping[str, tuple[str, int]]
    ) -> FunctionDef:
        function: FunctionDef = self.graph.proto.library.function.add()
        function.signature.name = name
        for argument, data_type in takes.items():
            function.signature.input_arg.add(name=argument, type=data_type)
        for result, (reference, data_type) in gives.items():
            function.signature.output_arg.add(name=result, type=data_type)
            function.ret[result] = reference
        return function

    def load(
        self, keys: Mapping[str, str] | None = None, *, part: str = "", output: str = "y:0"
    ) -> Executable:
        model = SavedModel()
        meta_graph = model.meta_graphs.add()
        restored = {"w": "key/of/w"} if keys is None else keys
        meta_graph.saver_def.restore_op_name = add_restoring(self.graph.proto, restored, part=part)
        meta_graph.graph_def.CopyFrom(self.graph.proto)
        meta_graph.meta_info_def.tags.append("serve")
        definition = meta_graph.signature_def["serving_default"]
        definition.inputs["x"].name, definition.inputs["x"].dtype = "x:0", FLOAT
        definition.outputs["y"].name, definition.outputs["y"].dtype = output, FLOAT
        files = {"saved_model.pb": model.SerializeToString(), **bundle(self.values)}
        found = self.engine.load(HeldFiles(files), ["serve"]).executables["serving_default"]
        if isinstance(found, Unimplemented):
            raise found
        return found

    def y(self, x: np.ndarray = X, **options: Any) -> np.ndarray:
        return self.load(**options).run({"x": x})["y"]


def add(nodes: Any, name: str, op: str, *inputs: str, **types: Any) -> NodeDef:
    """A node with attributes: types, lists of types, names of functions."""
    node: NodeDef = nodes.add(name=name, op=op, input=inputs)
    for key, value in types.items():
        if isinstance(value, list):
            node.attr[key].list.type.extend(value)
        elif isinstance(value, str):
            node.attr[key].func.name = value
        else:
            node.attr[key].type = value
    return node


@pytest.fixture(params=["by a file in memory", "node by node"])
def model(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    new_graph: New,
    engine: OpenVinoEngine,
) -> Model:
    if request.param == "node by node":
        monkeypatch.setattr(os, "memfd_create", no_memory_files)
    return Model(new_graph(), engine)


def no_memory_files(name: str, flags: int) -> int:
    raise OSError(errno.ENOSYS, "Function not implemented")


def multiplying(model: Model, name: str, read: str = "ReadVariableOp") -> None:
    """A function (x, handle) -> x @ value."""
    function = model.function(
        name, {"a": FLOAT, "h": RESOURCE}, {"r": ("product:product:0", FLOAT)}
    )
    add(function.node_def, "value", read, "h", dtype=FLOAT)
    add(function.node_def, "product", "MatMul", "a", "value:value:0", T=FLOAT)


def test_a_variable_that_is_read_in_the_graph(model: Model) -> None:
    model.node("read", "ReadVariableOp", "w", dtype=FLOAT)
    model.node("y", "MatMul", "x", "read", T=FLOAT)
    assert np.array_equal(model.y(), X @ WEIGHTS)


def test_a_handle_that_passes_through_an_identity(model: Model) -> None:
    model.node("same", "Identity", "w", T=RESOURCE)
    model.node("read", "ReadVariableOp", "same:0", dtype=FLOAT)
    model.node("y", "MatMul", "x", "read", T=FLOAT)
    assert np.array_equal(model.y(), X @ WEIGHTS)


def test_a_variable_of_tensorflow_1(model: Model) -> None:
    variable = model.node("v", "VariableV2", dtype=FLOAT)
    variable.attr["shape"].shape.dim.add(size=3)
    model.node("v/read", "Identity", "v", T=FLOAT)
    model.node("y", "Mul", "x", "v/read", T=FLOAT)
    model.values["v"] = np.float32([2, 3, 4])
    assert np.array_equal(model.y(keys={"w": "key/of/w", "v": "v"}), X * [2, 3, 4])


def test_a_handle_through_functions_inside_each_other(model: Model) -> None:
    multiplying(model, "inner")
    takes = {"a": FLOAT, "h": RESOURCE}
    outer = model.function("outer", takes, {"r": ("call:output:0", FLOAT)})
    types: dict[str, Any] = {"Tin": [FLOAT, RESOURCE], "Tout": [FLOAT]}
    add(outer.node_def, "call", "StatefulPartitionedCall", "a", "h", f="inner", **types)
    model.node("y", "StatefulPartitionedCall", "x", "w", f="outer", **types)
    assert np.array_equal(model.y(), X @ WEIGHTS)


def test_one_function_for_two_variables(model: Model) -> None:
    multiplying(model, "times")
    model.variable("v", (3, 2))
    model.values["v"] = -WEIGHTS
    types: dict[str, Any] = {"Tin": [FLOAT, RESOURCE], "Tout": [FLOAT]}
    model.node("one", "PartitionedCall", "x", "w", f="times", **types)
    model.node("other", "PartitionedCall", "x", "v", f="times", **types)
    model.node("y", "AddV2", "one", "other", T=FLOAT)
    assert not model.y(keys={"w": "key/of/w", "v": "v"}).any()


def test_a_handle_that_a_function_gives_back(model: Model) -> None:
    model.function("give", {"h": RESOURCE}, {"r": ("h", RESOURCE)})
    model.node("given", "PartitionedCall", "w", f="give", Tin=[RESOURCE], Tout=[RESOURCE])
    model.node("read", "ReadVariableOp", "given", dtype=FLOAT)
    model.node("y", "MatMul", "x", "read", T=FLOAT)
    assert np.array_equal(model.y(), X @ WEIGHTS)


def test_a_branch_takes_a_handle(model: Model) -> None:
    multiplying(model, "then")
    takes = {"a": FLOAT, "h": RESOURCE}
    other = model.function("else", takes, {"r": ("negative:y:0", FLOAT)})
    add(other.node_def, "value", "ReadVariableOp", "h", dtype=FLOAT)
    add(other.node_def, "product", "MatMul", "a", "value:value:0", T=FLOAT)
    add(other.node_def, "negative", "Neg", "product:product:0", T=FLOAT)
    model.graph.constant("axes", np.int32([0, 1]))
    model.graph.constant("zero", np.float32(0)[...])
    model.node("sum", "Sum", "x", "axes", T=FLOAT, Tidx=INT32)
    model.node("positive", "Greater", "sum", "zero", T=FLOAT)
    functions = {"then_branch": "then", "else_branch": "else"}
    types = {"Tcond": BOOL, "Tin": [FLOAT, RESOURCE], "Tout": [FLOAT]}
    model.node("y", "If", "positive", "x", "w", **functions, **types)
    executable = model.load()
    assert np.array_equal(executable.run({"x": X})["y"], X @ WEIGHTS)
    assert np.array_equal(executable.run({"x": -X})["y"], X @ WEIGHTS)


def test_a_loop_takes_a_handle(model: Model) -> None:
    """x * v, three times."""
    model.variable("v", (3,))
    model.values["v"] = np.float32([1, 2, 3])
    takes = {"i": INT32, "a": FLOAT, "h": RESOURCE}
    condition = model.function("goes_on", takes, {"r": ("less:z:0", BOOL)})
    three = add(condition.node_def, "three", "Const", dtype=INT32)
    three.attr["value"].tensor.dtype = INT32
    three.attr["value"].tensor.int_val.append(3)
    add(condition.node_def, "less", "Less", "i", "three:output:0", T=INT32)
    gives = {"i2": ("next:z:0", INT32), "a2": ("product:z:0", FLOAT), "h2": ("h", RESOURCE)}
    body = model.function("step", takes, gives)
    body.node_def.add().CopyFrom(three)
    body.node_def[0].name = "one"
    body.node_def[0].attr["value"].tensor.int_val[:] = [1]
    add(body.node_def, "next", "AddV2", "i", "one:output:0", T=INT32)
    add(body.node_def, "value", "ReadVariableOp", "h", dtype=FLOAT)
    add(body.node_def, "product", "Mul", "a", "value:value:0", T=FLOAT)
    model.graph.constant("start", np.int32(0)[...])
    types = {"T": [INT32, FLOAT, RESOURCE], "cond": "goes_on", "body": "step"}
    model.node("loop", "While", "start", "x", "v", **types)
    model.node("y", "Identity", "loop:1", T=FLOAT)
    assert np.array_equal(model.y(keys={"v": "v"}), X * np.float32([1, 8, 27]))


def test_rows_that_are_gathered(model: Model) -> None:
    takes = {"a": FLOAT, "h": RESOURCE}
    function = model.function("rows", takes, {"r": ("rows:output:0", FLOAT)})
    add(function.node_def, "which", "Cast", "a", SrcT=FLOAT, DstT=INT32)
    types = {"dtype": FLOAT, "Tindices": INT32}
    add(function.node_def, "rows", "ResourceGather", "h", "which:y:0", **types)
    types_of_call: dict[str, Any] = {"Tin": [FLOAT, RESOURCE], "Tout": [FLOAT]}
    model.node("y", "PartitionedCall", "x", "w", f="rows", **types_of_call)
    assert np.array_equal(model.y(), WEIGHTS[X.astype(int)])


def test_the_shape_of_a_variable(model: Model) -> None:
    model.node("shape", "VariableShape", "w", out_type=INT32)
    model.node("sizes", "Cast", "shape", SrcT=INT32, DstT=FLOAT)
    model.graph.constant("axes", np.int32([0]))
    model.node("sum", "Sum", "sizes", "axes", T=FLOAT, Tidx=INT32)
    model.node("y", "Mul", "x", "sum", T=FLOAT)
    assert np.array_equal(model.y(), X * 5)


def assigning(model: Model) -> None:
    model.node("change", "AssignAddVariableOp", "w", "x", dtype=FLOAT)
    model.node("read", "ReadVariableOp", "w", "^change", dtype=FLOAT)
    model.node("y", "MatMul", "x", "read", T=FLOAT)


def assigning_unread(model: Model) -> None:
    """In a function, where nothing depends on it: TensorFlow runs it nevertheless."""
    multiplying(model, "f")
    add(model.graph.proto.library.function[-1].node_def, "change", "AssignVariableOp", "h", "a")
    types: dict[str, Any] = {"Tin": [FLOAT, RESOURCE], "Tout": [FLOAT]}
    model.node("y", "StatefulPartitionedCall", "x", "w", f="f", **types)


def two_types(model: Model) -> None:
    function = model.function("f", {"h": RESOURCE}, {"r": ("value:value:0", FLOAT)})
    add(function.node_def, "value", "ReadVariableOp", "h", dtype=FLOAT)
    model.variable("v", (3,), tensor_pb2.DT_DOUBLE)
    for number, name in enumerate(("w", "v")):
        types: dict[str, Any] = {"Tin": [RESOURCE], "Tout": [FLOAT]}
        model.node(f"y{number}", "PartitionedCall", name, f="f", **types)
    model.node("y", "AddV2", "y0", "y1", T=FLOAT)


def unknown_use(model: Model) -> None:
    model.node("y", "ReadSomehow", "x", "w", T=FLOAT)


def inside_a_function(model: Model) -> None:
    function = model.function("f", {"a": FLOAT}, {"r": ("read:value:0", FLOAT)})
    add(function.node_def, "own", "VarHandleOp", dtype=FLOAT)
    add(function.node_def, "read", "ReadVariableOp", "own:resource:0", dtype=FLOAT)
    model.node("y", "PartitionedCall", "x", f="f", Tin=[FLOAT], Tout=[FLOAT])


REFUSED: dict[str, tuple[Callable[[Model], None], str]] = {
    "assigned before it is read": (assigning, "changes a variable while it answers"),
    "assigned in a function": (assigning_unread, "changes a variable while it answers"),
    "two types in one place": (two_types, "several types"),
    "an operation not known": (unknown_use, "ReadSomehow of a variable"),
    "a variable of a function's own": (inside_a_function, "cannot be made a constant"),
}


@pytest.mark.parametrize(("build", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_made_constant_says_so_and_what_to_do(
    build: Callable[[Model], None], text: str, model: Model
) -> None:
    build(model)
    with pytest.raises(Unimplemented, match=text) as caught:
        model.load()
    assert "--engine=tensorflow" in str(caught.value.hint)


def read_plainly(model: Model) -> None:
    model.node("read", "ReadVariableOp", "w", dtype=FLOAT)
    model.node("y", "MatMul", "x", "read", T=FLOAT)


def test_a_variable_that_the_export_does_not_restore_is_refused(model: Model) -> None:
    read_plainly(model)
    with pytest.raises(Unimplemented, match="'w' is not restored from the export"):
        model.load(keys={})


def test_a_part_of_a_stored_value_is_refused(model: Model) -> None:
    read_plainly(model)
    with pytest.raises(Unimplemented, match="'w' is part of a larger one"):
        model.load(part="6 2 0,3:0,2")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(WEIGHTS.astype(np.float64), "is DT_FLOAT; its value is DT_DOUBLE", id="dtype"),
        pytest.param(WEIGHTS.T, r"has shape \[3,2\]; its value has \[2,3\]", id="shape"),
    ],
)
def test_a_value_that_is_not_the_variables_is_refused(
    value: np.ndarray, text: str, model: Model
) -> None:
    read_plainly(model)
    model.values["key/of/w"] = np.ascontiguousarray(value)
    with pytest.raises(FormatError, match=text):
        model.load()


def test_a_restore_op_that_is_not_there_is_refused(model: Model) -> None:
    with pytest.raises(FormatError, match="restore op 'gone'"):
        stored_variables(model.graph.proto, "gone")


def test_a_graph_without_a_restore_op_restores_nothing() -> None:
    assert stored_variables(GraphDef(), "") == {}


def restoring_in_functions() -> GraphDef:
    """What TensorFlow 2 writes: one function that assigns, called with the handles."""
    graph = GraphDef()
    graph.node.add(name="v", op="VarHandleOp")
    call = graph.node.add(name="restore", op="StatefulPartitionedCall", input=["prefix", "v"])
    call.attr["f"].func.name = "traced_restore"
    function = graph.library.function.add()
    function.signature.name = "traced_restore"
    function.signature.input_arg.add(name="file_prefix")
    function.signature.input_arg.add(name="handle")
    inner = GraphDef()
    add_restoring(inner, {"handle": "some/key"})
    for node in inner.node:
        node.input[:] = [f"{i}:tensors:0" if i == "restored" else i for i in node.input]
    function.node_def.extend(inner.node)
    return graph


def test_restoring_is_followed_into_functions() -> None:
    assert stored_variables(restoring_in_functions(), "restore")["v"].key == "some/key"


def damaged(sound: bytes, data: st.DataObject) -> GraphDef | None:
    """A graph of which a few bytes are others; None where that is no graph any more."""
    changed = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    try:
        return GraphDef.FromString(bytes(changed))
    except DecodeError:
        return None


RESTORING = restoring_in_functions().SerializeToString()


@given(data=st.data())
def test_damage_in_what_restores_is_refused_with_our_errors_alone(data: st.DataObject) -> None:
    graph = damaged(RESTORING, data)
    if graph is not None:
        with suppress(SealServeError):
            stored_variables(graph, "restore")


SIGNATURE = Signature(
    "s", {"x": TensorSpec("x", "x:0", FLOAT, None)}, {"y": TensorSpec("y", "y:0", FLOAT, None)}
)


@given(data=st.data())
def test_damage_in_what_is_lifted_is_refused_with_our_errors_alone(data: st.DataObject) -> None:
    graph = damaged(LIFTED, data)
    if graph is not None:
        with suppress(SealServeError):
            part = cut(graph, SIGNATURE, NO_VARIABLES)
            part.computation()
            list(part.pieces())


def branching() -> bytes:
    """A graph with a handle that goes through a call and a branch into functions."""
    graph = GraphDef()
    graph.node.add(name="x", op="Placeholder")
    add(graph.node, "w", "VarHandleOp", dtype=FLOAT)
    types: dict[str, Any] = {"Tin": [FLOAT, RESOURCE], "Tout": [FLOAT]}
    functions = {"then_branch": "f", "else_branch": "f"}
    add(graph.node, "one", "If", "x", "x", "w", **functions, **types)
    add(graph.node, "y", "StatefulPartitionedCall", "one", "w", f="f", **types)
    function = graph.library.function.add()
    function.signature.name = "f"
    function.signature.input_arg.add(name="a", type=FLOAT)
    function.signature.input_arg.add(name="h", type=RESOURCE)
    function.signature.output_arg.add(name="r", type=FLOAT)
    function.ret["r"] = "rows:output:0"
    add(function.node_def, "rows", "ResourceGather", "h", "a", dtype=FLOAT)
    return graph.SerializeToString()


LIFTED = branching()
NO_VARIABLES = Variables(Bundle(bundle({})[INDEX_NAME], HeldFiles({}).read), {})


def test_functions_that_call_each_other_without_end_are_refused_at_once() -> None:
    graph = restoring_in_functions()
    for depth in range(40):
        function = graph.library.function.add()
        function.signature.name = f"f{depth}"
        for side in "ab":
            call = function.node_def.add(name=side, op="PartitionedCall")
            call.attr["f"].func.name = f"f{depth + 1}"
    restore = graph.node.add(name="tree", op="PartitionedCall")
    restore.attr["f"].func.name = "f0"
    with pytest.raises(FormatError, match="too deep, or call too many"):
        stored_variables(graph, "tree")
