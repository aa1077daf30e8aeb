"""Whether a graph changes a variable when it runs: then no constant can take the variable's place.

Source: TensorFlow 2.21, core/ops/{resource_variable_ops,state_ops,training_ops,
stateful_random_ops,sdca_ops,word2vec_ops}.cc.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from sealserve.errors import Unimplemented
from sealserve.messages.graph_pb2 import FunctionDef, NodeDef

INSTEAD = "serve it with --engine=tensorflow"
_ASSIGNS = re.compile(
    r"^Assign|Assign$|^(Resource)?Scatter(?!Nd$|NdNonAliasing)|^(Resource)?(Sparse)?Apply"
    r"|CountUpTo$|^NegTrain$|^Sdca|^RngReadAndSkip$|^RngSkip$|^Stateful(Uniform|Standard|Trunc|Random)"
)


def refuse_assignments(nodes: Iterable[NodeDef], library: Mapping[str, FunctionDef]) -> None:
    """Unimplemented where these nodes, or what they call, change a variable when they run.

    Functions count whole, for they also run what no result depends on.
    """
    waiting = list(nodes)
    seen: set[str] = set()
    while waiting:
        node = waiting.pop()
        for name in _calls(node):
            if name in library and name not in seen:
                seen.add(name)
                waiting += library[name].node_def
        if _ASSIGNS.search(node.op):
            raise Unimplemented(
                f"it changes a variable while it answers ({node.name!r} is {node.op})",
                code="serving.variables",
                hint=INSTEAD,
            )


def _calls(node: NodeDef) -> Iterator[str]:
    """The functions that a node may call: any by an attribute, or by its op."""
    yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)
