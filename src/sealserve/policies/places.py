"""Where each key and value of a TOML text stands: line numbers for people, spans for edits.

`tomllib` says what a document means and not where; this says where and nothing else. It reads only
what `tomllib` has accepted, and follows the TOML 1.0 grammar as far as places need it: keys (bare,
quoted, dotted), the four kinds of strings, arrays, inline tables, table headers. A place is named
by its path in the parsed document, such as `("rules", 1, "identities", 0)`.

Source: TOML 1.0.0, https://toml.io/en/v1.0.0.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from sealserve.appraisal.bounded_toml import read_toml
from sealserve.errors import ConfigError

NESTING_LIMIT: Final = 40

Path: TypeAlias = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BETWEEN: Final = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR: Final = re.compile(r"[^,\]}\n#]*[^,\]}\n#\s]")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' r"'''.*?'{3,5}|" r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` up to, and without, `end`, in characters of the text."""

    start: int
    end: int


class Places:
    """The places of everything in one TOML text."""

    def __init__(self, text: str) -> None:
        """Raises ConfigError where `text` is not TOML, or nests its values without end."""
        read_toml(text, "the text")
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._spans = dict(_Scanner(text).places())
        self._starts: dict[Path, int] = {}
        for path, span in self._spans.items():
            while path and path not in self._starts:  # a table of dotted keys has no other place
                self._starts[path] = span.start
                path = path[:-1]
        self._starts |= {path: span.start for path, span in self._spans.items()}

    def line(self, path: Path) -> int:
        """The line, from 1, of what is at `path`, or of the nearest thing around it that is.

        A table that has no header and no value of its own, as `a` in `a.b = 1`, is where its first
        key is.
        """
        while path not in self._starts:
            if not path:
                return 1
            path = path[:-1]
        return bisect_right(self._newlines, self._starts[path] - 1) + 1

    def span(self, path: Path) -> Span:
        """Where the value at `path` stands; of a table its header. Raises KeyError."""
        return self._spans[path]

    def paths(self) -> tuple[Path, ...]:
        """Every path that has a place, in the order of the text."""
        return tuple(self._spans)


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counts: dict[Path, int] = {}

    def places(self) -> Iterator[tuple[Path, Span]]:
        table: Path = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text[self._at] == "[":
                start = self._at
                table = self._header()
                yield table, Span(start, self._at)
            else:
                yield from self._pair(table)

    def _header(self) -> Path:
        """`[a.b]` or `[[a.b]]`, as the path of the table that it opens."""
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        self._at += brackets
        keys = self._key()
        self._at += brackets
        path = self._within((), keys[:-1]) + keys[-1:]
        if brackets == 1:
            return self._within(path[:-1], path[-1:])
        self._counts[path] = self._counts.get(path, 0) + 1
        return (*path, self._counts[path] - 1)

    def _within(self, path: Path, keys: Path) -> Path:
        """`path` and `keys` below it; of an array of tables, the last one is meant."""
        for key in keys:
            path = (*path, key)
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
        return path

    def _pair(self, table: Path) -> Iterator[tuple[Path, Span]]:
        path = table + self._key()
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        yield from self._value(path)

    def _key(self) -> Path:
        """A key and its dots, up to what follows it."""
        keys: list[str] = []
        while True:
            self._skip(_SPACE)
            if self._text[self._at] in "\"'":
                keys.append(tomllib.loads(f"k = {self._take(_STRING)}")["k"])
            else:
                keys.append(self._take(_BARE_KEY))
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return tuple(keys)
            self._at += 1

    def _value(self, path: Path) -> Iterator[tuple[Path, Span]]:
        if len(path) > NESTING_LIMIT:
            line = self._text.count("\n", 0, self._at) + 1
            raise ConfigError(f"line {line}: values are nested deeper than {NESTING_LIMIT}")
        start = self._at
        first = self._text[start]
        inner: list[tuple[Path, Span]] = []
        if first == "[":
            inner = list(self._array(path))
        elif first == "{":
            inner = list(self._inline_table(path))
        else:
            self._take(_STRING if first in "\"'" else _SCALAR)
        yield path, Span(start, self._at)
        yield from inner

    def _array(self, path: Path) -> Iterator[tuple[Path, Span]]:
        index = 0
        self._at += 1
        while not self._closed("]"):
            yield from self._value((*path, index))
            index += 1

    def _inline_table(self, path: Path) -> Iterator[tuple[Path, Span]]:
        self._at += 1
        while not self._closed("}"):
            yield from self._pair(path)

    def _closed(self, bracket: str) -> bool:
        """Step over what stands between two items, and over `bracket` if it comes next."""
        self._skip(_BETWEEN)
        if self._text[self._at] != bracket:
            return False
        self._at += 1
        return True

    def _skip(self, pattern: re.Pattern[str]) -> int:
        self._take(pattern)
        return self._at

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError(f"unexpected character at {self._at}")
        self._at = match.end()
        return match.group()
