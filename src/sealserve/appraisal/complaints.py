"""What is wrong with a configuration text, in words for the person who wrote it.

Turns the errors of a pydantic model into one ConfigError: every fault in one go, each with its
place, what was found, what was expected, and for an unknown key the nearest one that exists.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sealserve.errors import ConfigError

_SHOWN = 80  # characters of a wrong value
_SHOWN_FAULTS = 20
# What pydantic says of Python types, in words of TOML.
_EXPECTED = {
    "tuple_type": "expected a list",
    "bool_type": "expected true or false",
    "int_type": "expected a whole number",
    "string_type": "expected text",
    "model_type": "expected a table",
}


def complain(what: str, model: type[BaseModel], error: ValidationError) -> ConfigError:
    """The error to raise for a `what` (such as "policy") that is no valid `model`."""
    faults = [_fault(model, details) for details in error.errors(include_url=False)]
    shown = faults[:_SHOWN_FAULTS]
    if len(faults) > len(shown):
        shown.append(f"and {len(faults) - len(shown)} more")
    return ConfigError(f"the {what} is not valid: " + "; ".join(shown))


def _fault(model: type[BaseModel], details: ErrorDetails) -> str:
    place = _place(details["loc"])
    if details["type"] == "extra_forbidden":
        return _unknown_key(model, details["loc"], place)
    if details["type"] == "missing":
        return f"{place} is missing"
    if details["type"] == "value_error":
        return f"{place}: {details['ctx']['error']}".removeprefix(": ")
    found = repr(details["input"])[:_SHOWN]
    expected = _EXPECTED.get(details["type"], details["msg"])
    return f"{place}: found {found}, {expected[:1].lower()}{expected[1:]}"


def _unknown_key(model: type[BaseModel], location: tuple[int | str, ...], place: str) -> str:
    known = list(_model_at(model, location[:-1]).model_fields)
    nearest = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.0)
    return f"unknown key {place}; the nearest that exists is {nearest[0]}"


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that describes the table at `location`."""
    for part in location:
        if isinstance(part, str):
            model = next(_models_in(model.model_fields[part].annotation))
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _place(location: tuple[int | str, ...]) -> str:
    """`("rules", 0, "mr_enclave", 2)` as `rules[0].mr_enclave[2]`, counted from 0."""
    place = ""
    for part in location:
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
    return place.removeprefix(".")
