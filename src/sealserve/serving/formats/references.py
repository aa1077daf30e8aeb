"""How nodes name each other's outputs, in a graph and in a function's body.

In a graph `node:i` is output i, `node` is output 0. In a function `node:output:i` is element i of a
named output, and a bare name is an argument. `^node` is a control dependency in both. The outputs
that are followed here are the only ones of their operation or those of one list, so a name and a
number tell them apart.

Source: TensorFlow 2.21, core/framework/{node_def,function}.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from sealserve.errors import FormatError
from sealserve.messages.graph_pb2 import NodeDef

NodeMap = Mapping[str, NodeDef]
Place = tuple[str, int]


def place(reference: str) -> Place:
    """The node or argument that a data input names, and the number of its output."""
    name, _, rest = reference.partition(":")
    number = rest.rpartition(":")[2]
    return name, int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0


def data_inputs(node: NodeDef) -> list[str]:
    """Its inputs without control dependencies."""
    return [reference for reference in node.input if not reference.startswith("^")]


def in_order(
    references: Iterable[str], nodes: NodeMap, is_given: Callable[[str], bool]
) -> list[NodeDef]:
    """The nodes that `references` depend on, each after its inputs but where they form a circle.

    What `is_given` knows is not looked behind. Raises FormatError for a name that is not there.
    """
    found: dict[str, None] = {}
    seen: set[str] = set()
    waiting: list[tuple[str, Iterator[str]]] = []

    def enter(reference: str) -> None:
        name = place(reference)[0]
        if name in seen or is_given(name):
            return
        if name not in nodes:
            raise FormatError(f"the graph names a node {name!r}, which it lacks")
        seen.add(name)
        waiting.append((name, iter(data_inputs(nodes[name]))))

    for reference in references:
        enter(reference)
        while waiting:
            name, inputs = waiting[-1]
            following = next(inputs, None)
            if following is None:
                waiting.pop()
                found[name] = None
            else:
                enter(following)
    return [nodes[name] for name in found]
