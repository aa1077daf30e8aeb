"""`models.config` of TensorFlow Serving: protobuf's text format -> the models that it names.

Read without protobuf, which who migrates need not have: only the fields that a description can say
are understood, and what else is set is told by its name. Nothing here opens a file.
Format: TensorFlow Serving 2.20, `model_server_config.proto`; protobuf's "Text Format Language
Specification".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from sealserve.errors import ConfigError

DEPTH: Final = 16
MODELS: Final = 1000

_TOKEN: Final = re.compile(
    r"""[ \t\r\v\f]+|\n|\#[^\n]*|"[^"\\\n]*"|'[^'\\\n]*'|[A-Za-z0-9_./+-]+|[\[\]{}<>:,;]"""
)
_CLOSING: Final = {"{": "}", "<": ">"}
_SIGNS: Final = frozenset({"", *"[]}>:,;"})
_PLAIN: Final = frozenset({"name", "base_path", "model_platform", "model_type"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One `config`: `rest` has the names of what else is set in it."""

    line: int
    name: str
    base_path: str
    platform: str
    rest: tuple[str, ...]


class _Field(NamedTuple):
    line: int
    name: str
    value: str | list[_Field]


class _Tokens:
    """The signs, words and texts in `text`, with the line of the one that comes next."""

    def __init__(self, text: str) -> None:
        self._found = self._read(text)
        self.line, self.next = next(self._found)

    def _read(self, text: str) -> Iterator[tuple[int, str]]:
        at, line = 0, 1
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise _wrong(line, "neither protobuf's text format nor a text without backslashes")
            at = match.end()
            if match[0] == "\n":
                line += 1
            elif not match[0].isspace() and match[0][0] != "#":
                yield line, match[0]
        yield line, ""

    def take(self) -> str:
        """The token that comes next, which is thereby over; empty at the end."""
        taken = self.next
        if taken:
            self.line, self.next = next(self._found)
        return taken

    def took(self, sign: str) -> bool:
        """Take it if it is the sign."""
        return self.next == sign and bool(self.take())


def read_models_config(text: str) -> tuple[Entry, ...]:
    """The models in the order of the file; ConfigError with its line for what is no such file."""
    tokens = _Tokens(text)
    entries = [
        _entry(each.line, each.value)
        for outer in _message(tokens, "", 0)
        if outer.name == "model_config_list" and isinstance(outer.value, list)
        for each in outer.value
        if each.name == "config" and isinstance(each.value, list)
    ]
    if not entries:
        raise ConfigError("it has no model_config_list with a config")
    if len(entries) > MODELS:
        raise ConfigError(f"it names {len(entries)} models, and at most {MODELS} are read")
    return tuple(entries)


def _entry(line: int, config: list[_Field]) -> Entry:
    plain = {each.name: each.value for each in config if isinstance(each.value, str)}
    name, base_path = plain.get("name", ""), plain.get("base_path", "")
    if not name or not base_path:
        raise _wrong(line, "a model needs name and base_path")
    rest = dict.fromkeys(each.name for each in config if each.name not in _PLAIN)
    return Entry(line, name, base_path, plain.get("model_platform", ""), tuple(rest))


def _message(tokens: _Tokens, closing: str, depth: int) -> list[_Field]:
    """The fields up to `closing`, which is taken."""
    if depth > DEPTH:
        raise _wrong(tokens.line, f"more than {DEPTH} messages in one another")
    fields: list[_Field] = []
    while tokens.next != closing:
        line, name = tokens.line, tokens.take()
        if not name or not (name[0].isalpha() or name[0] == "_"):
            raise _wrong(line, "expected the name of a field")
        tokens.took(":")
        fields += (_Field(line, name, value) for value in _values(tokens, depth))
        if not tokens.took(","):
            tokens.took(";")
    tokens.take()
    return fields


def _values(tokens: _Tokens, depth: int) -> Iterator[str | list[_Field]]:
    if not tokens.took("["):
        yield _value(tokens, depth)
        return
    while not tokens.took("]"):
        yield _value(tokens, depth)
        tokens.took(",")


def _value(tokens: _Tokens, depth: int) -> str | list[_Field]:
    line, word = tokens.line, tokens.take()
    if word in _CLOSING:
        return _message(tokens, _CLOSING[word], depth + 1)
    if word in _SIGNS:
        raise _wrong(line, "expected a value")
    if word[0] not in "\"'":
        return word
    parts = [word[1:-1]]
    while tokens.next[:1] in ('"', "'"):  # texts side by side are one
        parts.append(tokens.take()[1:-1])
    return "".join(parts)


def _wrong(line: int, what: str) -> ConfigError:
    return ConfigError(f"line {line}: {what}")
