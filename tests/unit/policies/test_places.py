"""Places in TOML: every key and value is found where it stands, whatever it is written like."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.errors import ConfigError
from sealserve.policies.places import Places

TEXT = '''\
# a policy
version = 2   # two
title = """
[[rules]] is no header
"quoted" \\""" and more"""""
other = \'\'\'
x = 1'\'\'\'

[platform]
fmspcs = [ "00", # one
  "11", # [ not an array ]
]

[[rules]]
name = "a # b"
identities = ["x", 'y\\']

  [[ rules ]]
"name" = 2027-03-31 10:00:00Z
nested = { a.b = [1, [2, 3]], "c d" = {} }
dotted . "key" = true

[rules.inner]
x = -1.5e3
[[rules.list]]
[[rules.list]]
y = 0
'''


def leaves(value, path=()):
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))


def at(document, path):
    for part in path:
        document = document[part]
    return document


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("\n", "\r\n")], ids=["LF", "CR LF"])
def test_what_stands_at_a_place_is_the_value_of_its_path(text):
    places, document = Places(text), tomllib.loads(text)
    tables = [path for path in places.paths() if isinstance(at(document, path), dict)]
    for path in places.paths():
        span = places.span(path)
        written = text[span.start : span.end]
        if path in tables and written.startswith("["):
            assert str(path[-1 if isinstance(path[-1], str) else -2]) in written
        else:
            assert tomllib.loads(f"v = {written}")["v"] == at(document, path)


def test_every_key_and_value_has_a_place_unless_it_only_arises_from_dots_and_headers():
    known = set(Places(TEXT).paths())
    implied = {
        (),
        ("rules",),
        ("rules", 1, "nested", "a"),
        ("rules", 1, "dotted"),
        ("rules", 1, "list"),
    }
    assert set(leaves(tomllib.loads(TEXT))) - known == implied


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("version",), 2),
        (("title",), 3),
        (("platform",), 9),
        (("platform", "fmspcs", 1), 11),
        (("rules", 0), 14),
        (("rules", 0, "identities", 1), 16),
        (("rules", 1), 18),
        (("rules", 1, "nested", "a", "b", 1, 0), 20),
        (("rules", 1, "inner", "x"), 24),
        (("rules", 1, "list", 1, "y"), 27),
        (("rules", 1, "identities"), 18),  # a key that is missing: the table that lacks it
        (("nothing", 3), 1),
    ],
    ids=str,
)
def test_lines_are_counted_from_one_as_an_editor_does(path, line):
    assert Places(TEXT).line(path) == line


@pytest.mark.parametrize("text", ["x = ", "[a", "x = 1\nx = 2", "x = " + "[" * 5000])
def test_what_is_not_toml_is_a_configuration_error(text):
    with pytest.raises(ConfigError):
        Places(text)


def test_values_nested_deeper_than_any_policy_are_refused():
    with pytest.raises(ConfigError, match="nested"):
        Places("x = " + "[" * 60 + "]" * 60)


@given(st.text(alphabet="ab.=[]{}\"'\\#, \t\n1-:", max_size=40))
def test_whatever_is_toml_has_places(text):
    try:
        document = tomllib.loads(text)
    except ValueError:
        return
    for path in Places(text).paths():
        at(document, path)


DOTTED = 'a = 1\nserver.kind = "x"\nserver.tls.mode = 1\n[deep.table.here]\nb = 2\n'


@pytest.mark.parametrize(
    ("path", "line"),
    [(("server",), 2), (("server", "none"), 2), (("server", "tls"), 3), (("deep", "none"), 4)],
)
def test_a_table_that_only_arises_from_dots_is_where_its_first_key_is(path, line):
    assert Places(DOTTED).line(path) == line
