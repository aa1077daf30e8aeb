"""What a person is told of a value that is wrong: as TOML has it, and what no terminal obeys."""

from __future__ import annotations

import datetime
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sealserve.appraisal.complaints import faults


class Table(BaseModel):
    """A little of everything."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = ""
    number: int = Field(default=1, ge=1, le=9)
    kind: Literal["one", "two"] = "one"


def told(**document: Any) -> str:
    with pytest.raises(ValidationError) as raised:
        Table.model_validate(document)
    (fault,) = faults(Table, raised.value)
    return fault.message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "text: found true, expected text"),
        ({"a": 1}, "text: found a table, expected text"),
        ([1], "text: found a list, expected text"),
        (datetime.date(1979, 5, 27), "text: found 1979-05-27, expected text"),
        (datetime.time(7, 32), "text: found 07:32:00, expected text"),
        (1.5, "text: found 1.5, expected text"),
        (16**5000, "text: found a number of 20001 bits, expected text"),
    ],
    ids=["bool", "table", "list", "date", "time", "float", "of more digits than Python writes"],
)
def test_a_value_of_another_type_is_shown_as_it_was_written(value: object, message: str) -> None:
    assert told(text=value) == message


def test_bounds_and_choices_are_named() -> None:
    assert told(number=0) == "number: found 0, expected at least 1"
    assert told(number=10) == "number: found 10, expected at most 9"
    assert told(kind="three") == "kind: found 'three', expected 'one' or 'two'"


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("tex", "tex"),
        ("a b", '"a b"'),
        ("\x1b[2J", '"\\x1b[2J"'),
        ("a\nb", '"a\\nb"'),
        ("k" * 5000, f'"{"k" * 61}..."'),
    ],
    ids=["bare", "space", "escape", "newline", "long"],
)
def test_an_unknown_key_is_shown_so_that_no_terminal_obeys_it(key: str, shown: str) -> None:
    assert told(**{key: 1}).startswith(f"unknown key {shown}; the nearest that exists is ")
