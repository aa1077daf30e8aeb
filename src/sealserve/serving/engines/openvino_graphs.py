"""A GraphDef handed to OpenVINO node by node, for kernels that have no files in memory.

OpenVINO's TensorFlow frontend asks an iterator for nodes, and each for its name, operation, inputs
and attributes; a function's body is an iterator of its own. It is what OpenVINO's converter uses
for graphs that live in TensorFlow. Nothing is written anywhere.

Source: OpenVINO 2025.3 to 2026.4, openvino/frontend/tensorflow/{graph_iterator,node_decoder}.py,
which say what each method answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import AttrValue, FunctionDef, GraphDef, NodeDef
from sealserve.messages.tensor_pb2 import TensorProto, TensorShapeProto
from sealserve.messages.tensors import from_proto

VALUE_LIMIT = (2 << 30) - 1  # bytes of one constant, as of a whole graph
_RESULT = "sealserve_result"
_TYPES = {
    tensor_pb2.DT_FLOAT: "f32",
    tensor_pb2.DT_DOUBLE: "f64",
    tensor_pb2.DT_HALF: "f16",
    tensor_pb2.DT_INT8: "i8",
    tensor_pb2.DT_INT16: "i16",
    tensor_pb2.DT_INT32: "i32",
    tensor_pb2.DT_INT64: "i64",
    tensor_pb2.DT_UINT8: "u8",
    tensor_pb2.DT_UINT16: "u16",
    tensor_pb2.DT_UINT32: "u32",
    tensor_pb2.DT_UINT64: "u64",
    tensor_pb2.DT_BOOL: "boolean",
    tensor_pb2.DT_BFLOAT16: "bf16",
    tensor_pb2.DT_STRING: "string",
}


class GraphReader:
    """Makes iterators over graphs. One for each OpenVINO."""

    def __init__(self, openvino: Any) -> None:
        self._openvino = openvino
        # Imports OpenVINO, which it is too early for before the engine is chosen.
        from sealserve.serving.engines.openvino_iterator import Iterator

        self._iterator = partial(Iterator, self)

    def iterator(self, graph: GraphDef) -> Any:
        """What `FrontEnd.load` takes in the place of a path. It must live until it is converted."""
        library = {function.signature.name: function for function in graph.library.function}
        return self._iterator(graph.node, library)

    def body(self, function: FunctionDef, library: Mapping[str, FunctionDef]) -> Any:
        """The iterator over a function: its arguments are placeholders, its results identities."""
        nodes, results = [], []
        for argument in function.signature.input_arg:
            node = NodeDef(name=argument.name, op="Placeholder")
            node.attr["dtype"].type = argument.type
            node.attr["shape"].shape.unknown_rank = True
            nodes.append(node)
        for position, result in enumerate(function.signature.output_arg):
            node = NodeDef(name=f"{_RESULT}_{position}", op="Identity")
            node.input.append(function.ret.get(result.name, ""))
            node.attr["T"].type = result.type
            results.append(node)
        takes, gives = ([f"{node.name}:0" for node in some] for some in (nodes, results))
        return self._iterator([*nodes, *function.node_def, *results], library, takes, gives)

    def attribute(self, attribute: AttrValue | None) -> Any:
        """An attribute as OpenVINO's own decoder gives it; one that is not there is None."""
        kind = None if attribute is None else attribute.WhichOneof("value")
        if attribute is None or kind is None:
            return self._openvino.OVAny(None)
        return self._openvino.OVAny(self._value(attribute, kind))

    def _value(self, attribute: AttrValue, kind: str) -> Any:
        match kind:
            case "func":
                return attribute.func.name
            case "s":
                return _text(attribute.s)
            case "type":
                return self._type(attribute.type)
            case "shape":
                return self._shape(attribute.shape)
            case "tensor":
                return self._tensor(attribute.tensor)
            case "list":
                return self._list(attribute.list)
        return getattr(attribute, kind)

    def _list(self, values: AttrValue.ListValue) -> Any:
        for field, found in values.ListFields():
            if field.name == "s":
                return [_text(value) for value in found]
            if field.name == "shape":
                return [self._shape(value) for value in found]
            return list(found)
        return None

    def _type(self, data_type: int) -> Any:
        name = _TYPES.get(data_type, "dynamic")  # type: ignore[call-overload]  # an int at run time
        return getattr(self._openvino.Type, name)

    def _shape(self, shape: TensorShapeProto) -> Any:
        if shape.unknown_rank:
            return self._openvino.PartialShape.dynamic()
        return self._openvino.PartialShape([dim.size for dim in shape.dim])

    def _tensor(self, proto: TensorProto) -> Any:
        array = from_proto(proto, limit_bytes=VALUE_LIMIT)
        if proto.dtype == tensor_pb2.DT_STRING:
            return self._openvino.Tensor([_text(value) for value in array.ravel().tolist()])
        if proto.dtype != tensor_pb2.DT_BFLOAT16:
            return self._openvino.Tensor(array)
        tensor = self._openvino.Tensor(self._openvino.Type.bf16, list(array.shape))
        tensor.data[...] = (array.view("<u4") >> 16).astype("<u2").view(tensor.data.dtype)
        return tensor


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
