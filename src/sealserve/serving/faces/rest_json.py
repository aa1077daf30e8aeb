"""JSON bodies of the REST face: to arrays by what a signature takes, and back.

Both forms of TensorFlow Serving 2.21 (util/json_tensor.cc): rows, `instances` in and `predictions`
out, where the first dimension is the batch; columns, `inputs` in and `outputs` out. Binary values
are `{"b64": "..."}`; NaN, Infinity and -Infinity stand for themselves, as Python's `json` reads and
writes them. Everything that cannot be read raises InvalidArgument.
"""

from __future__ import annotations

import base64
import binascii
import json
import reprlib
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Literal

import numpy as np

from sealserve.errors import InvalidArgument, Unimplemented
from sealserve.messages.tensors import MAX_DIMENSIONS, dtype_name
from sealserve.serving.signature import Array, Signature, TensorSpec

Form = Literal["row", "column"]
_BYTES_SUFFIX = "_bytes"  # outputs named so are binary
_SHOWN = 80  # characters of a wrong value that an error repeats


def parse_body(body: bytes) -> dict[str, Any]:
    """The object in a request body."""
    if not body:
        raise InvalidArgument("JSON Parse error: The document is empty")
    try:
        document = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise InvalidArgument("JSON Parse error: the document is not UTF-8") from None
    except RecursionError:
        raise InvalidArgument("JSON Parse error: nested too deep") from None
    except ValueError as error:
        raise InvalidArgument(f"JSON Parse error: {_brief(str(error))}") from None
    if not isinstance(document, dict):
        raise InvalidArgument(f"JSON Value: {_shown(document)} Is not object")
    return document


def signature_name(document: Mapping[str, Any]) -> str:
    """The signature that the request names; empty for the default."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise InvalidArgument("'signature_name' key must be a string value.")
    return name


def request_form(document: Mapping[str, Any]) -> Form:
    """Which of the two forms the request has."""
    if "instances" in document and "inputs" in document:
        raise InvalidArgument("expecting only one of 'inputs' or 'instances' keys to exist")
    if "instances" in document:
        return "row"
    if "inputs" in document:
        return "column"
    raise InvalidArgument("Missing 'inputs' or 'instances' key")


def decode_inputs(document: Mapping[str, Any], signature: Signature) -> dict[str, Array]:
    """The request's inputs, by alias."""
    if not signature.inputs:
        raise InvalidArgument(f"Failed to get input map for signature: {signature.name}")
    if request_form(document) == "row":
        columns = _columns(document["instances"], signature)
    else:
        columns = _named(document["inputs"], signature)
    return {alias: _array(value, signature.inputs[alias]) for alias, value in columns.items()}


def encode_outputs(outputs: Mapping[str, Array], form: Form) -> bytes:
    """The response body: an object per row where there are several outputs, else the bare values.

    Raises InvalidArgument for rows of outputs that do not share their first dimension.
    """
    plain = {alias: plain_values(alias, array) for alias, array in outputs.items()}
    if form == "row":
        sizes = {len(array) if array.ndim else -1 for array in outputs.values()}
        if len(sizes) != 1 or -1 in sizes:
            raise InvalidArgument(
                "the outputs have no common first dimension", hint="ask by columns: 'inputs'"
            )
        rows = zip(*plain.values(), strict=True)
        bare = next(iter(plain.values()))
        value = [dict(zip(plain, row, strict=True)) for row in rows] if len(plain) > 1 else bare
        return json.dumps({"predictions": value}).encode()
    value = plain if len(plain) > 1 else next(iter(plain.values()))
    return json.dumps({"outputs": value}).encode()


def _columns(instances: Any, signature: Signature) -> dict[str, list[Any]]:
    """Rows turned into one list per input."""
    if not isinstance(instances, list):
        raise InvalidArgument("Expecting 'instances' to be an list/array")
    if not instances:
        raise InvalidArgument("No values in 'instances' array")
    if not _is_named(instances[0]):
        if any(map(_is_named, instances)):
            raise InvalidArgument("Expecting value/list but got object in 'instances' list")
        return {_only_input(signature, "instances"): instances}
    for index, row in enumerate(instances):
        if not _is_named(row) or row.keys() != signature.inputs.keys():
            raise InvalidArgument(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{_shown(row)} keys must be equal to: {','.join(sorted(signature.inputs))}"
            )
    return {alias: [row[alias] for row in instances] for alias in signature.inputs}


def _named(inputs: Any, signature: Signature) -> dict[str, Any]:
    if not _is_named(inputs):
        return {_only_input(signature, "inputs"): inputs}
    for alias in inputs:
        if alias not in signature.inputs:
            raise InvalidArgument(f"JSON object: does not have named input: {_shown(alias)}")
    return dict(inputs)


