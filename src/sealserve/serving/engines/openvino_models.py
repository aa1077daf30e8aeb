"""Models in formats of OpenVINO's own reading: IR and ONNX, from memory, with a signature made up.

These formats have no signatures. They get the one that clients ask for when they name none,
`serving_default`: an input or output is called what the model calls its tensor. Ports are then
marked with the names by which the engine finds those of a SavedModel.

Source: OpenVINO 2025.3 to 2026.4, `openvino.Core.read_model` of bytes and a tensor of weights.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sealserve.errors import FormatError, Unimplemented
from sealserve.messages import tensor_pb2
from sealserve.messages.saved_model_pb2 import SignatureDef, TensorInfo
from sealserve.serving.engine import VersionFiles
from sealserve.serving.formats.found import Format, Found, weights_name
from sealserve.serving.formats.onnx import read_onnx
from sealserve.serving.formats.subgraph import output_name

log = logging.getLogger(__name__)

METHOD = "tensorflow/serving/predict"
DATA_TYPES = {
    "f32": tensor_pb2.DT_FLOAT,
    "f64": tensor_pb2.DT_DOUBLE,
    "f16": tensor_pb2.DT_HALF,
    "i8": tensor_pb2.DT_INT8,
    "i16": tensor_pb2.DT_INT16,
    "i32": tensor_pb2.DT_INT32,
    "i64": tensor_pb2.DT_INT64,
    "u8": tensor_pb2.DT_UINT8,
    "u16": tensor_pb2.DT_UINT16,
    "u32": tensor_pb2.DT_UINT32,
    "u64": tensor_pb2.DT_UINT64,
    "boolean": tensor_pb2.DT_BOOL,
}
"""What is served of OpenVINO's element types, and what TensorFlow calls each."""


@dataclass(frozen=True)
class ReadModel:
    """A model of OpenVINO's, its ports marked, and what it takes and gives."""

    model: Any
    definition: SignatureDef


def read_model(openvino: Any, core: Any, files: VersionFiles, found: Found) -> ReadModel:
    """The model of a version that is an IR or an ONNX model.

    Raises FormatError for files that are none, Unimplemented for what OpenVINO cannot read or for
    dtypes that are not served, and what reading the files does.
    """
    names: Sequence[str] = ()
    if found.format is Format.ONNX:
        whole = read_onnx(files)
        names = whole.outputs
        model = _read(openvino, core, whole.data, b"", found)
    else:
        graph, weights = files.read(found.name), files.read(weights_name(found.name))
        model = _read(openvino, core, bytes(graph), weights, found)
    definition = _marked(model, names)
    _require_marks(model.clone(), definition)
    return ReadModel(model, definition)


def _read(openvino: Any, core: Any, graph: bytes, weights: bytes | bytearray, found: Found) -> Any:
    # A tensor of no bytes is refused where bytes of none are not.
    held = openvino.Tensor(np.frombuffer(weights, np.uint8)) if weights else b""
    try:
        return core.read_model(graph, held)
    except RuntimeError as error:
        log.error("cannot read %s: %s", found.format.value, error)
        if "Unable to read the model" in str(error):
            raise FormatError(f"{found.name} is not {found.format.value}", code="model") from error
        raise Unimplemented(
            f"{found.format.value} cannot be read by the engine: the log says why"
        ) from error


def _marked(model: Any, outputs: Sequence[str]) -> SignatureDef:
    """The signature of a model, whose ports get the names that it gives to their tensors."""
    definition = SignatureDef(method_name=METHOD)
    for port, alias in zip(model.inputs, _aliases(model.inputs, ()), strict=True):
        info = _info(alias, port)
        definition.inputs[alias].CopyFrom(info)
        # An input that is a result too takes over the result's names when the model is copied.
        for holder in (port, *(target.get_node().output(0) for target in _results_of(port))):
            holder.get_tensor().add_names({info.name})
    results = dict(zip(_aliases(model.outputs, outputs), model.get_results(), strict=True))
    for position, (alias, result) in enumerate(sorted(results.items())):
        definition.outputs[alias].CopyFrom(_info(alias, result.output(0)))
        result.set_friendly_name(f"{output_name(position)}:0")
    return definition


def _require_marks(copy: Any, definition: SignatureDef) -> None:
    """An input that could not be found again would be computed with nothing in its place."""
    found = {name for port in copy.inputs for name in port.names}
    lost = sorted(a for a, info in definition.inputs.items() if info.name not in found)
    if lost:
        raise Unimplemented(f"inputs {lost} of the model cannot be told apart")


def _results_of(port: Any) -> Iterator[Any]:
    return (t for t in port.get_target_inputs() if t.get_node().get_type_name() == "Result")


def _aliases(ports: Iterable[Any], wanted: Sequence[str]) -> Iterator[str]:
    """A name for each port that no other has: one of `wanted`, of its own, or of its node."""
    taken: set[str] = set()
    for port in ports:
        own = sorted(port.names)
        node = port.get_node()
        choice = [name for name in wanted if name in own] + own + [node.get_friendly_name()]
        alias = next((name for name in choice if name and name not in taken), "")
        if not alias:
            raise FormatError("the model has inputs or outputs without a name", code="model")
        taken.add(alias)
        yield alias


def _info(alias: str, port: Any) -> TensorInfo:
    type_ = port.get_element_type().get_type_name()
    if type_ not in DATA_TYPES:
        raise Unimplemented(f"tensor {alias!r} is of type {type_}, which is not served")
    info = TensorInfo(name=alias if ":" in alias else f"{alias}:0", dtype=DATA_TYPES[type_])
    shape = port.get_partial_shape()
    info.tensor_shape.unknown_rank = shape.rank.is_dynamic
    for size in () if shape.rank.is_dynamic else shape:
        info.tensor_shape.dim.add(size=-1 if size.is_dynamic else size.get_length())
    return info
