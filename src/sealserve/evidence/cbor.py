"""The part of CBOR that attestation evidence uses: strict reader and writer.

Integers, byte and text strings, arrays, maps with text or integer keys, tags, true, false and null,
all with definite lengths in their shortest form (RFC 8949, section 4.2, "preferred serialization").
Floats, other simple values and indefinite lengths are refused. So an accepted input has one reading
only, and writing that reading gives the same bytes again. Nesting and the number of items are
limited, so that evidence from a stranger costs little to refuse; no length in the input is believed
before the bytes are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from sealserve.errors import FormatError
from sealserve.evidence.reader import Reader

MAX_DEPTH: Final = 8
MAX_ITEMS: Final = 1024  # keys and tags count too; the evidence of one key has about ten


class Major(IntEnum):
    """The type in the first three bits of an item (RFC 8949, section 3.1)."""

    UNSIGNED = 0
    NEGATIVE = 1
    BYTES = 2
    TEXT = 3
    ARRAY = 4
    MAP = 5
    TAG = 6
    SIMPLE = 7


_SIMPLE: Final[dict[int, bool | None]] = {20: False, 21: True, 22: None}
_ARGUMENT_BYTES: Final = {24: 1, 25: 2, 26: 4, 27: 8}  # additional information -> bytes that follow


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value under a tag number."""

    tag: int
    value: CborValue


CborValue: TypeAlias = (
    "int | bytes | str | bool | list[CborValue] | dict[int | str, CborValue] | Tagged | None"
)


class _ItemReader(Reader):
    """A reader that knows how many items it may still begin."""

    items_left = MAX_ITEMS


def decode(data: bytes) -> CborValue:
    """The single item that fills `data`.

    Raises FormatError: `cbor.length`, `cbor.type`, `cbor.depth`, `cbor.items`, `cbor.encoding`.
    """
    reader = _ItemReader(data, "cbor")
    value = _item(reader, MAX_DEPTH)
    if reader.remaining:
        raise FormatError(
            f"{reader.remaining} bytes follow the CBOR item that should be alone",
            code="cbor.length",
        )
    return value


def encode(value: CborValue) -> bytes:
    """`value` in shortest form; a map keeps the order of its entries."""
    match value:
        case bool() | None:
            number = next(key for key, simple in _SIMPLE.items() if simple is value)
            return _head(Major.SIMPLE, number)
        case int():
            return _head(Major.UNSIGNED, value) if value >= 0 else _head(Major.NEGATIVE, ~value)
        case bytes():
            return _head(Major.BYTES, len(value)) + value
        case str():
            text = value.encode()
            return _head(Major.TEXT, len(text)) + text
        case list():
            return _head(Major.ARRAY, len(value)) + b"".join(map(encode, value))
        case dict():
            entries = (encode(key) + encode(entry) for key, entry in value.items())
            return _head(Major.MAP, len(value)) + b"".join(entries)
        case Tagged():
            return _head(Major.TAG, value.tag) + encode(value.value)


def _head(major: Major, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    for additional, size in _ARGUMENT_BYTES.items():
        if argument < 1 << 8 * size:
            return bytes([major << 5 | additional]) + argument.to_bytes(size, "big")
    raise FormatError("an integer does not fit the 64 bits of CBOR", code="cbor.encoding")


def _read_head(reader: Reader) -> tuple[Major, int]:
    first = reader.unsigned(1, "an item")
    major, additional = Major(first >> 5), first & 0x1F
    if additional < 24:
        return major, additional
    size = _ARGUMENT_BYTES.get(additional)
    if size is None or major is Major.SIMPLE:
        raise FormatError(
            f"CBOR item {first:#04x}: indefinite lengths, floats and rare simple values are "
            "not accepted",
            code="cbor.type",
        )
    argument = reader.unsigned(size, "an item's length or value", "big")
    if argument < (24 if size == 1 else 1 << 4 * size):
        raise FormatError("a CBOR length or integer is not in shortest form", code="cbor.encoding")
    return major, argument


def _item(reader: _ItemReader, depth: int) -> CborValue:
    if depth == 0:
        raise FormatError(f"CBOR nests deeper than {MAX_DEPTH} levels", code="cbor.depth")
    if reader.items_left == 0:
        raise FormatError(f"CBOR holds more than {MAX_ITEMS} items", code="cbor.items")
    reader.items_left -= 1
    major, argument = _read_head(reader)
    match major:
        case Major.UNSIGNED:
            return argument
        case Major.NEGATIVE:
            return ~argument
        case Major.BYTES:
            return reader.take(argument, "a byte string")
        case Major.TEXT:
            return _text(reader.take(argument, "a text string"))
        case Major.ARRAY:
            # Every item takes a byte, so a count beyond the input ends in an error.
            return [_item(reader, depth - 1) for _ in range(argument)]
        case Major.MAP:
            return _map(reader, argument, depth - 1)
        case Major.TAG:
            return Tagged(argument, _item(reader, depth - 1))
        case Major.SIMPLE:
            return _simple(argument)


def _map(reader: _ItemReader, count: int, depth: int) -> dict[int | str, CborValue]:
    entries: dict[int | str, CborValue] = {}
    for _ in range(count):
        key = _item(reader, depth)
        if not isinstance(key, int | str) or isinstance(key, bool):
            raise FormatError("a CBOR map key is neither text nor integer", code="cbor.type")
        if key in entries:
            raise FormatError("a CBOR map names a key twice", code="cbor.encoding")
        entries[key] = _item(reader, depth)
    return entries


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise FormatError("a CBOR text string is not UTF-8", code="cbor.encoding") from None


def _simple(number: int) -> bool | None:
    if number not in _SIMPLE:
        raise FormatError(f"CBOR simple value {number} is not accepted", code="cbor.type")
    return _SIMPLE[number]
