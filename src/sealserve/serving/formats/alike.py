"""Whether two signatures of one graph compute the same, so that it is compiled and held once.

Keras exports every model under two signatures, each with placeholders and a wrapping function of
its own. Both are the same where each output is the same operations on the same constants and on
the inputs of the same aliases. Doubt (a circle, two aliases for one node) is an answer of no.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from sealserve.messages.graph_pb2 import FunctionDef, NodeDef
from sealserve.serving.formats.references import place
from sealserve.serving.signature import Signature


def computation(
    signature: Signature,
    placeholders: Iterable[NodeDef],
    nodes: Iterable[NodeDef],
    functions: Iterable[FunctionDef],
) -> bytes | None:
    """A digest that another signature of the same graph has only if it computes the same.

    `nodes` and `functions` are what lies between inputs and outputs, each node after its inputs; a
    node without inputs, as a variable is, is known by its name. None where nothing can be said.
    """
    shapes = {node.name: str(node.attr["shape"].shape) for node in placeholders}
    ids = {}
    for alias, spec in signature.inputs.items():
        name = place(spec.tensor)[0]
        ids[name] = f"input {alias!r} {spec} {shapes[name]!r}"
    if len(ids) < len(signature.inputs):
        return None
    called = {function.signature.name: _function_id(function) for function in functions}
    for node in nodes:
        found = _node_id(node, ids, called)
        if found is None:
            return None
        ids[node.name] = found
    outputs = []
    for alias, spec in signature.outputs.items():
        name, index = place(spec.tensor)
        outputs.append(f"output {alias!r} {spec} {index} {ids[name]}")
    inputs = [f"{alias!r} {spec}" for alias, spec in signature.inputs.items()]
    return hashlib.sha256("\n".join([*inputs, *outputs]).encode()).digest()


def _node_id(node: NodeDef, ids: Mapping[str, str], called: Mapping[str, str]) -> str | None:
    if not node.input:
        return f"node {node.name!r}"
    bare = NodeDef()
    bare.CopyFrom(node)
    del bare.input[:]
    bare.name = ""
    for value in bare.attr.values():
        functions = [value.func] if value.HasField("func") else value.list.func
        for function in functions:
            function.name = called.get(function.name, function.name)
    digest = hashlib.sha256(bare.SerializeToString(deterministic=True))
    for reference in node.input:
        name, index = place(reference)
        if name not in ids:
            return None
        digest.update(f"\n{index} {ids[name]}".encode())
    return digest.hexdigest()


def _function_id(function: FunctionDef) -> str:
    bare = FunctionDef()
    bare.CopyFrom(function)
    bare.signature.name = ""
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()