def _only_input(signature: Signature, key: str) -> str:
    if len(signature.inputs) > 1:
        raise InvalidArgument(
            f"{key} is a plain value/list, but expecting an object as multiple input tensors "
            f"required: {','.join(sorted(signature.inputs))}"
        )
    return next(iter(signature.inputs))


def _array(value: Any, spec: TensorSpec) -> Array:
    """One tensor from nested lists, which must be regular, with leaves of the right type."""
    level: list[Any] = [value]
    shape: list[int] = []
    while level and isinstance(level[0], list):
        if len(shape) == MAX_DIMENSIONS:
            raise InvalidArgument(f"input {spec.alias!r}: more than {MAX_DIMENSIONS} dimensions")
        sizes = set(map(len, level)) if set(map(type, level)) == {list} else set()
        if len(sizes) != 1:
            raise InvalidArgument(
                f"input {spec.alias!r}: the lists at level {len(shape)} do not have one size"
            )
        shape.append(sizes.pop())
        level = list(chain.from_iterable(level))
    return leaves(level, spec).reshape(shape)


def leaves(values: list[Any], spec: TensorSpec) -> Array:
    """The flat array of these values, each of the type that the input takes."""
    kind = spec.dtype.kind
    if kind == "f":
        _require_types(values, (int, float), spec)
        return _floats(values, spec)
    if kind in "iu":
        _require_types(values, (int,), spec)
        limits = np.iinfo(spec.dtype)
        if values and (min(values) < limits.min or max(values) > limits.max):
            raise _out_of_range(spec)
        return np.array(values, spec.dtype)
    if kind == "b":
        _require_types(values, (bool,), spec)
        return np.array(values, spec.dtype)
    if kind == "O":
        array = np.empty(len(values), object)
        array[:] = [_bytes(value, spec) for value in values]
        return array
    raise Unimplemented(f"Conversion of JSON Value to type: {dtype_name(spec.data_type)}")


def _floats(values: list[Any], spec: TensorSpec) -> Array:
    try:
        exact = np.array(values, np.float64)
    except OverflowError:
        raise _out_of_range(spec) from None
    with np.errstate(over="ignore"):
        array = exact.astype(spec.dtype)
    if np.any(np.isinf(array) & ~np.isinf(exact)):
        raise _out_of_range(spec)
    return array


def _require_types(values: Sequence[Any], types: tuple[type, ...], spec: TensorSpec) -> None:
    # Exact types: to Python a bool is an int, to TensorFlow it is not.
    if set(map(type, values)) - set(types):
        wrong = next(value for value in values if type(value) not in types)
        raise _type_error(wrong, spec)


def _bytes(value: Any, spec: TensorSpec) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if not is_base64(value):
        raise _type_error(value, spec)
    return from_base64(value)


def is_base64(value: Any) -> bool:
    """Whether a value is `{"b64": "..."}`, which stands for bytes."""
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def from_base64(value: Mapping[str, str]) -> bytes:
    """The bytes of a value that `is_base64`."""
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgument("Unable to base64 decode") from None


def plain_values(alias: str, array: Array) -> Any:
    """An array as nested lists, or a bare value for a scalar; InvalidArgument if JSON has none."""
    if array.dtype.kind == "f" and array.dtype.itemsize < np.dtype(np.float64).itemsize:
        # The shortest decimal that means this float32, not the long one that means its double.
        return array.astype(np.str_).astype(np.float64).tolist()
    if array.dtype.kind in "fiub":
        return array.tolist()
    if array.dtype.kind != "O":
        raise InvalidArgument(f"Failed to write JSON value for tensor type: {array.dtype}")
    texts = np.empty(array.size, object)
    texts[:] = [_text(value, binary=alias.endswith(_BYTES_SUFFIX)) for value in array.ravel()]
    return texts.reshape(array.shape).tolist()


def _text(value: bytes, *, binary: bool) -> str | dict[str, str]:
    if binary:
        return {"b64": base64.b64encode(value).decode("ascii")}
    return value.decode("utf-8", "replace")


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _type_error(value: Any, spec: TensorSpec) -> InvalidArgument:
    return InvalidArgument(
        f"JSON Value: {_shown(value)} is not of expected type: {dtype_name(spec.data_type)} "
        f"(input {spec.alias!r})"
    )


def _out_of_range(spec: TensorSpec) -> InvalidArgument:
    return InvalidArgument(
        f"input {spec.alias!r}: a value is outside the range of {dtype_name(spec.data_type)}"
    )


def _shown(value: Any) -> str:
    return _brief(reprlib.repr(value))  # bounded in depth and width, as an error must be


def _brief(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
