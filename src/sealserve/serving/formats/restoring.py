"""Which stored value is whose: what a SavedModel's own restore op does, read and not run.

A SavedModel names the operation that restores it (`SaverDef.restore_op_name`). Behind it, in the
graph itself (TensorFlow 1) or in a function (TensorFlow 2), RestoreV2 reads values by their keys
and assignments give them to variables. That is what TensorFlow runs when it loads a model, so
nothing has to be guessed from names, which Keras gives twice.

Source: TensorFlow 2.21, core/protobuf/saver.proto, cc/saved_model/loader.cc (RunRestore); core/ops:
io_ops.cc (RestoreV2), state_ops.cc (Assign), resource_variable_ops.cc (AssignVariableOp).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sealserve.errors import FormatError, InvalidArgument
from sealserve.messages.graph_pb2 import FunctionDef, GraphDef, NodeDef
from sealserve.messages.tensors import from_proto
from sealserve.serving.formats.references import NodeMap, place

HANDLE_OPS = frozenset({"VarHandleOp", "Variable", "VariableV2"})
_ASSIGN_OPS = frozenset({"AssignVariableOp", "Assign"})
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_NAMES_LIMIT = 64 << 20  # bytes of all keys of one RestoreV2
_DEPTH_LIMIT = 50  # functions inside each other, and identities in a row
_CALLS_LIMIT = 16  # of each function, on average by its nodes: a few can call each other for ever


@dataclass(frozen=True)
class Stored:
    """Where a variable's value is: under `key`; `part` says which part of it, "" the whole."""

    key: str
    part: str


@dataclass(frozen=True)
class _Variable:
    """A variable, by its node in the graph."""

    name: str


_Origin = Stored | _Variable | None


@dataclass
class _Scope:
    """The nodes of the graph or of one function, and what its arguments stand for."""

    nodes: NodeMap
    arguments: Mapping[str, _Origin] = field(default_factory=dict)
    restored: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)


@dataclass
class _Following:
    """For all scopes: the functions, how many more nodes may be looked at, what is found."""

    library: Mapping[str, FunctionDef]
    left: int
    found: dict[str, Stored] = field(default_factory=dict)


def stored_variables(graph: GraphDef, restore_op: str) -> dict[str, Stored]:
    """For each variable that `restore_op` restores, by the name of its node, where its value is.

    A graph without a restore op ("") has none. Raises FormatError for one that is not there or that
    cannot be followed.
    """
    if not restore_op:
        return {}
    scope = _Scope({node.name: node for node in graph.node})
    name = restore_op.partition(":")[0].removeprefix("^")
    if name not in scope.nodes:
        raise _broken(f"its restore op {name!r} is not in the graph")
    library = {function.signature.name: function for function in graph.library.function}
    size = len(graph.node) + 1 + sum(len(each.node_def) + 1 for each in graph.library.function)
    following = _Following(library, left=_CALLS_LIMIT * size)
    _follow(scope, _behind(scope.nodes, name), following, depth=0)
    return following.found


def _behind(nodes: NodeMap, name: str) -> list[NodeDef]:
    """What runs when the node `name` does: its inputs, and what they wait for."""
    found: dict[str, NodeDef] = {}
    waiting = [name]
    while waiting:
        node = nodes.get(waiting.pop())
        if node is not None and node.name not in found:
            found[node.name] = node
            waiting += [place(reference.removeprefix("^"))[0] for reference in node.input]
    return list(found.values())


def _follow(scope: _Scope, nodes: Sequence[NodeDef], following: _Following, *, depth: int) -> None:
    following.left -= len(nodes) + 1
    if depth > _DEPTH_LIMIT or following.left < 0:
        raise _broken("the functions that restore it are too deep, or call too many")
    for node in nodes:
        if node.op in _ASSIGN_OPS and len(node.input) >= 2:
            variable, value = (_origin(scope, reference) for reference in node.input[:2])
            if isinstance(variable, _Variable) and isinstance(value, Stored):
                following.found[variable.name] = value
        elif node.op in _CALLS and node.attr["f"].func.name in following.library:
            function = following.library[node.attr["f"].func.name]
            names = [argument.name for argument in function.signature.input_arg]
            origins = [_origin(scope, r) for r in node.input if not r.startswith("^")]
            inner = _Scope(
                {n.name: n for n in function.node_def}, dict(zip(names, origins, strict=False))
            )
            _follow(inner, function.node_def, following, depth=depth + 1)


def _origin(scope: _Scope, reference: str) -> _Origin:
    """What a tensor is: a variable, a stored value, or neither."""
    for _ in range(_DEPTH_LIMIT):
        name, index = place(reference)
        if name in scope.arguments:
            return scope.arguments[name]
        node = scope.nodes.get(name)
        if node is None:
            return None
        if node.op in HANDLE_OPS:
            return _Variable(name)
        if node.op == "RestoreV2":
            return _stored(scope, node, index)
        if node.op != "Identity" or not node.input:
            return None
        reference = node.input[0]
    return None


def _stored(scope: _Scope, node: NodeDef, index: int) -> Stored:
    if node.name not in scope.restored:
        if len(node.input) < 3:
            raise _broken(f"{node.name!r} has no names")
        scope.restored[node.name] = (_texts(scope, node.input[1]), _texts(scope, node.input[2]))
    keys, parts = scope.restored[node.name]
    if index >= min(len(keys), len(parts)):
        raise _broken(f"{node.name!r} has fewer names than values")
    return Stored(keys[index], parts[index])


def _texts(scope: _Scope, reference: str) -> list[str]:
    node = scope.nodes.get(place(reference)[0])
    if node is None or node.op != "Const":
        raise _broken("the names of what it restores are no constants")
    try:
        values = from_proto(node.attr["value"].tensor, limit_bytes=_NAMES_LIMIT)
        return [bytes(value).decode() for value in values.ravel().tolist()]
    except (InvalidArgument, UnicodeDecodeError, TypeError) as error:
        raise _broken("the names of what it restores are no texts") from error


def _broken(reason: str) -> FormatError:
    return FormatError(f"the SavedModel cannot be restored: {reason}", code="saved-model")
