"""The key service's page names what is there: its example loads, its tables have every key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sealserve.keyservice.config import KeyServiceConfig, load_config

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
EXAMPLE = re.search(r"^```toml\n(listen .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1]


def models(kind: object) -> Iterator[type[BaseModel]]:
    """The tables that a field may hold: one, several of which it is one, or none."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    elif get_origin(kind) is Annotated:
        yield from models(get_args(kind)[0])
    elif isinstance(kind, UnionType) or get_origin(kind) is Union:
        for each in get_args(kind):
            yield from models(each)


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key below `model` with its field; one of several tables may have it, or each."""
    for name, field in model.model_fields.items():
        tables = list(models(field.annotation))
        for table in tables:
            yield from fields(table, f"{prefix}{name}.")
        if not tables:
            yield prefix + name, field


def table() -> dict[str, str]:
    """The page's keys and what it says of their defaults."""
    text = PAGE.partition("### Configuration")[2].partition("### Signals")[0]
    return dict(re.findall(r"^\| `([a-z0-9_.]+)` \| ([^|]+?) \|", text, re.MULTILINE))


def test_the_example_is_a_configuration(tmp_path):
    path = tmp_path / "keyservice.toml"
    path.write_text(EXAMPLE)
    config = load_config(path)
    assert config.admin is not None
    assert config.watch is not None


def test_every_key_is_in_the_table_and_no_other():
    assert set(table()) == {name for name, _ in fields(KeyServiceConfig)}


def test_defaults_are_those_of_the_table():
    checked = 0
    for name, field in fields(KeyServiceConfig):
        shown = table()[name]
        if shown == "required":
            assert field.is_required(), name
        elif re.fullmatch("`[^`]+`", shown):
            default = field.get_default()
            expected = f"{default:g}" if isinstance(default, float) else str(default)
            assert shown.strip('`"') == expected, name
            checked += 1
        else:  # in words
            assert field.get_default() is None, name
    assert checked > 10
