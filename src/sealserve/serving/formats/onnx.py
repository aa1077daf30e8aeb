"""An ONNX model from its bytes, whole: data that lie in other files are put in their place.

A tensor may say that its bytes are elsewhere, in a file or, to some readers, at an address in
memory. No engine is let follow that by itself: the files are read as all others of the version are,
and a name that the version does not have is refused.

Source: ONNX 1.19, onnx/onnx.proto (TensorProto.external_data) and docs/ExternalData.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from sealserve.errors import FormatError, Unimplemented
from sealserve.messages.onnx_pb2 import (
    OnnxAttribute,
    OnnxGraph,
    OnnxModel,
    OnnxNode,
    OnnxSparseTensor,
    OnnxTensor,
)
from sealserve.serving.engine import VersionFiles

ONNX_NAME = "model.onnx"
SIZE_LIMIT = (2 << 30) - 1  # a protobuf message has less than 2 GiB


@dataclass(frozen=True)
class WholeModel:
    """The bytes of a model that names no other file, and its outputs by name, in order."""

    data: bytes
    outputs: Sequence[str]


def read_onnx(files: VersionFiles) -> WholeModel:
    """The model of a version.

    Raises FormatError for bytes that are no ONNX model or that name data which are not there,
    Unimplemented for a model that has more than 2 GiB in all, and what reading files does.
    """
    data = bytes(files.read(ONNX_NAME))
    try:
        model = OnnxModel.FromString(data)
    except DecodeError as error:
        raise _broken(f"the bytes of {ONNX_NAME} are none") from error
    if not model.graph.output:
        raise _broken("it has no outputs")
    outputs = [output.name for output in model.graph.output]
    elsewhere = [tensor for tensor in _tensors(model) if _is_elsewhere(tensor)]
    if not elsewhere:
        return WholeModel(data, outputs)
    del data
    _bring(elsewhere, files)
    if model.ByteSize() > SIZE_LIMIT:
        raise Unimplemented("the ONNX model with its data has more than 2 GiB")
    return WholeModel(model.SerializeToString(), outputs)


def _is_elsewhere(tensor: OnnxTensor) -> bool:
    return bool(tensor.data_location or tensor.external_data)


def _bring(tensors: Sequence[OnnxTensor], files: VersionFiles) -> None:
    """Give tensors the bytes that they say are elsewhere; each file is read once."""
    read: dict[str, bytearray] = {}
    total = 0
    for tensor in tensors:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        if name not in files.names:
            raise _broken(f"data of it are in {name!r}, which the version lacks")
        if name not in read:
            read[name] = files.read(name)
        offset = _number(entries, "offset", 0)
        length = _number(entries, "length", max(0, len(read[name]) - offset))
        total += length
        if offset + length > len(read[name]):
            raise _broken(f"{name!r} is shorter than its tensors")
        if total > SIZE_LIMIT:
            raise Unimplemented("the ONNX model with its data has more than 2 GiB")
        tensor.raw_data = bytes(memoryview(read[name])[offset : offset + length])
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")


def _number(entries: dict[str, str], key: str, otherwise: int) -> int:
    text = entries.get(key, str(otherwise))
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise _broken(f"the {key} of its data is no number")
    return int(text)


def _tensors(model: OnnxModel) -> Iterator[OnnxTensor]:
    """Every tensor wherever a model can have one. Protobuf bounds how deep graphs are nested."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)
        for attribute in function.attribute_proto:
            yield from _of_attribute(attribute)


def _of_graph(graph: OnnxGraph) -> Iterator[OnnxTensor]:
    yield from graph.initializer
    yield from _of_sparse(graph.sparse_initializer)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Sequence[OnnxNode]) -> Iterator[OnnxTensor]:
    for node in nodes:
        for attribute in node.attribute:
            yield from _of_attribute(attribute)


def _of_attribute(attribute: OnnxAttribute) -> Iterator[OnnxTensor]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    if attribute.HasField("sparse_tensor"):
        yield from _of_sparse([attribute.sparse_tensor])
    yield from _of_sparse(attribute.sparse_tensors)
    if attribute.HasField("g"):
        yield from _of_graph(attribute.g)
    for graph in attribute.graphs:
        yield from _of_graph(graph)


def _of_sparse(tensors: Sequence[OnnxSparseTensor]) -> Iterator[OnnxTensor]:
    for tensor in tensors:
        yield from (tensor.values, tensor.indices)


def _broken(reason: str) -> FormatError:
    return FormatError(f"the model is no ONNX model: {reason}", code="onnx")
