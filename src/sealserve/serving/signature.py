"""Signatures: what a model takes and gives, and whether a request fits.

A SignatureDef (TensorFlow 2.21, core/protobuf/meta_graph.proto) maps aliases, which clients use, to
tensors of the graph with a dtype and a shape. The checks and their texts follow TensorFlow
Serving's predict_util.cc where clients match on them. Nothing here knows an engine or a wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sealserve.errors import InvalidArgument, Unimplemented
from sealserve.messages import saved_model_pb2, tensor_pb2
from sealserve.messages.tensors import dtype_name, dtype_of, from_proto, numpy_dtype

Array = NDArray[Any]
Shape = tuple[int | None, ...]

DEFAULT_SIGNATURE = "serving_default"
INIT_SIGNATURE = "__saved_model_init_op"  # runs at load in TensorFlow 1; takes and gives nothing
DEFAULT_VALUE_LIMIT = 64 << 20  # bytes of one default value of a signature


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. `shape` is None for an unknown rank, its unknown dimensions are None."""

    alias: str
    tensor: str  # "node:output" in the graph
    data_type: int
    shape: Shape | None

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of its arrays."""
        return numpy_dtype(self.data_type)

    def __str__(self) -> str:
        return f"{dtype_name(self.data_type)} {shape_text(self.shape)}"

    def require(self, array: Array) -> None:
        """InvalidArgument unless `array` has this dtype and a shape that fits this one."""
        if array.dtype != self.dtype:
            raise InvalidArgument(
                f"input {self.alias!r}: expected {dtype_name(self.data_type)}, "
                f"found {dtype_name(dtype_of(array.dtype))}"
            )
        if not fits(array.shape, self.shape):
            raise InvalidArgument(
                f"input {self.alias!r}: expected shape {shape_text(self.shape)}, "
                f"found {shape_text(array.shape)}"
            )


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of one signature, by alias."""

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    defaults: Mapping[str, Array] = field(default_factory=dict)
    method: str = ""  # tensorflow/serving/predict, .../classify, .../regress, as exported

    @property
    def batchable(self) -> bool:
        """Whether the first dimension of every input and output is free."""
        specs = [*self.inputs.values(), *self.outputs.values()]
        return all(spec.shape and spec.shape[0] is None for spec in specs)

    def require_names(self, names: Iterable[str]) -> None:
        """InvalidArgument unless `names`, with what has a default, are the inputs."""
        sent = set(names)
        if sent != self.inputs.keys() != sent | self.defaults.keys():
            raise _input_mismatch(sent, self.inputs.keys())

    def complete(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The inputs with their defaults filled in; InvalidArgument unless they fit."""
        self.require_names(inputs)
        filled = {**self.defaults, **inputs}
        for alias, array in filled.items():
            self.inputs[alias].require(array)
        return filled

    def select(self, output_filter: Sequence[str]) -> tuple[str, ...]:
        """The outputs asked for, all if none is named; InvalidArgument for a wrong one."""
        for alias in output_filter:
            if alias not in self.outputs:
                known = ",".join(sorted(self.outputs))
                raise InvalidArgument(
                    f"output tensor alias not found in signature: {alias} "
                    f"Outputs expected to be in the set {{{known}}}."
                )
        if len(set(output_filter)) < len(output_filter):
            twice = next(a for a in output_filter if list(output_filter).count(a) > 1)
            raise InvalidArgument(f"duplicate output tensor alias: {twice}")
        return tuple(output_filter) or tuple(self.outputs)


def parse_signature(name: str, definition: saved_model_pb2.SignatureDef) -> Signature:
    """The signature of a definition; Unimplemented if it has what no engine of ours takes."""
    inputs = {a: _spec(a, info) for a, info in sorted(definition.inputs.items())}
    outputs = {a: _spec(a, info) for a, info in sorted(definition.outputs.items())}
    if not outputs:
        raise Unimplemented(f"signature {name!r} has no outputs")
    defaults = {
        alias: from_proto(proto, limit_bytes=DEFAULT_VALUE_LIMIT)
        for alias, proto in definition.defaults.items()
        if alias in inputs
    }
    return Signature(
        name=name,
        inputs=inputs,
        outputs=outputs,
        defaults=defaults,
        method=definition.method_name,
    )


def merged(one: Shape | None, other: Shape | None) -> Shape | None:
    """What two descriptions of one shape say together; the first where they contradict."""
    if one is None or other is None:
        return other if one is None else one
    if len(one) != len(other):
        return one
    return tuple(b if a is None else a for a, b in zip(one, other, strict=True))


def fits(found: tuple[int, ...], expected: Shape | None) -> bool:
    """Whether a whole shape agrees with one that may have unknown dimensions."""
    if expected is None:
        return True
    if len(found) != len(expected):
        return False
    for size, wanted in zip(found, expected, strict=True):  # once for every input of every request
        if size != wanted and wanted is not None:
            return False
    return True


def shape_text(shape: Shape | None) -> str:
    """`[-1,8,8,1]`, and `[?]` for an unknown rank, as TensorFlow Serving prints them."""
    if shape is None:
        return "[?]"
    return f"[{','.join('-1' if size is None else str(size) for size in shape)}]"


def parse_shape(proto: tensor_pb2.TensorShapeProto) -> Shape | None:
    """The shape of a description: a size below zero is an unknown dimension."""
    if proto.unknown_rank:
        return None
    return tuple(dim.size if dim.size >= 0 else None for dim in proto.dim)


def _spec(alias: str, info: saved_model_pb2.TensorInfo) -> TensorSpec:
    if info.WhichOneof("encoding") != "name":
        raise Unimplemented(f"tensor {alias!r} is sparse or composite; only dense ones are served")
    if not _is_array_type(info.dtype):
        raise Unimplemented(f"tensor {alias!r} is {dtype_name(info.dtype)}, which is not served")
    tensor = info.name if ":" in info.name else f"{info.name}:0"
    shape = parse_shape(info.tensor_shape) if info.HasField("tensor_shape") else None
    return TensorSpec(alias=alias, tensor=tensor, data_type=info.dtype, shape=shape)


def _is_array_type(data_type: int) -> bool:
    """Whether arrays have this type; bfloat16, say, would be served as another one."""
    try:
        return dtype_of(numpy_dtype(data_type)) == data_type
    except InvalidArgument:
        return False


def _input_mismatch(sent: Set[str], wanted: Set[str]) -> InvalidArgument:
    def joined(names: Set[str]) -> str:
        return "{" + ",".join(sorted(names)) + "}"

    return InvalidArgument(
        f"input size does not match signature: {len(sent)}!={len(wanted)} "
        f"len({joined(sent)}) != len({joined(wanted)}). "
        f"Sent extra: {joined(sent - wanted)}. Missing but required: {joined(wanted - sent)}."
    )
