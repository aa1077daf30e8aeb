"""The little of DER that the SGX extension of a PCK certificate needs: strict reader and writer.

Strict means X.690 section 10: definite lengths in their shortest form, one-byte tags, nothing left
over. The reader works on what it is handed and never looks further; nesting is the caller's, so it
is bounded by the caller's own structure. Certificates and CRLs are read by `cryptography`, whose
own declarative ASN.1 module is younger than the oldest version that we accept.
"""

from __future__ import annotations

from typing import TypeAlias

from sealserve.errors import FormatError

BOOLEAN = 0x01
INTEGER = 0x02
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
ENUMERATED = 0x0A
UTF8_STRING = 0x0C
PRINTABLE_STRING = 0x13
SEQUENCE = 0x30

_MAX_LENGTH_BYTES = 3  # 16 MiB: more than anything read here may be
_MULTI_BYTE_TAG = 0x1F
_LONG_FORM = 0x80  # below it, the first byte of a length is the length


Element: TypeAlias = tuple[int, bytes]
"""A tag, and the content bytes behind its length."""


def decode(data: bytes, tag: int) -> bytes:
    """The content of the one element of type `tag` that `data` is, to its last byte."""
    elements = decode_all(data)
    if len(elements) != 1 or elements[0][0] != tag:
        found = ", ".join(f"0x{tag:02x}" for tag, _ in elements[:4]) or "nothing"
        raise FormatError(f"expected one DER element with tag 0x{tag:02x}, found {found}")
    return elements[0][1]


def decode_all(data: bytes) -> list[Element]:
    """The elements that follow one another in `data`, as in the content of a SEQUENCE."""
    elements = []
    offset, end = 0, len(data)
    while offset < end:
        tag = data[offset]
        if tag & _MULTI_BYTE_TAG == _MULTI_BYTE_TAG:
            raise FormatError(f"DER tag 0x{tag:02x} has more than one byte")
        first = data[offset + 1] if offset + 1 < end else _LONG_FORM
        start, length = (offset + 2, first) if first < _LONG_FORM else _length(data, offset + 1)
        if length > end - start:
            raise FormatError(f"DER element says {length} bytes, {end - start} are there")
        elements.append((tag, data[start : start + length]))
        offset = start + length
    return elements


def _length(data: bytes, offset: int) -> tuple[int, int]:
    """Where the content begins, and its length, from a length in the long form."""
    if offset >= len(data):
        raise FormatError("DER element ends before its length")
    count = data[offset] & 0x7F
    encoded = data[offset + 1 : offset + 1 + count]
    if not 1 <= count <= _MAX_LENGTH_BYTES or len(encoded) != count:
        raise FormatError(f"DER length of {count} bytes is indefinite, too long or cut short")
    length = int.from_bytes(encoded, "big")
    if length < _LONG_FORM or encoded[0] == 0:
        raise FormatError("DER length is not in its shortest form")
    return offset + 1 + count, length


def decode_unsigned(content: bytes) -> int:
    """The value of an INTEGER or ENUMERATED content that must not be negative."""
    if not content or content[0] & 0x80:
        raise FormatError("DER integer is empty or negative")
    if len(content) > 1 and content[0] == 0 and not content[1] & 0x80:
        raise FormatError("DER integer is not in its shortest form")
    return int.from_bytes(content, "big")


def decode_boolean(content: bytes) -> bool:
    """The value of a BOOLEAN content; DER knows 00 and FF only."""
    if content not in (b"\x00", b"\xff"):
        raise FormatError(f"DER boolean is {content.hex() or 'empty'}, expected 00 or ff")
    return content == b"\xff"


def encode(tag: int, *contents: bytes) -> bytes:
    """One element around the contents joined."""
    content = b"".join(contents)
    if len(content) < _LONG_FORM:
        return bytes((tag, len(content))) + content
    size = (len(content).bit_length() + 7) // 8
    return bytes((tag, _LONG_FORM | size)) + len(content).to_bytes(size, "big") + content


def encode_unsigned(value: int, tag: int = INTEGER) -> bytes:
    """An INTEGER, or with its tag an ENUMERATED, of a value that is not negative."""
    return encode(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def encode_boolean(value: bool) -> bytes:
    """A BOOLEAN."""
    return encode(BOOLEAN, b"\xff" if value else b"\x00")


def oid_content(dotted: str) -> bytes:
    """The content bytes of an OBJECT IDENTIFIER written with dots."""
    first, second, *rest = (int(part) for part in dotted.split("."))
    return b"".join(_base128(arc) for arc in (40 * first + second, *rest))


def _base128(arc: int) -> bytes:
    encoded = bytes((arc & 0x7F,))
    while arc := arc >> 7:
        encoded = bytes((0x80 | arc & 0x7F,)) + encoded
    return encoded
