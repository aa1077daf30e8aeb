"""A row of the database as JSON has it, and back: bytes are base64, all else is as it is.

What comes back is of its column's type and range, so that either kind of database takes it; whether
it is authentic is not asked here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, Table

from sealserve.errors import FormatError
from sealserve.keyservice.store.schema import Count, Octets, Words


def to_plain(row: Iterable[Any]) -> list[Any]:
    """The values as JSON has them."""
    return [
        base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
        for value in row
    ]


def from_plain(table: Table, values: list[Any]) -> dict[str, Any]:
    """The row of `table`, by column; raises FormatError for what is none."""
    columns = list(table.columns)
    if len(values) != len(columns):
        raise FormatError(f"the backup has a short row of {table.name}", code="backup")
    try:
        return {
            column.name: _value(column, value)
            for column, value in zip(columns, values, strict=True)
        }
    except ValueError:
        raise FormatError(f"the backup has a damaged row of {table.name}", code="backup") from None


def _value(column: Column[Any], value: Any) -> Any:
    """Raises ValueError."""
    if value is None and column.nullable:
        return None
    match column.type:
        case Octets() if isinstance(value, str):
            return base64.b64decode(value, validate=True)
        case Words() if isinstance(value, str):
            value.encode("utf-8")  # half of a surrogate pair is no text
            return value
        case Count() | BigInteger() | Integer() as kind if type(value) is int:
            bits = 31 if type(kind) is Integer else 63
            if -(1 << bits) <= value < 1 << bits:
                return value
    raise ValueError(f"no value of {column.name}")
