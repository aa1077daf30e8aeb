"""Dicts as examples: which features go in which list, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sealserve.client.examples import fill_example
from sealserve.errors import InvalidArgument
from sealserve.messages.inference_pb2 import Example


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        pytest.param(1.5, "float_list", [1.5], id="one float"),
        pytest.param([1, 2.5], "float_list", [1.0, 2.5], id="integers among floats"),
        pytest.param(np.float64([[1, 2], [3, 4]]), "float_list", [1, 2, 3, 4], id="a matrix"),
        pytest.param([], "float_list", [], id="nothing"),
        pytest.param(7, "int64_list", [7], id="one integer"),
        pytest.param([True, False], "int64_list", [1, 0], id="truths"),
        pytest.param(np.uint8([1, 255]), "int64_list", [1, 255], id="small integers"),
        pytest.param("é", "bytes_list", ["é".encode()], id="one text"),
        pytest.param(b"a\0", "bytes_list", [b"a\0"], id="bytes with a zero at the end"),
        pytest.param([b"a\0", "b"], "bytes_list", [b"a\0", b"b"], id="bytes and texts"),
        pytest.param(np.array([b"x", b"y"], object), "bytes_list", [b"x", b"y"], id="objects"),
    ],
)
def test_a_feature_goes_into_the_list_of_its_kind(value: Any, kind: str, expected: Any) -> None:
    message = Example()
    fill_example(message, {"x": value})
    feature = message.features.feature["x"]
    assert feature.WhichOneof("kind") == kind
    assert list(getattr(feature, kind).value) == expected


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="nothing at all"),
        pytest.param([[1], [2, 3]], id="ragged"),
        pytest.param(1j, id="complex"),
        pytest.param(["a", 1], id="a number among texts"),
        pytest.param({"a": 1}, id="a dict"),
        pytest.param([1 << 63], id="beyond 64 bits with a sign"),
        pytest.param([1 << 70], id="beyond 64 bits"),
        pytest.param("\ud800", id="half a character"),
    ],
)
def test_what_no_feature_holds_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgument):
        fill_example(Example(), {"x": value})
