"""JSON of Classify and Regress: examples from a body, classes and values into one.

A body is `{"signature_name"?, "context"?, "examples": [...]}`; an example is an object of features,
each a value or a list of values of one kind: whole numbers and booleans are int64, other numbers,
NaN and the infinities are float32, strings and `{"b64": "..."}` are bytes. Answers are under
`results`, as the stock server sends them; its guide says `result`.

Source: TensorFlow Serving 2.21, util/json_tensor.cc, g3doc/api_rest.md. What cannot be read raises
InvalidArgument.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sealserve.errors import InvalidArgument
from sealserve.messages.inference_pb2 import Example, Feature, Input
from sealserve.serving.example_methods import Classification, Regression
from sealserve.serving.faces.rest_json import from_base64, is_base64, plain_values

_INT64 = np.iinfo(np.int64)
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def decode_examples(document: Mapping[str, Any]) -> Input:
    """The examples in a request's body, with their context if there is one."""
    if "examples" not in document:
        raise InvalidArgument("key 'examples' is expected and was not found")
    examples = document["examples"]
    if not isinstance(examples, list):
        raise InvalidArgument("Expecting 'examples' value to be an list/array")
    if not examples:
        raise InvalidArgument("'examples' value is an empty array")
    found = Input()
    if "context" in document:
        _fill_example(found.example_list_with_context.context, document["context"])
        target = found.example_list_with_context.examples
    else:
        target = found.example_list.examples
    for value in examples:
        _fill_example(target.add(), value)
    return found


def encode_classification(result: Classification) -> bytes:
    """For each example a list of pairs, label and score."""
    rows = zip(plain_values("", result.labels), plain_values("", result.scores), strict=True)
    pairs = [[list(pair) for pair in zip(*row, strict=True)] for row in rows]
    return json.dumps({"results": pairs}).encode()


def encode_regression(result: Regression) -> bytes:
    """One value for each example."""
    return json.dumps({"results": plain_values("", result.values)}).encode()


def _fill_example(example: Example, value: Any) -> None:
    if not isinstance(value, dict):
        raise InvalidArgument(f"Example must be JSON object but got JSON {_json_type(value)}")
    example.SetInParent()
    for name, content in value.items():
        try:
            feature = example.features.feature[name]
        except UnicodeEncodeError:
            raise InvalidArgument("the name of a feature is not Unicode") from None
        for element in content if isinstance(content, list) else [content]:
            _add(feature, name, element)


def _add(feature: Feature, name: str, value: Any) -> None:
    """One more value of a feature, of the kind that the first one had."""
    kind, stored = _stored(name, value)
    before = feature.WhichOneof("kind")
    if before not in (None, kind):
        raise InvalidArgument(
            f"Unexpected element type in feature: {name} "
            f"expecting type: {before.removesuffix('_list')}"
        )
    getattr(feature, kind).value.append(stored)


def _stored(name: str, value: Any) -> tuple[str, int | float | bytes]:
    """In which list of a feature a value goes, and as what."""
    if isinstance(value, bool):
        return "int64_list", int(value)
    if isinstance(value, int):
        return "int64_list", _int64(name, value)
    if isinstance(value, float):
        return "float_list", _float32(name, value)
    if isinstance(value, str):
        return "bytes_list", value.encode("utf-8", "surrogatepass")
    if is_base64(value):
        return "bytes_list", from_base64(value)
    raise InvalidArgument(
        f"Feature: {name} has element with unexpected JSON type: {_json_type(value)}"
    )


def _int64(name: str, value: int) -> int:
    if not _INT64.min <= value <= _INT64.max:
        raise InvalidArgument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    return value


def _float32(name: str, value: float) -> float:
    if math.isfinite(value) and abs(value) > _FLOAT32_MAX:
        raise InvalidArgument(f"Feature: {name} has a number outside the range of DT_FLOAT")
    return value


def _json_type(value: Any) -> str:
    """What the stock server calls a JSON type."""
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    names = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}
    return names[type(value)]
