"""`models.config` of TensorFlow Serving: the models that it names.

Only the fields that a description can say are understood; what else is set is told by its name.
Format: TensorFlow Serving 2.20, `model_server_config.proto`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sealserve.deploy.textformat import Field, read_fields
from sealserve.errors import ConfigError

MODELS: Final = 1000

_PLAIN: Final = frozenset({"name", "base_path", "model_platform", "model_type"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One `config`: `rest` has the names of what else is set in it."""

    line: int
    name: str
    base_path: str
    platform: str
    rest: tuple[str, ...]


def read_models_config(text: str) -> tuple[Entry, ...]:
    """The models in the order of the file; ConfigError with its line for what is no such file."""
    entries = [
        _entry(each.line, each.value)
        for outer in read_fields(text)
        if outer.name == "model_config_list" and isinstance(outer.value, list)
        for each in outer.value
        if each.name == "config" and isinstance(each.value, list)
    ]
    if not entries:
        raise ConfigError("it has no model_config_list with a config")
    if len(entries) > MODELS:
        raise ConfigError(f"it names {len(entries)} models, and at most {MODELS} are read")
    return tuple(entries)


def _entry(line: int, config: list[Field]) -> Entry:
    plain = {each.name: each.value for each in config if isinstance(each.value, str)}
    name, base_path = plain.get("name", ""), plain.get("base_path", "")
    if not name or not base_path:
        raise ConfigError(f"line {line}: a model needs name and base_path")
    rest = dict.fromkeys(each.name for each in config if each.name not in _PLAIN)
    return Entry(line, name, base_path, plain.get("model_platform", ""), tuple(rest))
