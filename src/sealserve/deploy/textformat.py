"""Protobuf's text format -> fields, without protobuf: TensorFlow Serving's small configurations.

Who deploys or migrates need not have protobuf. Fields keep their lines, messages nest to a limit,
and what is wrong is told by its line alone: a value may be a private key. Extensions, and escapes
by number, are not read. Nothing here opens a file.
Format: protobuf, "Text Format Language Specification".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from sealserve.errors import ConfigError

DEPTH: Final = 16

_TOKEN: Final = re.compile(r"""[ \t\r\v\f]+|\n|\#[^\n]*|["']|[A-Za-z0-9_./+-]+|[\[\]{}<>:,;]""")
# A text is walked through, from escape to escape: one pattern for it all would keep its every step.
_INSIDE: Final = {quote: re.compile(rf"[^\\\n{quote}]*") for quote in ('"', "'")}
_ESCAPE: Final = re.compile(r"\\(.)")
_ESCAPES: Final = {
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "?": "?",
}
_CLOSING: Final = {"{": "}", "<": ">"}
_SIGNS: Final = frozenset({"", *"[]}>:,;"})


class Field(NamedTuple):
    """One field: a text, a number or a word as text, or a message."""

    line: int
    name: str
    value: str | list[Field]


def read_fields(text: str) -> list[Field]:
    """The fields of the whole text; ConfigError with its line for what is no text format."""
    return _message(_Tokens(text), "", 0)


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
                raise _wrong(line, "this is not protobuf's text format")
            if match[0] in _INSIDE:
                end = _text_end(text, at, line)
                yield line, text[at:end]
                at = end
                continue
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


def _text_end(text: str, start: int, line: int) -> int:
    """Behind the quote that ends the text which begins with one at `start`."""
    quote = text[start]
    at = start + 1
    while match := _INSIDE[quote].match(text, at):
        at = match.end()
        if text[at : at + 1] == quote:
            return at + 1
        if text[at : at + 1] != "\\" or text[at + 1 : at + 2] in ("", "\n"):
            break
        at += 2
    raise _wrong(line, "a text has no end on its line")


def _message(tokens: _Tokens, closing: str, depth: int) -> list[Field]:
    """The fields up to `closing`, which is taken."""
    if depth > DEPTH:
        raise _wrong(tokens.line, f"more than {DEPTH} messages in one another")
    fields: list[Field] = []
    while tokens.next != closing:
        line, name = tokens.line, tokens.take()
        if not name or not (name[0].isalpha() or name[0] == "_"):
            raise _wrong(line, "expected the name of a field")
        tokens.took(":")
        fields += (Field(line, name, value) for value in _values(tokens, depth))
        if not tokens.took(","):
            tokens.took(";")
    tokens.take()
    return fields


def _values(tokens: _Tokens, depth: int) -> Iterator[str | list[Field]]:
    if not tokens.took("["):
        yield _value(tokens, depth)
        return
    while not tokens.took("]"):
        yield _value(tokens, depth)
        tokens.took(",")


def _value(tokens: _Tokens, depth: int) -> str | list[Field]:
    line, word = tokens.line, tokens.take()
    if word in _CLOSING:
        return _message(tokens, _CLOSING[word], depth + 1)
    if word in _SIGNS:
        raise _wrong(line, "expected a value")
    if word[0] not in "\"'":
        return word
    parts = [_unescaped(word, line)]
    while tokens.next[:1] in ('"', "'"):  # texts side by side are one
        parts.append(_unescaped(tokens.take(), line))
    return "".join(parts)


def _unescaped(quoted: str, line: int) -> str:
    def decode(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise _wrong(line, "an escape that is not read here")
        return _ESCAPES[match[1]]

    return _ESCAPE.sub(decode, quoted[1:-1])


def _wrong(line: int, what: str) -> ConfigError:
    return ConfigError(f"line {line}: {what}")
