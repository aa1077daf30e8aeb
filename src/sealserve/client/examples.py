"""Examples as dicts: what Classify and Regress take in place of arrays.

A feature is a value or a list of values of one kind: str and bytes, bool and integers, floats
(TensorFlow 2.21, core/example/feature.proto). bool goes as an integer, str as UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sealserve.errors import InvalidArgument
from sealserve.messages import inference_pb2

Example = Mapping[str, Any]
"""A value, a sequence of values or an array for each feature."""


def fill_example(message: inference_pb2.Example, example: Example) -> None:
    """Write `example` into an empty message; InvalidArgument for a value of no such kind."""
    message.features.SetInParent()
    for name, value in example.items():
        _fill(message.features.feature[name], name, value)


def _fill(feature: inference_pb2.Feature, name: str, value: Any) -> None:
    try:
        array = np.ravel(np.asarray(value))
    except ValueError as error:
        raise InvalidArgument(f"the values of feature {name!r} make no list") from error
    if array.dtype.kind == "f":
        feature.float_list.value.extend(array.astype(np.float32).tolist())
    elif array.dtype.kind in "biu":
        feature.int64_list.value.extend(_whole(name, array))
    elif array.dtype.kind in "OSU":
        # Of the value itself: numpy's own texts have lost the zeros at their ends.
        feature.bytes_list.value.extend(_texts(name, value, array))
    else:
        raise InvalidArgument(f"feature {name!r} holds {array.dtype}; {_EXPECTED}")


_EXPECTED = "expected numbers, bool, str or bytes, of one kind"


def _whole(name: str, array: np.ndarray[Any, Any]) -> list[int]:
    if array.dtype.kind == "u" and array.size and int(array.max()) >= 1 << 63:
        raise InvalidArgument(f"a value of feature {name!r} does not fit 64 bits with a sign")
    whole: list[int] = array.astype(np.int64).tolist()
    return whole


def _texts(name: str, value: Any, array: np.ndarray[Any, Any]) -> list[bytes]:
    if isinstance(value, (str, bytes)):
        elements: list[Any] = [value]
    elif isinstance(value, np.ndarray):
        elements = array.tolist()
    else:
        elements = np.ravel(np.asarray(value, object)).tolist()
    if not all(isinstance(element, (str, bytes)) for element in elements):
        raise InvalidArgument(f"feature {name!r} holds values of several kinds; {_EXPECTED}")
    try:
        return [text.encode() if isinstance(text, str) else text for text in elements]
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"a str of feature {name!r} is not valid Unicode") from error
