"""What is wrong with a configuration text, in words for the person who wrote it.

Turns the errors of a pydantic model into one ConfigError: every fault in one go, each with its
place, what was found, what was expected, and for an unknown key the nearest one that exists.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from sealserve.errors import ConfigError

_SHOWN = 80  # characters of a wrong value
_SHOWN_FAULTS = 20
_SHOWN_KEY = 64
_BARE_KEY = re.compile(rf"[A-Za-z0-9_-]{{1,{_SHOWN_KEY}}}")
# What pydantic says of Python types, in words of TOML.
_EXPECTED = {
    "tuple_type": "expected a list",
    "bool_type": "expected true or false",
    "int_type": "expected a whole number",
    "string_type": "expected text",
    "model_type": "expected a table",
    "model_attributes_type": "expected a table",
    "union_tag_not_found": "expected a table",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


class _Place(NamedTuple):
    """A location of pydantic's, without the tags of unions, and the table that it is in."""

    path: tuple[int | str, ...]
    table: type[BaseModel]


class Fault(NamedTuple):
    """One fault: the path of what is wrong, and what is wrong with it."""

    path: tuple[int | str, ...]
    message: str


def complain(what: str, model: type[BaseModel], error: ValidationError) -> ConfigError:
    """The error to raise for a `what` (such as "policy") that is no valid `model`."""
    found = [fault.message for fault in faults(model, error)]
    shown = found[:_SHOWN_FAULTS]
    if len(found) > len(shown):
        shown.append(f"and {len(found) - len(shown)} more")
    return ConfigError(f"the {what} is not valid: " + "; ".join(shown))


def faults(model: type[BaseModel], error: ValidationError) -> Iterator[Fault]:
    """Each fault in turn, for whoever can say more of its place than its path."""
    for details in error.errors(include_url=False):
        place = _place(model, details["loc"])
        yield Fault(place.path, _message(place, details))


def _message(place: _Place, details: ErrorDetails) -> str:
    key = written(place.path)
    if details["type"] == "extra_forbidden":
        return _unknown_key(place, key)
    if details["type"] == "missing":
        return f"{key} is missing"
    if details["type"] == "value_error":
        return f"{key}: {details['ctx']['error']}".removeprefix(": ")
    if details["type"] == "union_tag_invalid":
        tags = str(details["ctx"]["expected_tags"]).replace("'", '"').replace(", ", " or ")
        return f"{key}.tee: found {details['ctx']['tag']!r}, expected {tags}"
    expected = _EXPECTED.get(details["type"], details["msg"])
    if details["type"] in _BOUNDS:
        words, bound = _BOUNDS[details["type"]]
        expected = f"expected {words} {details['ctx'][bound]}"
    elif details["type"] == "literal_error":
        expected = f"expected {details['ctx']['expected']}"
    return f"{key}: found {_shown(details['input'])}, {expected[:1].lower()}{expected[1:]}"


def _shown(value: object) -> str:
    """A wrong value as it is written in TOML, as far as that is short."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, int) and value.bit_length() > _SHOWN:
        return f"a number of {value.bit_length()} bits"  # Python writes no number of 4301 digits
    return repr(value)[:_SHOWN]


def _unknown_key(place: _Place, key: str) -> str:
    known = list(place.table.model_fields)
    nearest = difflib.get_close_matches(str(place.path[-1]), known, n=1, cutoff=0.0)
    return f"unknown key {key}; the nearest that exists is {nearest[0]}"


def _place(model: type[BaseModel], location: tuple[int | str, ...]) -> _Place:
    """Follow `location` from table to table; the tag that tells two kinds apart is no key."""
    path: list[int | str] = []
    around = table = model
    tagged: dict[str, type[BaseModel]] = {}
    for part in location:
        if isinstance(part, str) and part in tagged:
            table, tagged = tagged[part], {}
            continue
        path.append(part)
        if isinstance(part, str):
            around = table
            field = table.model_fields.get(part)
            inner = dict(_tables_in(field.annotation)) if field else {}
            table, tagged = inner.pop("", table), inner
    return _Place(tuple(path), around)


def _tables_in(annotation: Any, tag: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The models that a field may hold, each with its tag in a union, or the empty one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield tag, annotation
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        tag = next((each.tag for each in arguments if isinstance(each, Tag)), tag)
        arguments = arguments[:1]
    for argument in arguments:
        yield from _tables_in(argument, tag)


def written(path: tuple[int | str, ...]) -> str:
    """`("rules", 0, "identities", 2)` as `rules[0].identities[2]`, counted from 0."""
    written = ""
    for part in path:
        written += f"[{part}]" if isinstance(part, int) else f".{_key_written(part)}"
    return written.removeprefix(".")


def _key_written(key: str) -> str:
    """A key that somebody made up may be long, and hold what terminals obey."""
    if _BARE_KEY.fullmatch(key):
        return key
    shown = key if len(key) <= _SHOWN_KEY else f"{key[: _SHOWN_KEY - 3]}..."
    return f'"{ascii(shown)[1:-1]}"'
