"""How common operations make the shape of their first output from the shapes of their operands.

Each rule is TensorFlow's own (2.21, core/framework/common_shape_fns.cc and core/ops/*_ops.cc) for
the cases that classifiers are made of; any other case raises UnknownShape rather than guess. The
graph may come from anybody: no rule reads a tensor larger than a shape, and none adds an attribute
to a node by looking for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sealserve.messages.graph_pb2 import AttrValue, NodeDef
from sealserve.messages.tensor_pb2 import TensorShapeProto
from sealserve.messages.tensors import from_proto

KnownShape = tuple[int | None, ...]  # None is a dimension known only when the graph runs
Shape = KnownShape | None  # None is an unknown rank

MAX_RANK = 254  # of a shape in TensorFlow (core/framework/tensor_shape.h)
SMALL_TENSOR_BYTES = 2 * 8 * MAX_RANK  # paddings, the largest operand that is read


class UnknownShape(Exception):
    """The rule does not tell the shape."""


@dataclass(frozen=True)
class Call:
    """One operation: its node, its operands' shapes, and the constants among them."""

    node: NodeDef
    shapes: Sequence[Shape]
    constants: Sequence[NodeDef | None]

    def shape(self, index: int, *, rank: int | None = None) -> KnownShape:
        """The shape of an operand, of this rank if one is given."""
        shape = self.shapes[index]
        if shape is None or (rank is not None and len(shape) != rank):
            raise UnknownShape
        return shape

    def integers(self, index: int) -> list[int]:
        """The values of an operand that is a small constant of integers."""
        constant = self.constants[index]
        if constant is None:
            raise UnknownShape
        tensor = attribute(constant, "value").tensor
        array = from_proto(tensor, limit_bytes=SMALL_TENSOR_BYTES)
        if array.dtype.kind != "i":
            raise UnknownShape
        return [int(value) for value in array.ravel()]

    def attribute(self, key: str) -> AttrValue:
        """An attribute; an empty one, which stands for the default, if it is absent."""
        return attribute(self.node, key)


def attribute(node: NodeDef, key: str) -> AttrValue:
    """`node.attr[key]`, without adding the key to the node as protobuf's maps do."""
    return node.attr[key] if key in node.attr else AttrValue()


def shape_from_proto(proto: TensorShapeProto) -> Shape:
    """A shape as a tuple; UnknownShape for one that TensorFlow would not accept."""
    if proto.unknown_rank:
        return None
    if len(proto.dim) > MAX_RANK or any(dim.size < -1 for dim in proto.dim):
        raise UnknownShape
    return tuple(None if dim.size == -1 else dim.size for dim in proto.dim)


def _placeholder(call: Call) -> Shape:
    declared = call.attribute("shape")
    return shape_from_proto(declared.shape) if declared.HasField("shape") else None


def _constant(call: Call) -> Shape:
    return shape_from_proto(call.attribute("value").tensor.tensor_shape)


def _same(call: Call) -> Shape:
    return call.shape(0)


def _broadcast(call: Call) -> Shape:
    left, right = call.shape(0), call.shape(1)
    rank = max(len(left), len(right))
    pairs = zip(_widened(left, rank), _widened(right, rank), strict=True)
    return tuple(_broadcast_size(first, second) for first, second in pairs)


def _widened(shape: KnownShape, rank: int) -> KnownShape:
    return (1,) * (rank - len(shape)) + shape


def _broadcast_size(first: int | None, second: int | None) -> int | None:
    if first == 1 or first == second:
        return second
    if second == 1:
        return first
    if first is not None and second is not None:
        raise UnknownShape
    return first if second is None else second  # the unknown one is 1 or equal to the known


def _matmul(call: Call) -> Shape:
    left, right = call.shape(0, rank=2), call.shape(1, rank=2)
    rows = left[1] if call.attribute("transpose_a").b else left[0]
    columns = right[0] if call.attribute("transpose_b").b else right[1]
    return rows, columns


def _convolution(call: Call) -> Shape:
    height, width, _, channels = call.shape(1, rank=4)
    if any(rate != 1 for rate in call.attribute("dilations").list.i):
        raise UnknownShape
    return _over_windows(call, (height, width), channels)


