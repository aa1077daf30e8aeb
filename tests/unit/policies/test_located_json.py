"""JSON with lines: the same values as the standard library, each with its place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.errors import ConfigError
from sealserve.policies.located_json import Located, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


def plain(located: Located):
    if isinstance(located.value, tuple):
        return {member.key: plain(member.value) for member in located.value}
    if isinstance(located.value, list):
        return [plain(each) for each in located.value]
    return located.value


@given(VALUES, st.sampled_from([None, 1]))
def test_the_values_are_those_of_the_standard_library(value, indent):
    assert plain(parse_json(json.dumps(value, indent=indent), "it")) == value


def test_every_value_and_key_knows_its_line():
    text = '\n{\n "a": 1,\n "b":\n  [\n   true, "x\\ny",\n   {"c": null}\n  ]\n}'
    (a, b) = parse_json(text, "it").value
    assert (a.line, a.value.line, b.line, b.value.line) == (3, 3, 4, 5)
    assert [each.line for each in b.value.value] == [6, 6, 7]


def test_a_repeated_key_is_there_twice():
    members = parse_json('{"a": 1,\n"a": 2}', "it").value
    assert [(member.key, member.line, member.value.value) for member in members] == [
        ("a", 1, 1),
        ("a", 2, 2),
    ]


WRONG = {
    "nothing": ("", 1),
    "two documents": ("{}\n{}", 2),
    "a comment": ("// x\n{}", 1),
    "no comma": ('{"a": 1\n"b": 2}', 2),
    "a comma too many in an object": ('{"a": 1,\n}', 2),
    "a comma too many in an array": ("[1,\n]", 2),
    "no colon": ('{"a"\n1}', 2),
    "a bare key": ("{\na: 1}", 2),
    "single quotes": ("[\n'a']", 2),
    "a line break in a text": ('["a\nb"]', 1),
    "not a number": ("[\nNaN]", 2),
    "infinity": ("[-Infinity]", 1),
    "an unclosed array": ("[1,\n2", 2),
    "an unclosed object": ('{"a": 1\n', 2),
    "a number of 5000 digits": ("\n" + "1" * 5000, 2),
    "nested without end": ("[" * 100000, 1),
    "upper-case true": ("\nTRUE", 2),
    "a byte order mark": ("\ufeff{}", 1),
}


@pytest.mark.parametrize(("text", "line"), WRONG.values(), ids=WRONG)
def test_what_is_not_json_is_an_error_that_names_its_line(text, line):
    with pytest.raises(ConfigError, match=f"^it, line {line}: "):
        parse_json(text, "it")


@given(st.text(alphabet='{}[]",:1-eE. \ntrufalsn\\', max_size=30))
def test_it_takes_what_the_standard_library_takes_and_nothing_else(text):
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ConfigError):
            parse_json(text, "it")
    else:
        located = plain(parse_json(text, "it"))
        assert json.dumps(located) == json.dumps(expected)
