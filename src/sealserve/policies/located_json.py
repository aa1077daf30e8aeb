"""JSON whose every value knows its line, with every member of an object, repeated ones too.

For configuration files, where a fault needs a line number and a repeated key is a fault. Stricter
than `json.loads`: NaN and the infinities are refused, and so is nesting beyond reason.

Source: RFC 8259.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

from sealserve.errors import ConfigError

NESTING_LIMIT: Final = 20

Plain: TypeAlias = "str | int | float | bool | None"

_SPACE: Final = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object; `line` is its key's."""

    line: int
    key: str
    value: Located


@dataclass(frozen=True, slots=True)
class Located:
    """A value, and the line on which it begins, from 1."""

    line: int
    value: Plain | tuple[Member, ...] | list[Located]
    """A tuple of members is an object, a list an array."""


def parse_json(text: str, what: str) -> Located:
    """The one value in `text`; raises ConfigError that names the line and `what` the text is."""
    return _Parser(text, what).document()


class _Parser:
    def __init__(self, text: str, what: str) -> None:
        self._text = text
        self._what = what
        self._at = 0
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._decoder = json.JSONDecoder(parse_constant=self._refuse_constant)

    def document(self) -> Located:
        value = self._value(0)
        if self._next():
            self._fail("something follows the end of the document")
        return value

    def _value(self, depth: int) -> Located:
        if depth > NESTING_LIMIT:
            self._fail("its values are nested too deeply")
        first = self._next()
        line = self._line()
        if first == "{":
            return Located(line, self._object(depth))
        if first == "[":
            return Located(line, self._array(depth))
        return Located(line, self._scalar())

    def _object(self, depth: int) -> tuple[Member, ...]:
        members: list[Member] = []
        while self._another("}", first=not members):
            if self._next() != '"':
                self._fail("expected a key in double quotes")
            line, key = self._line(), str(self._scalar())
            if self._next() != ":":
                self._fail(f"expected a colon after {key[:80]!r}")
            self._at += 1
            members.append(Member(line, key, self._value(depth + 1)))
        return tuple(members)

    def _array(self, depth: int) -> list[Located]:
        values: list[Located] = []
        while self._another("]", first=not values):
            values.append(self._value(depth + 1))
        return values

    def _another(self, closing: str, *, first: bool) -> bool:
        """Step over the bracket or comma that comes next; whether an item follows it."""
        if first:
            self._at += 1
        found = self._next()
        if found == closing:
            self._at += 1
            return False
        if not first:
            if found != ",":
                self._fail(f"expected a comma or {closing}")
            self._at += 1
        return True

    def _scalar(self) -> Plain:
        try:
            value, self._at = self._decoder.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            self._at = min(error.pos, len(self._text))
            self._fail(error.msg[:1].lower() + error.msg[1:])
        except ValueError:  # a number of thousands of digits
            self._fail("a number is too long")
        return value  # type: ignore[no-any-return]  # a container begins with a bracket

    def _refuse_constant(self, name: str) -> NoReturn:
        self._fail(f"{name} is not JSON")

    def _next(self) -> str:
        """The character that comes after white space, or nothing at the end."""
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._text[self._at : self._at + 1]

    def _line(self) -> int:
        return bisect_left(self._newlines, self._at) + 1

    def _fail(self, reason: str) -> NoReturn:
        raise ConfigError(f"{self._what}, line {self._line()}: {reason}")