def _pool(call: Call) -> Shape:
    first, channel_axis = _image_axes(call)
    size = call.attribute("ksize").list.i
    return _over_windows(call, (size[first], size[first + 1]), call.shape(0, rank=4)[channel_axis])


def _over_windows(
    call: Call, size: tuple[int | None, int | None], channels: int | None
) -> KnownShape:
    """The shape after windows of `size` have gone over the image."""
    image = call.shape(0, rank=4)
    first, channel_axis = _image_axes(call)
    strides, padding = call.attribute("strides").list.i, call.attribute("padding").s
    result = list(image)
    result[channel_axis] = channels
    for axis, window in zip((first, first + 1), size, strict=True):
        result[axis] = _window_count(image[axis], window, strides[axis], padding)
    return tuple(result)


def _image_axes(call: Call) -> tuple[int, int]:
    """The first of the two axes of the image, and the axis of the channels."""
    return (2, 1) if call.attribute("data_format").s == b"NCHW" else (1, 3)


def _window_count(
    length: int | None, window: int | None, stride: int, padding: bytes
) -> int | None:
    if length is None or window is None:
        return None
    if padding == b"SAME":
        return -(-length // stride)
    if padding == b"VALID":
        return (length - window) // stride + 1
    raise UnknownShape


def _pad(call: Call) -> Shape:
    shape, paddings = call.shape(0), call.integers(1)
    if len(paddings) != 2 * len(shape):
        raise UnknownShape
    triples = zip(shape, paddings[::2], paddings[1::2], strict=True)
    return tuple(None if size is None else size + left + right for size, left, right in triples)


def _reduction(call: Call) -> Shape:
    """Mean, ArgMax and their like: the axes in the second operand disappear or become 1."""
    axes = _axes(call.integers(1), len(call.shape(0)))
    if call.attribute("keep_dims").b:
        return tuple(1 if axis in axes else size for axis, size in enumerate(call.shape(0)))
    return tuple(size for axis, size in enumerate(call.shape(0)) if axis not in axes)


def _squeeze(call: Call) -> Shape:
    shape = call.shape(0)
    axes = _axes(call.attribute("squeeze_dims").list.i, len(shape))
    if not axes:
        if None in shape:
            raise UnknownShape
        return tuple(size for size in shape if size != 1)
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _axes(values: Sequence[int], rank: int) -> set[int]:
    if any(not -rank <= value < rank for value in values):
        raise UnknownShape
    return {value % rank for value in values}


def _reshape(call: Call) -> Shape:
    target = call.integers(1)
    if any(size < -1 for size in target) or target.count(-1) > 1:
        raise UnknownShape
    free = None
    source = call.shapes[0]
    if source is not None and None not in source:
        fixed = math.prod(size for size in target if size != -1)
        free, rest = divmod(math.prod(size for size in source if size is not None), fixed)
        if rest:
            raise UnknownShape
    return tuple(free if size == -1 else size for size in target)


# The operations whose first output has the shape and, by the attribute `T`, the dtype of the first
# operand.
ELEMENTWISE = frozenset(
    [
        *("BiasAdd", "Elu", "Exp", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"),
        *("Identity", "LeakyRelu", "Log", "LogSoftmax", "LRN", "Neg", "PreventGradient", "Relu"),
        *("Relu6", "Rsqrt", "Selu", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Square"),
        *("StopGradient", "Tanh"),
    ]
)

RULES: dict[str, Callable[[Call], Shape]] = {
    **dict.fromkeys(ELEMENTWISE, _same),
    **dict.fromkeys(("Placeholder", "PlaceholderV2", "PlaceholderWithDefault"), _placeholder),
    **dict.fromkeys(("Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum"), _broadcast),
    **dict.fromkeys(("MaxPool", "AvgPool"), _pool),
    **dict.fromkeys(("Mean", "Sum", "Max", "Min", "Prod", "ArgMax", "ArgMin"), _reduction),
    "Cast": _same,
    "Const": _constant,
    "Conv2D": _convolution,
    "MatMul": _matmul,
    "Pad": _pad,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
}
