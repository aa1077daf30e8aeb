"""What one signature needs of a graph, as the bytes of a GraphDef of its own.

An exported graph holds more than serving needs (saving, restoring, other signatures), which an
engine would trip over. So: keep what the outputs depend on, cut at the inputs, put values in the
place of variables, and give each output a name that nothing else has. Bytes come piece by piece: a
message on the wire is the concatenation of its fields, so a large graph is never copied as a whole.

Control dependencies are dropped: what hangs on one (an assertion) gives no tensor to the output. If
it is an assignment, the signature is refused.

Source: TensorFlow 2.21, core/framework/{graph,node_def,function}.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sealserve.errors import FailedPrecondition, FormatError, Unimplemented
from sealserve.messages.graph_pb2 import (
    FunctionDef,
    FunctionDefLibrary,
    GraphDef,
    NodeDef,
    VersionDef,
)
from sealserve.messages.wire import number
from sealserve.serving.formats.alike import computation
from sealserve.serving.formats.assigning import refuse_assignments
from sealserve.serving.formats.lifting import Lifting
from sealserve.serving.formats.references import NodeMap, in_order, place
from sealserve.serving.formats.restoring import HANDLE_OPS
from sealserve.serving.formats.variables import Variables
from sealserve.serving.signature import Signature, TensorSpec, merged, parse_shape

SIZE_LIMIT = (2 << 30) - 1  # a protobuf message has less than 2 GiB
_NODE_TAG = b"\x0a"  # GraphDef field 1, length-delimited


def output_name(index: int) -> str:
    """The node that carries output `index` of the signature, in the order of its aliases."""
    return f"sealserve_output_{index}"


@dataclass(frozen=True)
class Subgraph:
    """What is between the inputs and outputs of a signature. `nodes` come after their inputs."""

    signature: Signature
    placeholders: Sequence[NodeDef]
    constants: Sequence[NodeDef]
    """The nodes of variables, which become constants."""
    nodes: Sequence[NodeDef]
    functions: Sequence[FunctionDef]
    versions: VersionDef
    variables: Variables | None

    def pieces(self) -> Iterator[bytes]:
        """The pieces of a GraphDef.

        Raises on the way what `Variables.constant` does, Unimplemented beyond 2 GiB.
        """
        library = FunctionDefLibrary(function=self.functions)
        last = GraphDef(versions=self.versions, library=library).SerializeToString()
        total = len(last)
        for node in self._all():
            data = node.SerializeToString()
            total += len(data) + 10
            if total > SIZE_LIMIT:
                raise Unimplemented("the graph with its variables has more than 2 GiB")
            yield _NODE_TAG + number(len(data))
            yield data
        yield last

    def computation(self) -> bytes | None:
        """See `sealserve.serving.formats.alike`."""
        nodes = [*self.constants, *self.nodes]
        return computation(self.signature, self.placeholders, nodes, self.functions)

    def _all(self) -> Iterator[NodeDef]:
        yield from self.placeholders
        if self.variables is not None:
            yield from map(self.variables.constant, self.constants)
        yield from self.nodes
        yield from _results(self.signature.outputs.values())


def cut(graph: GraphDef, signature: Signature, variables: Variables | None = None) -> Subgraph:
    """The part of `graph` with the inputs and outputs of `signature` and what is between.

    Each input is a Placeholder of its node's name, with the shape that is known of it; output i is
    the Identity node `output_name(i)`. Raises FormatError for a graph that does not hold what it
    names, Unimplemented for an input that is not the first output of its node and for variables
    that cannot be made constants, FailedPrecondition for variables without values.
    """
    nodes = {node.name: node for node in graph.node}
    library = {function.signature.name: function for function in graph.library.function}
    inputs = {_input_node(spec, nodes): spec for spec in signature.inputs.values()}
    tensors = [spec.tensor for spec in signature.outputs.values()]
    if any(output_name(index) in nodes for index in range(len(tensors))):
        raise FormatError(f"the graph has a node named like {output_name(0)!r}")
    needed = in_order(tensors, nodes, inputs.__contains__)
    refuse_assignments(_running(needed, nodes, inputs), library)
    lifting = Lifting(library)
    values = [node for node in needed if node.op in HANDLE_OPS]
    held = {(node.name, 0): int(node.attr["dtype"].type) for node in values if _is_handle(node)}
    rest = lifting.nodes((node for node in needed if node.op not in HANDLE_OPS), held)
    if variables is None:
        _refuse_variables(values)
    placeholders = [_placeholder(nodes[name], spec) for name, spec in inputs.items()]
    return Subgraph(
        signature, placeholders, values, rest, lifting.functions, graph.versions, variables
    )


def _results(outputs: Iterable[TensorSpec]) -> Iterator[NodeDef]:
    for index, spec in enumerate(outputs):
        identity = NodeDef(name=output_name(index), op="Identity", input=[_reference(spec.tensor)])
        identity.attr["T"].type = spec.data_type  # type: ignore[assignment]  # an int at run time
        yield identity


def _is_handle(node: NodeDef) -> bool:
    return node.op == "VarHandleOp"  # those of TensorFlow 1 are references: values by their type


def _input_node(spec: TensorSpec, nodes: NodeMap) -> str:
    name, _, index = spec.tensor.partition(":")
    if name not in nodes:
        raise FormatError(f"input {spec.alias!r} names {spec.tensor!r}, which the graph lacks")
    if index != "0":
        raise Unimplemented(f"input {spec.alias!r} is output {index} of a node; expected the first")
    return name


def _running(
    needed: Iterable[NodeDef], nodes: NodeMap, inputs: Mapping[str, TensorSpec]
) -> list[NodeDef]:
    """What runs for an answer: `needed`, and what that waits for by control dependencies."""
    found = {node.name: node for node in needed}
    waiting = list(found.values())
    while waiting:
        for reference in waiting.pop().input:
            name = place(reference.removeprefix("^"))[0]
            if name in nodes and name not in found and name not in inputs:
                found[name] = nodes[name]
                waiting.append(nodes[name])
    return list(found.values())


def _refuse_variables(values: Iterable[NodeDef]) -> None:
    for node in values:
        raise FailedPrecondition(
            f"the SavedModel has variables ({node.name!r} is a {node.op}) and the version has no "
            "variables/variables.index",
            code="serving.variables",
            hint="put the folder variables/ of the export beside saved_model.pb, sealed as it is",
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


def _reference(tensor: str) -> str:
    return tensor.removesuffix(":0")  # how a GraphDef writes output 0
