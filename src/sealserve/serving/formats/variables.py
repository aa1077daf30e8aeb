"""The variables of one meta graph as constants: which stored value each has, and that value.

A value must be what the variable's node says: its dtype, and a shape that fits.
"""

from __future__ import annotations

from collections.abc import Mapping

from sealserve.errors import FormatError, Unimplemented
from sealserve.messages.graph_pb2 import NodeDef
from sealserve.messages.tensors import dtype_name
from sealserve.serving.engine import VersionFiles
from sealserve.serving.formats.assigning import INSTEAD
from sealserve.serving.formats.bundle import INDEX_NAME, Bundle
from sealserve.serving.formats.restoring import Stored, stored_variables
from sealserve.serving.formats.saved_model import MetaGraph
from sealserve.serving.signature import fits, parse_shape, shape_text


def stored_in(files: VersionFiles, meta_graph: MetaGraph) -> Variables | None:
    """The variables of a version, None where it has none.

    Raises FormatError for an index or a restore op that is not what it should be.
    """
    if INDEX_NAME not in files.names:
        return None
    bundle = Bundle(bytes(files.read(INDEX_NAME)), files.read)
    return Variables(bundle, stored_variables(meta_graph.graph, meta_graph.restore_op))


class Variables:
    """What restoring a graph would give its variables."""

    def __init__(self, bundle: Bundle, stored: Mapping[str, Stored]) -> None:
        self._bundle = bundle
        self._stored = stored

    def constant(self, node: NodeDef) -> NodeDef:
        """The Const that takes the place of a variable's node.

        Raises Unimplemented for a variable that is not restored whole, FormatError for a value that
        is not the variable's, and what `Bundle.value` does.
        """
        stored = self._stored.get(node.name)
        if stored is None or stored.part:
            reason = "part of a larger one" if stored else "not restored from the export"
            raise Unimplemented(
                f"variable {node.name!r} is {reason}", code="serving.variables", hint=INSTEAD
            )
        value = self._bundle.value(stored.key)
        wanted = node.attr["dtype"].type
        if value.dtype != wanted:
            raise FormatError(
                f"variable {node.name!r} is {dtype_name(wanted)}; its value is "
                f"{dtype_name(value.dtype)}",
                code="variables",
            )
        shape = parse_shape(node.attr["shape"].shape) if "shape" in node.attr else None
        found = tuple(dim.size for dim in value.tensor_shape.dim)
        if not fits(found, shape):
            raise FormatError(
                f"variable {node.name!r} has shape {shape_text(shape)}; its value has "
                f"{shape_text(found)}",
                code="variables",
            )
        constant = NodeDef(name=node.name, op="Const")
        constant.attr["dtype"].type = wanted
        constant.attr["value"].tensor.CopyFrom(value)
        return constant
