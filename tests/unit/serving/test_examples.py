"""Examples as a model reads them, with their context, within a limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.errors import InvalidArgument
from sealserve.messages.inference_pb2 import Example, Input
from sealserve.serving.examples import example_array

LIMIT = 1 << 20
FEATURES = st.dictionaries(st.text(max_size=3), st.lists(st.integers(0, 9), max_size=3), max_size=3)


def filled(example: Example, features: dict[str, list[int]]) -> Example:
    example.SetInParent()
    for name, values in features.items():
        example.features.feature[name].int64_list.value.extend(values)
    return example


def read(data: bytes) -> dict[str, list[int]]:
    features = Example.FromString(data).features.feature
    return {name: list(feature.int64_list.value) for name, feature in features.items()}


@given(st.lists(FEATURES, min_size=1, max_size=4))
def test_each_example_is_one_string(rows: list[dict[str, list[int]]]) -> None:
    asked = Input()
    for row in rows:
        filled(asked.example_list.examples.add(), row)
    array = example_array(asked, limit_bytes=LIMIT)
    assert array.shape == (len(rows),)
    assert array.dtype == object
    assert [read(data) for data in array] == rows


@given(FEATURES, st.lists(FEATURES, min_size=1, max_size=4))
def test_a_context_belongs_to_every_example_and_gives_way_to_it(
    context: dict[str, list[int]], rows: list[dict[str, list[int]]]
) -> None:
    asked = Input()
    filled(asked.example_list_with_context.context, context)
    for row in rows:
        filled(asked.example_list_with_context.examples.add(), row)
    array = example_array(asked, limit_bytes=LIMIT)
    assert [read(data) for data in array] == [{**context, **row} for row in rows]


def only_context() -> Input:
    asked = Input()
    filled(asked.example_list_with_context.context, {"a": [1]})
    return asked


EMPTY = {
    "nothing at all": Input(),
    "an empty list": Input(example_list={}),
    "an empty list with a context": only_context(),
}


@pytest.mark.parametrize("asked", EMPTY.values(), ids=EMPTY)
def test_no_examples_are_refused(asked: Input) -> None:
    with pytest.raises(InvalidArgument, match=r"^Input is empty\.$"):
        example_array(asked, limit_bytes=LIMIT)


def test_a_context_that_is_repeated_too_often_is_refused_before_it_is() -> None:
    asked = only_context()
    asked.example_list_with_context.context.features.feature["b"].bytes_list.value.append(
        b"x" * 50_000
    )
    for _ in range(20):
        asked.example_list_with_context.examples.add()
    assert len(asked.SerializeToString()) < 60_000
    assert len(example_array(asked, limit_bytes=LIMIT)) == 20
    asked.example_list_with_context.examples.add()
    with pytest.raises(InvalidArgument, match="the limit is 1048576"):
        example_array(asked, limit_bytes=LIMIT)


def test_what_holds_an_example_counts_too() -> None:
    asked = Input()
    for _ in range(100):
        asked.example_list.examples.add()
    with pytest.raises(InvalidArgument, match="the examples take 800 bytes; the limit is 799"):
        example_array(asked, limit_bytes=799)
