"""What one signature needs of a graph, as the bytes of a GraphDef of its own.

An exported graph holds more than serving needs (saving, restoring, other signatures), which an
engine would trip over. So: keep what the outputs depend on, cut at the inputs, and give each output
a name that nothing else has. Bytes come piece by piece: a message on the wire is the concatenation
of its fields, so a large graph is never copied as a whole.

Source: TensorFlow 2.21, core/framework/{graph,node_def,function}.proto. Tensor names: `node:i` is
output i, `node` is output 0, `^node` is a control dependency. Those are dropped: what hangs on one
(an assertion, an assignment) gives no tensor to the output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sealserve.errors import FailedPrecondition, FormatError, Unimplemented
from sealserve.messages.graph_pb2 import FunctionDef, FunctionDefLibrary, GraphDef, NodeDef
from sealserve.serving.signature import Signature, TensorSpec, merged, parse_shape

VARIABLE_OPS = frozenset({"VarHandleOp", "ReadVariableOp", "Variable", "VariableV2"})
_NODE_TAG = b"\x0a"  # GraphDef field 1, length-delimited


def output_name(index: int) -> str:
    """The node that carries output `index` of the signature, in the order of its aliases."""
    return f"sealserve_output_{index}"


def cut(graph: GraphDef, signature: Signature) -> Iterator[bytes]:
    """The pieces of a GraphDef with the inputs and outputs of `signature` and what is between.

    Each input is a Placeholder of its node's name, with the shape that is known of it; output i is
    the Identity node `output_name(i)`. Raises, before the first piece, FormatError for a graph that
    does not hold what it names, Unimplemented for an input that is not the first output of its
    node, FailedPrecondition for a graph with variables.
    """
    nodes = {node.name: node for node in graph.node}
    inputs = {_input_node(spec, nodes): spec for spec in signature.inputs.values()}
    outputs = list(signature.outputs.values())
    needed = _reachable((spec.tensor for spec in outputs), nodes, inputs)
    functions = _functions(graph, [nodes[name] for name in needed])
    _refuse_variables([nodes[name] for name in needed], functions)
    if any(output_name(index) in nodes for index in range(len(outputs))):
        raise FormatError(f"the graph has a node named like {output_name(0)!r}")
    return _pieces(graph, needed, inputs, outputs, functions)


def _pieces(
    graph: GraphDef,
    needed: set[str],
    inputs: Mapping[str, TensorSpec],
    outputs: Iterable[TensorSpec],
    functions: Iterable[FunctionDef],
) -> Iterator[bytes]:
    for node in graph.node:
        if node.name in inputs:
            yield from _node_field(_placeholder(node, inputs[node.name]))
        elif node.name in needed:
            yield from _node_field(_without_control_inputs(node))
    for index, spec in enumerate(outputs):
        identity = NodeDef(name=output_name(index), op="Identity", input=[_reference(spec.tensor)])
        identity.attr["T"].type = spec.data_type  # type: ignore[assignment]  # an int at run time
        yield from _node_field(identity)
    library = FunctionDefLibrary(function=functions)
    yield GraphDef(versions=graph.versions, library=library).SerializeToString()


def _input_node(spec: TensorSpec, nodes: Mapping[str, NodeDef]) -> str:
    name, _, index = spec.tensor.partition(":")
    if name not in nodes:
        raise FormatError(f"input {spec.alias!r} names {spec.tensor!r}, which the graph lacks")
    if index != "0":
        raise Unimplemented(f"input {spec.alias!r} is output {index} of a node; expected the first")
    return name


def _reachable(
    tensors: Iterable[str], nodes: Mapping[str, NodeDef], stop: Mapping[str, TensorSpec]
) -> set[str]:
    """The nodes that `tensors` depend on, up to and without the nodes in `stop`."""
    found: set[str] = set()
    waiting = [tensor.partition(":")[0] for tensor in tensors]
    while waiting:
        name = waiting.pop()
        if name in found or name in stop:
            continue
        if name not in nodes:
            raise FormatError(f"the graph names a node {name!r}, which it lacks")
        found.add(name)
        waiting += [i.partition(":")[0] for i in nodes[name].input if not i.startswith("^")]
    return found


def _functions(graph: GraphDef, nodes: Iterable[NodeDef]) -> list[FunctionDef]:
    """The functions that `nodes` call, and those that these call."""
    library = {function.signature.name: function for function in graph.library.function}
    found: dict[str, FunctionDef] = {}
    waiting = [name for node in nodes for name in _called(node)]
    while waiting:
        name = waiting.pop()
        if name in library and name not in found:
            found[name] = library[name]
            waiting += [called for node in library[name].node_def for called in _called(node)]
    return list(found.values())


def _called(node: NodeDef) -> Iterator[str]:
    yield node.op  # a function may be called by using its name as an op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _refuse_variables(nodes: Iterable[NodeDef], functions: Iterable[FunctionDef]) -> None:
    bodies = (node for function in functions for node in function.node_def)
    for node in (*nodes, *bodies):
        if node.op in VARIABLE_OPS:
            raise FailedPrecondition(
                f"the SavedModel has variables ({node.name!r} is a {node.op}); this engine serves "
                "graphs whose weights are constants",
                code="serving.variables",
                hint="freeze the graph, then `sealserve model convert` makes a SavedModel of it",
            )


def _placeholder(node: NodeDef, spec: TensorSpec) -> NodeDef:
    """An input with the shape that signature and graph give it together."""
    placeholder = NodeDef(name=node.name, op="Placeholder")
    placeholder.attr["dtype"].type = spec.data_type  # type: ignore[assignment]
    known = parse_shape(node.attr["shape"].shape) if node.attr["shape"].HasField("shape") else None
    shape = merged(spec.shape, known)
    target = placeholder.attr["shape"].shape
    target.unknown_rank = shape is None
    for size in shape or ():
        target.dim.add(size=-1 if size is None else size)
    return placeholder


def _without_control_inputs(node: NodeDef) -> NodeDef:
    if not any(name.startswith("^") for name in node.input):
        return node
    copy = NodeDef()
    copy.CopyFrom(node)
    copy.input[:] = [name for name in node.input if not name.startswith("^")]
    return copy


def _reference(tensor: str) -> str:
    return tensor.removesuffix(":0")  # how a GraphDef writes output 0


def _node_field(node: NodeDef) -> Iterator[bytes]:
    data = node.SerializeToString()
    yield _NODE_TAG + _varint(len(data))
    yield data


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
