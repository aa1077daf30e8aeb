"""What OpenVINO's TensorFlow frontend asks of a graph: the next node, and of a node what it is.

Imports OpenVINO, so only who has chosen that engine imports this. A decoder keeps a node and an
iterator its place; what an attribute or a function's body is, the reader says.

Source: OpenVINO 2025.3 to 2026.4, openvino/frontend/tensorflow/{graph_iterator,node_decoder}.py,
which say what each method answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from openvino.frontend.tensorflow import GraphIterator
from openvino.frontend.tensorflow.py_tensorflow_frontend import _FrontEndDecoderBase

from sealserve.messages.graph_pb2 import AttrValue, FunctionDef, NodeDef


class Reader(Protocol):
    """Who knows the graph."""

    def attribute(self, attribute: AttrValue | None) -> Any:
        """The attribute in OpenVINO's own form."""
        ...

    def body(self, function: FunctionDef, library: Mapping[str, FunctionDef]) -> Any:
        """The iterator over a function of the library."""
        ...


class Decoder(_FrontEndDecoderBase):  # type: ignore[misc]  # a base that has no types
    """One node."""

    def __init__(self, reader: Reader, node: NodeDef) -> None:
        super().__init__()
        self._reader = reader
        self._node = node
        self._inputs = [_reference(r) for r in node.input if not r.startswith("^")]

    def get_op_name(self) -> str:
        return self._node.name

    def get_op_type(self) -> str:
        return self._node.op

    def get_attribute(self, name: str) -> Any:
        return self._reader.attribute(self._node.attr.get(name))

    def get_input_size(self) -> int:
        return len(self._inputs)

    def get_input_node_name(self, port: int) -> str:
        return self._inputs[port][0]

    def get_input_node_name_output_port_name(self, port: int) -> str:
        return self._inputs[port][1]

    def get_input_node_name_output_port_index(self, port: int) -> int:
        return self._inputs[port][2]


class Iterator(GraphIterator):  # type: ignore[misc]
    """The nodes of a graph or of a body."""

    def __init__(
        self,
        reader: Reader,
        nodes: Iterable[NodeDef],
        library: Mapping[str, FunctionDef],
        takes: Sequence[str] = (),
        gives: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._reader = reader
        self._decoders = [Decoder(reader, node) for node in nodes]
        self._library = library
        self._takes, self._gives = list(takes), list(gives)
        self._bodies: dict[str, Any] = {}
        self._at = 0

    def get_input_names(self) -> list[str]:
        return self._takes

    def get_output_names(self) -> list[str]:
        return self._gives

    def get_input_names_map(self) -> dict[str, str]:
        return {}

    def get_output_names_map(self) -> dict[str, str]:
        return {}

    def is_end(self) -> bool:
        return self._at >= len(self._decoders)

    def reset(self) -> None:
        self._at = 0

    def size(self) -> int:
        return len(self._decoders)

    def next_impl(self) -> None:
        self._at += 1

    def get_decoder(self) -> Any:
        return self._decoders[self._at]

    def get_body_graph_iterator(self, name: str) -> Any:
        if name not in self._library:
            return None
        if name not in self._bodies:
            self._bodies[name] = self._reader.body(self._library[name], self._library)
        return self._bodies[name]


def _reference(reference: str) -> tuple[str, str, int]:
    """Node, name and number of an output, of `node`, `node:1` or, in a body, `node:output:0`."""
    name, _, rest = reference.partition(":")
    output, _, number = rest.rpartition(":")
    return name, output, int(number) if number.isascii() and number.isdigit() else 0
