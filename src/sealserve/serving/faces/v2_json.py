"""Bodies of the Open Inference Protocol's REST face: JSON, and what may follow it in binary form.

Values of a tensor come flat or nested as its shape says, in row-major order; answers are flat.
BYTES are strings, and `{"b64": "..."}` as on the other REST face; NaN, Infinity and -Infinity stand
for themselves. With the binary tensor data extension a body is JSON of a length that a header
gives, and behind it the data of those inputs, in order, that say so by `binary_data_size`; an
answer has the same form if it has an output that was asked for so.

Whatever cannot be read raises InvalidArgument. Source: Open Inference Protocol, inference_rest.md,
Inference; Triton Inference Server, protocol/extension_binary_data.md.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sealserve.errors import InvalidArgument
from sealserve.serving.dataplane import Prediction
from sealserve.serving.faces import v2_parameters
from sealserve.serving.faces.rest_json import leaves, parse_body, plain_values
from sealserve.serving.faces.v2_tensors import (
    Data,
    checked_shape,
    datatype_of,
    from_binary,
    require_datatype,
    to_binary,
)
from sealserve.serving.signature import Array, Signature, TensorSpec

_LENGTH = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True)
class InputTensor:
    """An input as it came: its values as JSON, or its bytes."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: Sequence[Any] | memoryview


@dataclass(frozen=True)
class InferRequest:
    """A request. `outputs` are those asked for and whether in binary form; none means all."""

    id: str | None
    signature: str
    inputs: Sequence[InputTensor]
    outputs: Mapping[str, bool]
    binary: bool  # of outputs that were not asked for one by one


def parse_request(body: bytes, header_length: str | None) -> InferRequest:
    """The request in a body; `header_length` is the header that gives the length of its JSON.

    Raises Unimplemented for parameters that ask for what there is not here.
    """
    length = _header_length(header_length, len(body))
    document = parse_body(body[:length])
    parameters = _parameters(document)
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidArgument("'id' must be a string")
    binary = v2_parameters.flag(parameters, v2_parameters.BINARY_DATA_OUTPUT, default=False)
    return InferRequest(
        id=request_id,
        signature=v2_parameters.text(parameters, v2_parameters.SIGNATURE_NAME),
        inputs=_input_tensors(_objects(document, "inputs"), memoryview(body)[length:]),
        outputs=_requested(_objects(document, "outputs"), binary=binary),
        binary=binary,
    )


def decode_inputs(request: InferRequest, signature: Signature) -> dict[str, Array]:
    """The request's inputs, by name."""
    signature.require_names(tensor.name for tensor in request.inputs)
    return {tensor.name: _array(tensor, signature.inputs[tensor.name]) for tensor in request.inputs}


def encode_response(prediction: Prediction, request: InferRequest) -> tuple[bytes, int | None]:
    """The response body, and the length of its JSON where there is something behind it.

    Raises InvalidArgument for an output that is no text, and so must be asked for in binary form.
    """
    binary: list[Data] = []
    outputs = []
    for name, array in prediction.outputs.items():
        described: dict[str, Any] = {
            "name": name,
            "datatype": datatype_of(array.dtype),
            "shape": array.shape,
        }
        if request.outputs.get(name, request.binary):
            binary.append(to_binary(array))
            described["parameters"] = {v2_parameters.BINARY_DATA_SIZE: len(binary[-1])}
        else:
            described["data"] = _values(name, array)
        outputs.append(described)
    document: dict[str, Any] = {
        "model_name": prediction.name,
        "model_version": str(prediction.version),
        "outputs": outputs,
    }
    if request.id is not None:
        document["id"] = request.id
    head = json.dumps(document).encode()
    return (b"".join([head, *binary]), len(head)) if binary else (head, None)


def _header_length(header: str | None, body_length: int) -> int:
    if header is None:
        return body_length
    if not _LENGTH.fullmatch(header) or int(header) > body_length:
        raise InvalidArgument(
            f"Inference-Header-Content-Length is not a length within the body's {body_length} bytes"
        )
    return int(header)


def _objects(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = document.get(key, [])
    if not isinstance(found, list) or not all(isinstance(value, dict) for value in found):
        raise InvalidArgument(f"{key!r} must be an array of objects")
    return found


def _parameters(described: Mapping[str, Any]) -> dict[str, Any]:
    found = described.get("parameters", {})
    if not isinstance(found, dict):
        raise InvalidArgument("'parameters' must be an object")
    v2_parameters.require_served(found)
    return found


def _text(described: Mapping[str, Any], key: str) -> str:
    found = described.get(key)
    if not isinstance(found, str):
        raise InvalidArgument(f"{key!r} of a tensor must be a string")
    return found


def _input_tensors(described: Sequence[dict[str, Any]], binary: memoryview) -> list[InputTensor]:
    tensors = []
    offset = 0
    for tensor in described:
        size = v2_parameters.size(_parameters(tensor), v2_parameters.BINARY_DATA_SIZE)
        if (size is None) == ("data" not in tensor):
            raise InvalidArgument("an input has either 'data' or binary_data_size")
        data = tensor["data"] if size is None else binary[offset : offset + size]
        offset += size or 0
        if not isinstance(data, list | memoryview):
            raise InvalidArgument("'data' must be an array")
        tensors.append(
            InputTensor(_text(tensor, "name"), _text(tensor, "datatype"), _shape(tensor), data)
        )
    if offset != len(binary):
        raise InvalidArgument(
            f"the inputs announce {offset} bytes of binary data; the body has {len(binary)}"
        )
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise InvalidArgument("an input is given twice")
    return tensors


def _shape(tensor: Mapping[str, Any]) -> list[int]:
    found = tensor.get("shape")
    # Exact types: to Python true is an int.
    if not isinstance(found, list) or not all(type(size) is int for size in found):
        raise InvalidArgument("'shape' of a tensor must be an array of integers")
    return found


def _requested(described: Sequence[dict[str, Any]], *, binary: bool) -> dict[str, bool]:
    outputs = {
        _text(output, "name"): v2_parameters.flag(
            _parameters(output), v2_parameters.BINARY_DATA, default=binary
        )
        for output in described
    }
    if len(outputs) < len(described):
        raise InvalidArgument("an output is asked for twice")
    return outputs


def _array(tensor: InputTensor, spec: TensorSpec) -> Array:
    require_datatype(spec, tensor.datatype)
    shape = checked_shape(spec, tensor.shape)
    if isinstance(tensor.data, memoryview):
        return from_binary(tensor.data, spec, shape)
    values = _flat(tensor.data, spec, shape)
    if len(values) != math.prod(shape):
        raise InvalidArgument(
            f"input {spec.alias!r}: {len(values)} values; the shape wants {math.prod(shape)}"
        )
    return leaves(values, spec).reshape(shape)


def _flat(data: Sequence[Any], spec: TensorSpec, shape: Sequence[int]) -> list[Any]:
    """The values of lists that are flat, or nested just as the shape says."""
    level = list(data)
    if not any(isinstance(value, list) for value in level):
        return level
    for size in shape[1:]:
        if not all(isinstance(value, list) and len(value) == size for value in level):
            raise InvalidArgument(f"input {spec.alias!r}: the lists are not nested as in the shape")
        level = list(chain.from_iterable(level))
    return level


def _values(name: str, array: Array) -> Any:
    flat = array.ravel()
    if array.dtype.kind != "O":
        return plain_values(name, flat)
    try:
        return [element.decode("utf-8") for element in flat.tolist()]
    except UnicodeDecodeError:
        raise InvalidArgument(
            f"output {name!r} is no text; ask for it with the parameter binary_data"
        ) from None
