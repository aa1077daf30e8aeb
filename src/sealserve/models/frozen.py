"""Frozen graphs, read from bytes that may be anything: which nodes there are and what needs what.

A GraphDef (TensorFlow 2.21, core/framework/{graph,node_def}.proto) names its inputs as `node`,
`node:1` for another output, or `^node` for an order without data. This module checks that names
are there and mean one node each, and finds what an output rests on. It computes no tensors, and
follows no node into functions of the graph's library.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from google.protobuf.message import DecodeError

from sealserve.errors import FormatError, UsageError
from sealserve.messages.graph_pb2 import GraphDef, NodeDef

# Operations that take what a client sends (core/ops/array_ops.cc).
PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2", "PlaceholderWithDefault"})
REQUIRED_PLACEHOLDERS = PLACEHOLDERS - {"PlaceholderWithDefault"}
# Operations whose values live outside the graph (core/ops/{state,resource_variable}_ops.cc).
VARIABLES = frozenset({"Variable", "VariableV2", "VarHandleOp", "AutoReloadVariable"})

NAMES_COMPARED = 5000  # candidates for "did you mean": the graph may have any number
NAMES_SHOWN = 5
NAME_SHOWN_CHARACTERS = 100


class TensorName(NamedTuple):
    """One output of one node."""

    node: str
    output: int

    def __str__(self) -> str:
        return f"{self.node}:{self.output}"


@dataclass(frozen=True)
class FrozenGraph:
    """A graph and its nodes by name."""

    graph: GraphDef
    nodes: Mapping[str, NodeDef]

    def node(self, name: str, *, likely: Iterable[str] = ()) -> NodeDef:
        """The node of this name; UsageError names those that are near, or else the `likely`."""
        found = self.nodes.get(name)
        if found is None:
            raise UsageError(f"the graph has no node {shown(name)}", hint=self._hint(name, likely))
        return found

    def placeholders(self) -> list[str]:
        """The names of all nodes that take input."""
        return [node.name for node in self.graph.node if node.op in PLACEHOLDERS]

    def ends(self) -> list[str]:
        """The names of the nodes with operands whose result no other node takes."""
        used = {parse_operand(source).node for node in self.graph.node for source in node.input}
        return [node.name for node in self.graph.node if node.input and node.name not in used]

    def needed(self, names: Iterable[str]) -> list[NodeDef]:
        """The nodes that `names` rest on, operands first, as far as there are no loops."""
        ordered: list[NodeDef] = []
        seen: set[str] = set()
        stack = [(name, False) for name in names]
        while stack:
            name, operands_done = stack.pop()
            if operands_done:
                ordered.append(self.nodes[name])
            elif name not in seen:
                seen.add(name)
                stack.append((name, True))
                sources = self.nodes[name].input
                stack.extend((parse_operand(source).node, False) for source in sources)
        return ordered

    def _hint(self, name: str, likely: Iterable[str]) -> str:
        candidates = [*likely, *islice(self.nodes, NAMES_COMPARED)]
        near = difflib.get_close_matches(name, dict.fromkeys(candidates), n=NAMES_SHOWN, cutoff=0.6)
        if near:
            return f"near names in the graph: {shown_list(near)}"
        return f"the graph has, for this: {shown_list(likely)}"


def parse_frozen_graph(data: bytes) -> FrozenGraph:
    """The graph in `data`; FormatError if it is no GraphDef, empty, or contradicts itself."""
    try:
        graph = GraphDef.FromString(data)
    except DecodeError as error:
        raise _no_graph("the bytes are no GraphDef message") from error
    if not graph.node:
        raise _no_graph("the graph has no nodes")
    return index_graph(graph)


def _no_graph(found: str) -> FormatError:
    return FormatError(
        f"{found}; expected a frozen graph (.pb) of TensorFlow",
        hint="a saved_model.pb needs no conversion; a sealed file must be unsealed first",
    )


def index_graph(graph: GraphDef) -> FrozenGraph:
    """`graph` with its nodes by name; FormatError if a name is missing or has two nodes."""
    nodes: dict[str, NodeDef] = {}
    for node in graph.node:
        if not node.name or node.name in nodes:
            raise FormatError(f"the graph has two nodes, or one without a name: {shown(node.name)}")
        nodes[node.name] = node
    for node in graph.node:
        for source in node.input:
            if parse_operand(source).node not in nodes:
                raise FormatError(
                    f"node {shown(node.name)} takes {shown(source)}, which is not in the graph"
                )
    return FrozenGraph(graph, nodes)


def parse_tensor_name(text: str) -> TensorName:
    """`node` or `node:1` as node and output; FormatError where no number follows the colon."""
    node, separator, output = text.partition(":")
    if not separator:
        return TensorName(node, 0)
    if not (output.isascii() and output.isdecimal() and len(output) <= 9):
        raise FormatError(f"{shown(text)} names no output: expected NODE or NODE:NUMBER")
    return TensorName(node, int(output))


def parse_operand(text: str) -> TensorName:
    """What a node takes: a tensor, or `^node`, which only has to run before it."""
    return parse_tensor_name(text.removeprefix("^"))


def shown(name: str) -> str:
    """A name out of a file, quoted, escaped and short enough for a message."""
    short = name if len(name) <= NAME_SHOWN_CHARACTERS else name[:NAME_SHOWN_CHARACTERS] + "…"
    return repr(short)


def shown_list(names: Iterable[str]) -> str:
    """The first few of `names` for a message, and how many there are beyond them."""
    every = list(names)
    text = ", ".join(shown(name) for name in every[:NAMES_SHOWN]) or "nothing"
    beyond = len(every) - NAMES_SHOWN
    return f"{text} and {beyond} more" if beyond > 0 else text
