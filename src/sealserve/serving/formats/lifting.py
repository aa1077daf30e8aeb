"""Variables made constants: a handle becomes the value, in every function that it is handed to.

While nothing assigns, a variable and its value are the same thing. So the node of the variable
becomes a constant, reading it becomes Identity, and wherever a handle travels (arguments and
results of functions, loops and branches) its type becomes that of the value. Functions stay
functions; nothing is inlined. On the way each body is cut to what its results depend on, as the
graph is. What assigns while it answers is refused before (`assigning`), and here any operation on a
handle that is not known.

Source: TensorFlow 2.21, core/ops/{resource_variable_ops,state_ops,functional_ops,array_ops}.cc.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sealserve.errors import FormatError, Unimplemented
from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import FunctionDef, NodeDef
from sealserve.serving.formats.assigning import INSTEAD
from sealserve.serving.formats.references import Place, data_inputs, in_order, place
from sealserve.serving.formats.restoring import HANDLE_OPS

# What reads a handle, what it becomes, and how its attributes are called there.
_READS = {
    "ReadVariableOp": "Identity",
    "VariableShape": "Shape",
    "ResourceGather": "GatherV2",
    "ResourceGatherNd": "GatherNd",
}
_LEFT_OVER = frozenset({*_READS, *HANDLE_OPS})  # what must not be left over
_PASSES = {"Identity": 1, "Enter": 1, "Switch": 2}
# What calls functions: its inputs before their arguments, the list of types, that of results.
_CALLS = {
    "PartitionedCall": (0, "Tin", "Tout"),
    "StatefulPartitionedCall": (0, "Tin", "Tout"),
    "While": (0, "T", "T"),
    "StatelessWhile": (0, "T", "T"),
    "If": (1, "Tin", "Tout"),
    "StatelessIf": (1, "Tin", "Tout"),
    "Case": (1, "Tin", "Tout"),
    "StatelessCase": (1, "Tin", "Tout"),
}
_DEPTH_LIMIT = 50  # functions inside each other

Types = dict[int, int]  # position of a handle among arguments or results: type of its value


@dataclass(frozen=True)
class _Lifted:
    """A function that is done: what its handles were, what of its results are values now."""

    function: FunctionDef
    arguments: Types
    results: Types


@dataclass
class Lifting:
    """Rewrites the nodes of one graph, and the functions that they call, once each."""

    library: Mapping[str, FunctionDef]
    lifted: dict[str, _Lifted] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    @property
    def functions(self) -> list[FunctionDef]:
        """The functions that the nodes so far call, rewritten."""
        return [done.function for done in self.lifted.values()]

    def nodes(self, ordered: Iterable[NodeDef], held: dict[Place, int]) -> list[NodeDef]:
        """The nodes with values for handles; `held` says which tensors are handles, and grows.

        Raises Unimplemented for what cannot be lifted, FormatError for calls that do not fit.
        """
        found: list[NodeDef] = []
        for node in ordered:
            inputs = data_inputs(node)
            types = {i: held[place(r)] for i, r in enumerate(inputs) if place(r) in held}
            is_call = node.op in _CALLS or node.op in self.library
            if not (types or is_call or node.op in _LEFT_OVER or self._open):
                found.append(node if len(inputs) == len(node.input) else _with(node, inputs))
                continue
            new = _with(node, inputs)
            results: Types = {}
            if is_call:
                results = self._call(new, types)
            elif types or node.op in _LEFT_OVER:
                results = self._use(new, types, found)
            held.update({(node.name, index): type_ for index, type_ in results.items()})
            found.append(new)
        return found

    def _use(self, node: NodeDef, types: Types, beside: list[NodeDef]) -> Types:
        """Rewrite a node that takes a handle; `beside` gets what it needs in addition."""
        type_ = types[0] if list(types) == [0] else None
        if type_ is not None and node.op in _PASSES:
            _set_type(node, "T", type_)
            return dict.fromkeys(range(_PASSES[node.op]), type_)
        if type_ is None or node.op not in _READS:
            raise Unimplemented(
                f"{node.name!r} is {node.op} of a variable, which cannot be made a constant",
                code="serving.variables",
                hint=INSTEAD,
            )
        if node.op == "ResourceGather":
            axis = _axis(node)
            beside.append(axis)
            node.input.append(f"{axis.name}:output:0" if self._open else axis.name)
            _set_type(node, "Taxis", tensor_pb2.DT_INT32)
        gathers = node.op.startswith("ResourceGather")
        _set_type(node, "Tparams" if gathers else "T", type_)
        for name in ("dtype", "validate_indices", "_output_shapes"):
            if name in node.attr:
                del node.attr[name]
        node.op = _READS[node.op]
        return {}

    def _call(self, node: NodeDef, types: Types) -> Types:
        """Rewrite the types of a call and all that it calls; which of its results are values."""
        before, takes, gives = _CALLS.get(node.op, (0, "", ""))
        if any(position < before for position in types):
            raise FormatError(f"{node.name!r} decides by a variable's handle", code="saved-model")
        arguments = {position - before: type_ for position, type_ in types.items()}
        results = [self._function(name, arguments).results for name in _called(node)]
        if node.op.endswith("While"):
            results = [*results[1:], arguments]  # the condition's only result is no handle
        if any(result != results[0] for result in results):
            raise _unlike(node.name)
        found = results[0] if results else {}
        for name, changed in ((takes, arguments), (gives, found)):
            _set_types(node, name, changed)
        if arguments or found:
            _forget_shapes(node, found)
        return found

    def _function(self, name: str, arguments: Types) -> _Lifted:
        """The function `name` for these arguments."""
        if name not in self.library:
            raise FormatError(f"the graph calls {name!r}, which it lacks", code="saved-model")
        if name in self._open or len(self._open) >= _DEPTH_LIMIT:
            raise Unimplemented("the graph has functions that call themselves, or are too deep")
        done = self.lifted.get(name)
        if done is None:
            self._open.append(name)
            done = self._body(self.library[name], arguments)
            self._open.pop()
            self.lifted[name] = done
        if done.arguments != arguments:
            raise _unlike(name)
        return done

    def _body(self, function: FunctionDef, arguments: Types) -> _Lifted:
        signature = function.signature
        names = [argument.name for argument in signature.input_arg]
        if any(position >= len(names) for position in arguments):
            raise FormatError(f"function {signature.name!r} is given too much", code="saved-model")
        held = {(names[position], 0): type_ for position, type_ in arguments.items()}
        bodies = {node.name: node for node in function.node_def}
        ordered = in_order(function.ret.values(), bodies, set(names).__contains__)
        nodes = self.nodes(ordered, held)
        read = {node.name for node in ordered if node.op == "ReadVariableOp"}
        new = FunctionDef(attr=function.attr, node_def=_renamed(nodes, read))
        new.signature.CopyFrom(signature)
        del new.signature.control_output[:]
        for position, argument in function.arg_attr.items():
            if position not in arguments:
                new.arg_attr[position].CopyFrom(argument)
        results: Types = {}
        for position, result in enumerate(signature.output_arg):
            reference = function.ret.get(result.name, "")
            new.ret[result.name] = _now(reference, read)
            if place(reference) in held:
                results[position] = held[place(reference)]
        for arguments_, types in (
            (new.signature.input_arg, arguments),
            (new.signature.output_arg, results),
        ):
            for position, type_ in types.items():
                arguments_[position].type = type_  # type: ignore[assignment]
                del arguments_[position].handle_data[:]
        return _Lifted(new, dict(arguments), results)


def _called(node: NodeDef) -> list[str]:
    """The functions of a call, the condition of a loop first."""
    if node.op not in _CALLS:
        return [node.op]
    if "branches" in node.attr:
        return [function.name for function in node.attr["branches"].list.func]
    names = ("f", "cond", "body", "then_branch", "else_branch")
    return [node.attr[name].func.name for name in names if name in node.attr]


def _renamed(nodes: Sequence[NodeDef], read: set[str]) -> Sequence[NodeDef]:
    for node in nodes:
        node.input[:] = [_now(reference, read) for reference in node.input]
    return nodes


def _now(reference: str, read: set[str]) -> str:
    """A reference in a body: ReadVariableOp calls its output `value`, Identity `output`."""
    name, _, rest = reference.partition(":")
    return f"{name}:output:{rest.rpartition(':')[2]}" if name in read and rest else reference


def _with(node: NodeDef, inputs: Iterable[str]) -> NodeDef:
    copy = NodeDef()
    copy.CopyFrom(node)
    copy.input[:] = inputs
    return copy


def _axis(node: NodeDef) -> NodeDef:
    """ResourceGather takes along the first dimension that is not of the batch; GatherV2 is told."""
    axis = NodeDef(name=f"{node.name}/sealserve_axis", op="Const")
    _set_type(axis, "dtype", tensor_pb2.DT_INT32)
    value = axis.attr["value"].tensor
    value.dtype = tensor_pb2.DT_INT32
    value.tensor_shape.SetInParent()
    value.int_val.append(node.attr["batch_dims"].i if "batch_dims" in node.attr else 0)
    return axis


def _set_type(node: NodeDef, name: str, type_: int) -> None:
    node.attr[name].type = type_  # type: ignore[assignment]  # an int at run time


def _set_types(node: NodeDef, name: str, changed: Types) -> None:
    if not changed or not name:
        return
    types = node.attr[name].list.type
    if any(position >= len(types) for position in changed):
        raise FormatError(f"{node.name!r} has fewer types than arguments", code="saved-model")
    for position, type_ in changed.items():
        types[position] = type_  # type: ignore[call-overload]


def _forget_shapes(node: NodeDef, changed: Types) -> None:
    """A handle is a scalar, its value is not."""
    if "_output_shapes" in node.attr:
        del node.attr["_output_shapes"]
    if "output_shapes" not in node.attr:
        return
    shapes = node.attr["output_shapes"].list.shape
    for position in changed:
        if position < len(shapes):
            shapes[position].Clear()
            shapes[position].unknown_rank = True


def _unlike(name: str) -> Unimplemented:
    return Unimplemented(
        f"{name!r} takes or gives variables of several types in one place",
        code="serving.variables",
        hint=INSTEAD,
    )
