"""JSON of Classify and Regress: what is read as what, what is refused with which text."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.errors import InvalidArgument
from sealserve.messages.inference_pb2 import Example
from sealserve.serving.example_methods import Classification, Regression
from sealserve.serving.faces.rest_examples import (
    decode_examples,
    encode_classification,
    encode_regression,
)
from sealserve.serving.faces.rest_json import parse_body


def features(example: Example) -> dict[str, tuple[str | None, list[Any]]]:
    found = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        found[name] = (kind, list(getattr(feature, kind).value) if kind else [])
    return found


def decoded(body: str) -> Any:
    return decode_examples(parse_body(body.encode()))


READ = {
    "1": ("int64_list", [1]),
    "-9223372036854775808": ("int64_list", [-(2**63)]),
    "true": ("int64_list", [1]),
    "[false, 7]": ("int64_list", [0, 7]),
    "1.0": ("float_list", [1.0]),
    "[0.5, 1e3]": ("float_list", [0.5, 1000.0]),
    "[Infinity, -Infinity]": ("float_list", [math.inf, -math.inf]),
    '"text"': ("bytes_list", [b"text"]),
    '"é\\u0000"': ("bytes_list", [b"\xc3\xa9\0"]),
    '{"b64": "AP8="}': ("bytes_list", [b"\0\xff"]),
    '["a", {"b64": ""}]': ("bytes_list", [b"a", b""]),
    "[]": (None, []),
}


@pytest.mark.parametrize("text", READ)
def test_a_value_is_read_as_its_kind(text: str) -> None:
    asked = decoded(f'{{"examples": [{{"f": {text}}}]}}')
    assert features(asked.example_list.examples[0]) == {"f": READ[text]}


def test_nan_is_a_number() -> None:
    (example,) = decoded('{"examples": [{"f": NaN}]}').example_list.examples
    assert math.isnan(example.features.feature["f"].float_list.value[0])


def test_a_context_stands_beside_the_examples() -> None:
    asked = decoded('{"context": {"c": 1}, "examples": [{"e": "x"}, {}]}')
    assert features(asked.example_list_with_context.context) == {"c": ("int64_list", [1])}
    found = [features(example) for example in asked.example_list_with_context.examples]
    assert found == [{"e": ("bytes_list", [b"x"])}, {}]


MIXED = "Unexpected element type in feature: f expecting type: {}"
REFUSED = {
    "{}": "key 'examples' is expected and was not found",
    '{"examples": {}}': "Expecting 'examples' value to be an list/array",
    '{"examples": []}': "'examples' value is an empty array",
    '{"examples": [1]}': "Example must be JSON object but got JSON Number",
    '{"examples": [[{}]]}': "Example must be JSON object but got JSON Array",
    '{"examples": ["x"]}': "Example must be JSON object but got JSON String",
    '{"examples": [{}, null]}': "Example must be JSON object but got JSON Null",
    '{"context": true, "examples": [{}]}': "Example must be JSON object but got JSON True",
    '{"examples": [{"f": null}]}': "Feature: f has element with unexpected JSON type: Null",
    '{"examples": [{"f": [[1]]}]}': "Feature: f has element with unexpected JSON type: Array",
    '{"examples": [{"f": {"x": 1}}]}': "Feature: f has element with unexpected JSON type: Object",
    '{"examples": [{"f": {"b64": 1}}]}': "Feature: f has element with unexpected JSON type: Object",
    '{"examples": [{"f": {"b64": "!"}}]}': "Unable to base64 decode",
    '{"examples": [{"f": {"b64": "é"}}]}': "Unable to base64 decode",
    '{"examples": [{"f": [1, 0.5]}]}': MIXED.format("int64"),
    '{"examples": [{"f": [0.5, 1]}]}': MIXED.format("float"),
    '{"examples": [{"f": ["a", 1]}]}': MIXED.format("bytes"),
    '{"examples": [{"f": 9223372036854775808}]}': (
        "Feature: f has uint64_t element. Only int64_t is supported."
    ),
    '{"examples": [{"f": -9223372036854775809}]}': (
        "Feature: f has uint64_t element. Only int64_t is supported."
    ),
    '{"examples": [{"f": 1e39}]}': "Feature: f has a number outside the range of DT_FLOAT",
    '{"examples": [{"\\ud800": 1}]}': "the name of a feature is not Unicode",
}


@pytest.mark.parametrize("body", REFUSED)
def test_what_cannot_be_read_is_refused(body: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decoded(body)
    assert caught.value.message == REFUSED[body]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["b64", "f", "\ud800"]), inner, max_size=2)
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional={"examples": JSON | st.lists(JSON), "context": JSON}))
def test_any_document_is_read_or_refused(document: dict[str, Any]) -> None:
    try:
        asked = decode_examples(document)
    except InvalidArgument:
        return
    assert asked.SerializeToString()


def test_classes_are_pairs_of_label_and_score() -> None:
    labels = np.array([[b"cat", b"\xff"], [b"", b"dog"]], object)
    scores = np.float32([[0.1, 1], [-math.inf, 1e-7]])
    body = encode_classification(Classification(labels, scores))
    assert body.decode() == (
        '{"results": [[["cat", 0.1], ["\\ufffd", 1.0]], [["", -Infinity], ["dog", 1e-07]]]}'
    )


def test_values_are_the_shortest_that_mean_their_float32() -> None:
    assert encode_regression(Regression(np.float32([0.1, 2, 16777217]))) == (
        b'{"results": [0.1, 2.0, 16777216.0]}'
    )
    values = json.loads(encode_regression(Regression(np.float32([math.nan, 3.4028235e38]))))
    assert math.isnan(values["results"][0])
    assert np.float32(values["results"][1]) == np.finfo(np.float32).max
