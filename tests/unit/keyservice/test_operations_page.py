"""The key service's page names what is there: its example loads, its tables have every key."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel

from sealserve.keyservice.config import KeyServiceConfig, load_config

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
EXAMPLE = re.search(r"^```toml\n(listen .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1]


def keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= keys(kind, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def test_the_example_is_a_configuration(tmp_path):
    path = tmp_path / "keyservice.toml"
    path.write_text(EXAMPLE)
    config = load_config(path)
    assert set(config.secrets) == {"digits", "resnet50"}


def test_every_key_is_in_the_table_and_no_other():
    table = PAGE.partition("### Configuration")[2].partition("### Signals")[0]
    assert set(re.findall(r"^\| `([a-z_.]+)` \|", table, re.MULTILINE)) == keys(KeyServiceConfig)


def test_defaults_are_those_of_the_table():
    rows = re.findall(r"^\| `([a-z_.]+)` \| `(\S+)` \|", PAGE, re.MULTILINE)
    assert len(rows) > 5
    for name, shown in rows:
        *tables, key = name.split(".")
        model: type[BaseModel] = KeyServiceConfig
        for part in tables:
            model = model.model_fields[part].annotation
        default = model.model_fields[key].get_default()
        expected = f"{default:g}" if isinstance(default, float) else str(default)
        assert shown.strip('"') == expected, name
