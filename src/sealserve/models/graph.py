"""A builder for frozen inference graphs: GraphDef messages without TensorFlow.

It covers the operations that our own models are made of, in float32 and NHWC, with the attributes
that TensorFlow's operation registry requires (TensorFlow 2.21, core/ops/{array,math,nn}_ops.cc).
Weights become Const nodes beside the operation that uses them. It holds the graph in memory, writes
nothing, and checks names, not arithmetic: shapes that do not fit are found by whoever runs the
graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sealserve.errors import UsageError
from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import AttrValue, GraphDef, NodeDef
from sealserve.messages.tensor_pb2 import TensorShapeProto
from sealserve.messages.tensors import to_proto

Array = NDArray[Any]
Padding = Literal["SAME", "VALID"]

# Versions of the graph format (core/public/version.h). The producer is TensorFlow 2.21's, so that
# no compatibility rewriting for old graphs is applied; a runtime only has to know version 12.
PRODUCER = 2474
MIN_CONSUMER = 12

_FLOAT = AttrValue(type=tensor_pb2.DT_FLOAT)
_INT32 = AttrValue(type=tensor_pb2.DT_INT32)
_NHWC = AttrValue(s=b"NHWC")


class GraphBuilder:
    """Collects nodes; every method adds one operation and returns the name of its first output."""

    def __init__(self) -> None:
        self._graph = GraphDef()
        self._graph.versions.producer = PRODUCER
        self._graph.versions.min_consumer = MIN_CONSUMER
        self._names: set[str] = set()

    @property
    def graph(self) -> GraphDef:
        """The graph as built so far."""
        return self._graph

    def placeholder(self, name: str, shape: Sequence[int | None]) -> str:
        """A float32 input; None is a dimension known only when the graph runs."""
        attributes = {"dtype": _FLOAT, "shape": AttrValue(shape=shape_proto(shape))}
        return self._add("Placeholder", name, attributes=attributes)

    def constant(self, name: str, value: Array) -> str:
        """An array that is part of the graph."""
        proto = to_proto(value)
        attributes = {"dtype": AttrValue(type=proto.dtype), "value": AttrValue(tensor=proto)}
        return self._add("Const", name, attributes=attributes)

    def conv2d(
        self, name: str, value: str, kernel: Array, *, stride: int = 1, padding: Padding = "SAME"
    ) -> str:
        """`value` [n,h,w,in] convolved with `kernel` float32 [h,w,in,out]."""
        attributes = {
            "T": _FLOAT,
            "strides": _ints(1, stride, stride, 1),
            "padding": AttrValue(s=padding.encode()),
            "data_format": _NHWC,
            "dilations": _ints(1, 1, 1, 1),
            "explicit_paddings": _ints(),
            "use_cudnn_on_gpu": AttrValue(b=True),
        }
        weights = self.constant(f"{name}/kernel", kernel)
        return self._add("Conv2D", name, value, weights, attributes=attributes)

    def matmul(self, name: str, value: str, weights: Array) -> str:
        """`value` [n,in] times `weights` float32 [in,out]."""
        attributes = {
            "T": _FLOAT,
            "transpose_a": AttrValue(b=False),
            "transpose_b": AttrValue(b=False),
        }
        right = self.constant(f"{name}/weights", weights)
        return self._add("MatMul", name, value, right, attributes=attributes)

    def bias_add(self, name: str, value: str, bias: Array) -> str:
        """`value` plus `bias` float32 [c] along the last axis."""
        attributes = {"T": _FLOAT, "data_format": _NHWC}
        right = self.constant(f"{name}/bias", bias)
        return self._add("BiasAdd", name, value, right, attributes=attributes)

    def add(self, name: str, left: str, right: str) -> str:
        """The sum of two tensors of one shape."""
        return self._add("AddV2", name, left, right, attributes={"T": _FLOAT})

    def relu(self, name: str, value: str) -> str:
        """max(value, 0)."""
        return self._add("Relu", name, value, attributes={"T": _FLOAT})

    def pad(self, name: str, value: str, paddings: Sequence[tuple[int, int]]) -> str:
        """Zeros before and after each axis."""
        right = self.constant(f"{name}/paddings", np.array(paddings, np.int32))
        return self._add("Pad", name, value, right, attributes={"T": _FLOAT, "Tpaddings": _INT32})

    def max_pool(
        self, name: str, value: str, *, size: int, stride: int, padding: Padding = "VALID"
    ) -> str:
        """The maximum over windows of `size` x `size`."""
        attributes = {
            "T": _FLOAT,
            "ksize": _ints(1, size, size, 1),
            "strides": _ints(1, stride, stride, 1),
            "padding": AttrValue(s=padding.encode()),
            "data_format": _NHWC,
            "explicit_paddings": _ints(),
        }
        return self._add("MaxPool", name, value, attributes=attributes)

    def mean(self, name: str, value: str, axes: Sequence[int]) -> str:
        """The mean over `axes`, which disappear."""
        right = self.constant(f"{name}/axes", np.array(axes, np.int32))
        attributes = {"T": _FLOAT, "Tidx": _INT32, "keep_dims": AttrValue(b=False)}
        return self._add("Mean", name, value, right, attributes=attributes)

    def reshape(self, name: str, value: str, shape: Sequence[int]) -> str:
        """The same values in another shape; one dimension may be -1."""
        right = self.constant(f"{name}/shape", np.array(shape, np.int32))
        return self._add("Reshape", name, value, right, attributes={"T": _FLOAT, "Tshape": _INT32})

    def softmax(self, name: str, value: str) -> str:
        """Softmax over the last axis."""
        return self._add("Softmax", name, value, attributes={"T": _FLOAT})

    def _add(self, op: str, name: str, *inputs: str, attributes: dict[str, AttrValue]) -> str:
        if name in self._names:
            raise UsageError(f"the graph has two nodes named {name!r}; expected names of their own")
        missing = [source for source in inputs if source not in self._names]
        if missing:
            raise UsageError(f"node {name!r} takes {missing[0]!r}, which is not in the graph")
        self._names.add(name)
        node = NodeDef(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            node.attr[key].CopyFrom(value)
        self._graph.node.append(node)
        return name


def shape_proto(shape: Sequence[int | None] | None) -> TensorShapeProto:
    """The message of a shape; None is an unknown rank, a dimension None an unknown one (-1)."""
    proto = TensorShapeProto(unknown_rank=shape is None)
    for size in shape or ():
        proto.dim.add(size=-1 if size is None else size)
    return proto


def _ints(*values: int) -> AttrValue:
    return AttrValue(list=AttrValue.ListValue(i=values))
