"""Shapes and dtypes of a frozen graph's tensors, as far as the graph alone tells them.

A signature may have an unknown shape, so one that cannot be told stays unknown: a wrong one would
mislead clients. It must have a dtype, so that one that cannot be told is an error. Sources of the
dtypes: TensorFlow 2.21, core/ops/{array,math,nn}_ops.cc.
"""

from __future__ import annotations

from collections.abc import Iterable

from sealserve.errors import FormatError, InvalidArgument, UsageError
from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import NodeDef
from sealserve.messages.tensors import dtype_name
from sealserve.models.frozen import FrozenGraph, TensorName, parse_operand, shown
from sealserve.models.shape_rules import ELEMENTWISE, RULES, Call, Shape, UnknownShape, attribute

MAX_DIMENSION = 2**63 - 1
# Graphs before this version wrote an empty shape for an unknown one (core/ops/array_ops.cc).
UNKNOWN_AS_EMPTY = 24

# Which attribute of an operation is the dtype of an output, and its default. Others: `T`.
_DTYPES = {
    ("ArgMax", 0): ("output_type", tensor_pb2.DT_INT64),
    ("ArgMin", 0): ("output_type", tensor_pb2.DT_INT64),
    ("Cast", 0): ("DstT", tensor_pb2.DT_INVALID),
    ("Const", 0): ("dtype", tensor_pb2.DT_INVALID),
    ("Placeholder", 0): ("dtype", tensor_pb2.DT_INVALID),
    ("PlaceholderV2", 0): ("dtype", tensor_pb2.DT_INVALID),
    ("PlaceholderWithDefault", 0): ("dtype", tensor_pb2.DT_INVALID),
    ("TopKV2", 0): ("T", tensor_pb2.DT_INVALID),
    ("TopKV2", 1): ("index_type", tensor_pb2.DT_INT32),
}
_SAME_DTYPE = ELEMENTWISE | (RULES.keys() - {op for op, _ in _DTYPES})


def tensor_dtype(graph: FrozenGraph, name: TensorName) -> tensor_pb2.DataType:
    """The dtype of one tensor; UsageError where the graph does not tell it."""
    node = graph.nodes[name.node]
    if name.output == 0 and node.op in _SAME_DTYPE:
        key, found = "T", tensor_pb2.DT_INVALID
    elif (node.op, name.output) in _DTYPES:
        key, found = _DTYPES[node.op, name.output]
    else:
        raise UsageError(
            f"the dtype of {shown(str(name))} cannot be told: its operation is {shown(node.op)}",
            hint="freeze the graph with an Identity after it, and name that as the output",
        )
    if key in node.attr:
        found = node.attr[key].type
    if found == tensor_pb2.DT_INVALID or found not in tensor_pb2.DataType.values():
        raise FormatError(
            f"node {shown(node.name)}: {key} is {dtype_name(found)}, expected a dtype"
        )
    return found


def infer_shapes(graph: FrozenGraph, names: Iterable[TensorName]) -> dict[TensorName, Shape]:
    """The shapes of `names`; None is an unknown rank, a dimension None is open."""
    wanted = list(names)
    known: dict[str, Shape] = {}
    for node in graph.needed(name.node for name in wanted):
        known[node.name] = _first_output(graph, node, known)
    return {name: known[name.node] if name.output == 0 else None for name in wanted}


def _first_output(graph: FrozenGraph, node: NodeDef, known: dict[str, Shape]) -> Shape:
    rule = RULES.get(node.op)
    if rule is None:
        return None
    sources = [parse_operand(source) for source in node.input]
    shapes = [known.get(source.node) if source.output == 0 else None for source in sources]
    constants = [_constant(graph, source.node) for source in sources]
    try:
        shape = rule(Call(node, shapes, constants))
    except (UnknownShape, InvalidArgument, LookupError, ZeroDivisionError):
        return None  # attributes or operands that contradict the operation
    if shape == () and node.op == "Placeholder" and _writes_unknown_as_empty(graph):
        return None
    sound = shape is not None and all(size is None or 0 <= size <= MAX_DIMENSION for size in shape)
    return shape if sound else None


def _constant(graph: FrozenGraph, name: str) -> NodeDef | None:
    """The Const behind a name, also where an Identity stands between, as freezing leaves it."""
    node = graph.nodes[name]
    if node.op == "Identity" and node.input:
        node = graph.nodes[parse_operand(node.input[0]).node]
    return node if node.op == "Const" and attribute(node, "value").HasField("tensor") else None


def _writes_unknown_as_empty(graph: FrozenGraph) -> bool:
    return graph.graph.versions.producer < UNKNOWN_AS_EMPTY
