"""YAML as a compose file needs it: mappings, lists, texts, numbers; the same value, the same bytes.

Texts are in double quotes as in JSON, which YAML reads alike (YAML 1.2.2, sections 7.3.1 and 1.3).
Keys stand as they are where they are plain words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLAIN = re.compile(r"[a-z][a-z0-9_-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def to_yaml(document: Mapping[str, Any]) -> str:
    """The document's text, in the order of its mappings."""
    return "".join(f"{line}\n" for line in _mapping(document))


def _mapping(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        plain = _PLAIN.fullmatch(name) and name not in _WORDS
        yield from _entry(f"{name if plain else json.dumps(name)}:", value)


def _entry(head: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield head
        yield from (f"  {line}" for line in _mapping(value))
    elif isinstance(value, (list, tuple)) and value:
        yield head
        yield from (f"  {line}" for line in _items(value))
    else:
        yield f"{head} {json.dumps(value)}"


def _items(values: list[Any] | tuple[Any, ...]) -> Iterator[str]:
    for value in values:
        if isinstance(value, Mapping) and value:
            first, *rest = _mapping(value)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
        else:
            yield f"- {json.dumps(value)}"
