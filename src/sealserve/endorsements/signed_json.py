"""Signed JSON as Intel's service sends it: cut out what is signed first, read it strictly later.

The body is one object of two members, the statement and its signature. `split` finds the bytes of
both without parsing, so that the signature can be checked before a parser sees them; `read_object`
then refuses what JSON leaves open: members named twice, numbers that are no whole numbers, text
that is not UTF-8. Each value is asked for with its bounds; what it means is judged elsewhere.
Source: Intel SGX and TDX Provisioning Certification Service API, version 4; RFC 8259 section 4.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

from sealserve.errors import FormatError

SIGNED_JSON_LIMIT = 256 << 10  # bytes; the largest TCB info of today has 30 KB
# Objects and arrays, which cost a parser the most for their size; 250 TCB levels have 9000.
_CONTAINER_LIMIT = 16384
_SIGNATURE_BYTES = 64
_Choice = TypeVar("_Choice", bound=StrEnum)
_HEX = re.compile(r"[0-9A-Fa-f]*+")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """The bytes that were signed, exactly as received; `signature` is r and s, 32 bytes each."""

    signed: bytes
    signature: bytes


def split(body: bytes, name: str) -> SignedStatement:
    """The statement called `name` ("tcbInfo", "enclaveIdentity") in `body`, and its signature.

    Nothing is parsed. If `body` is not just these two members, `signed` is something that nobody
    signed. Raises FormatError.
    """
    if len(body) > SIGNED_JSON_LIMIT:
        raise FormatError(f"{name}: {len(body)} bytes; at most {SIGNED_JSON_LIMIT} are read")
    found = _pattern(name).fullmatch(body)
    if found is None:
        raise FormatError(f'{name}: expected {{"{name}": {{…}}, "signature": "128 hex digits"}}')
    return SignedStatement(found[1], bytes.fromhex(found[2].decode()))


@lru_cache
def _pattern(name: str) -> re.Pattern[bytes]:
    text = (
        rf'\s*+\{{\s*+"{name}"\s*+:\s*+(\{{.*\}})\s*+,\s*+'
        rf'"signature"\s*+:\s*+"([0-9A-Fa-f]{{{2 * _SIGNATURE_BYTES}}})"\s*+\}}\s*+'
    )
    return re.compile(text.encode(), re.DOTALL)


def check_containers(data: bytes, where: str) -> None:
    """Raise FormatError for a JSON text with so many objects and arrays that reading it is dear.

    Brackets within texts count too.
    """
    found = data.count(b"{") + data.count(b"[")
    if found > _CONTAINER_LIMIT:
        raise FormatError(
            f"{where}: {found} objects and arrays; at most {_CONTAINER_LIMIT} are read"
        )


def read_object(data: bytes, where: str) -> Members:
    """The one JSON object that `data` is; `where` names it in errors. Raises FormatError."""
    check_containers(data, where)
    try:
        value = _DECODER.decode(data.decode())
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: not JSON: {error}") from None
    return Members.of(value, where)


class Members:
    """The members of one JSON object, each asked for with the type and bounds it must have."""

    def __init__(self, values: dict[str, object], where: str) -> None:
        self._values = values
        self._where = where

    @classmethod
    def of(cls, value: object, where: str) -> Members:
        """The members of `value`; raises FormatError when it is no object."""
        if not isinstance(value, dict):
            raise FormatError(f"{where}: expected an object, found {type(value).__name__}")
        return cls(value, where)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def number(self, name: str, maximum: int) -> int:
        """A whole number from 0 to `maximum`."""
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= maximum:
            self._refuse(name, f"a whole number up to {maximum}")
        return value

    def text(self, name: str, maximum: int = 64) -> str:
        """A text of at most `maximum` characters."""
        value = self._values.get(name)
        if not isinstance(value, str) or len(value) > maximum:
            self._refuse(name, f"a text of at most {maximum} characters")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._values.get(name)
        if not isinstance(value, bool):
            self._refuse(name, "true or false")
        return value

    def hexadecimal(self, name: str, length: int) -> bytes:
        """`length` bytes, written in hex of either case."""
        text = self.text(name, 2 * length)
        if len(text) != 2 * length or not _HEX.fullmatch(text):
            self._refuse(name, f"{2 * length} hex digits")
        return bytes.fromhex(text)

    def date(self, name: str) -> datetime:
        """A time in UTC, to the second."""
        date = _date(self.text(name))
        if date is None:
            self._refuse(name, "a time such as 2026-05-26T20:26:40Z")
        return date

    def one_of(self, name: str, kind: type[_Choice]) -> _Choice:
        """One of the words that `kind` lists."""
        try:
            return kind(self.text(name))
        except ValueError:
            self._refuse(name, f"one of {', '.join(kind)}")

    def nested(self, name: str) -> Members:
        """An object."""
        return Members.of(self._values.get(name), f"{self._where}.{name}")

    def tables(self, name: str, maximum: int) -> list[Members]:
        """A list of at most `maximum` objects."""
        return [
            Members.of(value, f"{self._where}.{name}[{n}]")
            for n, value in enumerate(self._list(name, maximum))
        ]

    def column(self, name: str, member: str, count: int, maximum: int) -> tuple[int, ...]:
        """The number called `member` of each of the `count` objects in a list."""
        rows = self._list(name, count)
        try:
            column = tuple([row[member] for row in rows])
        except (TypeError, KeyError):
            column = ()
        if (
            len(column) != count
            or {*map(type, column)} != {int}
            or not (min(column) >= 0 and max(column) <= maximum)
        ):
            self._refuse(name, f"{count} objects with a whole number {member!r} up to {maximum}")
        return column

    def texts(self, name: str, count: int, maximum: int = 64) -> tuple[str, ...]:
        """A list of at most `count` texts of at most `maximum` characters; none if not there."""
        if name not in self._values:
            return ()
        values = tuple(self._list(name, count))
        if not {*map(type, values)} <= {str} or max(map(len, values), default=0) > maximum:
            self._refuse(name, f"texts of at most {maximum} characters")
        return values

    def _list(self, name: str, maximum: int) -> list[Any]:
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) > maximum:
            self._refuse(name, f"a list of at most {maximum}")
        return value

    def _refuse(self, name: str, expected: str) -> NoReturn:
        found = repr(self._values[name])[:60] if name in self._values else "nothing"
        raise FormatError(f"{self._where}.{name}: found {found}, expected {expected}")


@lru_cache(maxsize=256)
def _date(text: str) -> datetime | None:
    """None if it is none. Levels share their dates, and statements of one day theirs."""
    if not _DATE.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise FormatError("a member is there twice")
    return values


def _refuse_number(text: str) -> NoReturn:
    raise FormatError(f"{text[:20]!r} is no whole number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_refuse_number, parse_constant=_refuse_number
)
