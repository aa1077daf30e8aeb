"""A frozen GraphDef to a SavedModel, without TensorFlow.

The graph goes over as it is, node for node. What is made is the signature: for each named input and
output its tensor, its dtype and, as far as it can be told, its shape. Refused is what could never
be served: variables that freezing should have made constant, an input that is no placeholder, and a
placeholder that the outputs rest on but no client would feed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sealserve.errors import FormatError, UsageError
from sealserve.messages.saved_model_pb2 import SavedModel, TensorInfo
from sealserve.models.frozen import (
    PLACEHOLDERS,
    REQUIRED_PLACEHOLDERS,
    VARIABLES,
    FrozenGraph,
    TensorName,
    parse_frozen_graph,
    parse_tensor_name,
    shown,
    shown_list,
)
from sealserve.models.saved_model import make_saved_model, tensor_info
from sealserve.models.shapes import infer_shapes, tensor_dtype

MAX_NAMES = 1000  # inputs or outputs of one signature


@dataclass(frozen=True)
class SignatureNames:
    """The inputs and outputs that a signature is to have, as the graph names them."""

    inputs: Sequence[str]
    outputs: Sequence[str]


def convert(data: bytes, names: SignatureNames) -> SavedModel:
    """The SavedModel of a frozen graph, with the signature `serving_default`.

    A name is NODE, or NODE:NUMBER for another output than the first; the signature calls the
    tensor by what was given, without `:0`. Raises FormatError for bytes that are no sound graph,
    UsageError for names that do not fit it.
    """
    graph = parse_frozen_graph(data)
    inputs = _resolve(graph, names.inputs, likely=graph.placeholders(), kind="input")
    outputs = _resolve(graph, names.outputs, likely=graph.ends(), kind="output")
    _require_placeholders(graph, inputs.values())
    _require_servable(graph, inputs, outputs)
    return make_saved_model(
        graph.graph, inputs=_describe(graph, inputs), outputs=_describe(graph, outputs)
    )


def split_names(text: str) -> list[str]:
    """Comma-separated names as a list; UsageError if there is none, or one is empty."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageError(f"{text!r}: expected names separated by commas, as in input,mask")
    return names


def _resolve(
    graph: FrozenGraph, names: Sequence[str], *, likely: Sequence[str], kind: str
) -> dict[str, TensorName]:
    """The tensors by the names that the signature gives them."""
    if len(names) > MAX_NAMES:
        raise UsageError(f"{len(names)} {kind}s; at most {MAX_NAMES} are taken")
    tensors: dict[str, TensorName] = {}
    for name in names:
        key = name.removesuffix(":0")
        if key in tensors:
            raise UsageError(f"the {kind} {shown(key)} is named twice; expected each once")
        try:
            tensor = parse_tensor_name(name)
        except FormatError as error:
            raise UsageError(error.message) from error
        graph.node(tensor.node, likely=likely)
        tensors[key] = tensor
    return tensors


def _require_placeholders(graph: FrozenGraph, inputs: Iterable[TensorName]) -> None:
    for name in inputs:
        node = graph.nodes[name.node]
        if node.op not in PLACEHOLDERS or name.output != 0:
            raise UsageError(
                f"the input {shown(str(name))} is an output of a {shown(node.op)};"
                " expected a Placeholder",
                hint=f"placeholders in the graph: {shown_list(graph.placeholders())}",
            )


def _require_servable(
    graph: FrozenGraph, inputs: dict[str, TensorName], outputs: dict[str, TensorName]
) -> None:
    needed = graph.needed(name.node for name in outputs.values())
    variables = [node.name for node in needed if node.op in VARIABLES]
    if variables:
        raise UsageError(
            f"the graph is not frozen: the outputs rest on variables: {shown_list(variables)}",
            hint="freeze it first, which turns variables into constants",
        )
    fed = {name.node for name in inputs.values()}
    unfed = [
        node.name for node in needed if node.op in REQUIRED_PLACEHOLDERS and node.name not in fed
    ]
    if unfed:
        raise UsageError(
            f"the outputs rest on placeholders that are not inputs: {shown_list(unfed)}",
            hint="name them too: --inputs NAME,NAME",
        )


def _describe(graph: FrozenGraph, tensors: dict[str, TensorName]) -> dict[str, TensorInfo]:
    shapes = infer_shapes(graph, tensors.values())
    return {
        key: tensor_info(str(name), tensor_dtype(graph, name), shapes[name])
        for key, name in tensors.items()
    }
