"""A sorted table of keys and values from its bytes, as TensorFlow's checkpoints have for an index.

The layout, from the end: a footer of 48 bytes (where two blocks lie, padding, a magic number); the
index block, whose values say where the data blocks lie; data blocks. Each block is followed by five
bytes: how it is compressed, and a masked CRC32C. Inside a block a key is written as how much it has
in common with the one before, and the rest. Nothing here allocates more than a limit because a few
bytes say so: keys ascend, and their length and sum are bounded.

Source: TensorFlow 2.21, core/lib/io/{format,block,table_builder}.cc; tsl/lib/hash/crc32c.h. Blocks
that are compressed are refused: TensorFlow has written none since 1.2 (tensor_bundle.cc,
TableBuilderOptions).
"""

from __future__ import annotations

from collections.abc import Iterator

import google_crc32c

from sealserve.errors import FormatError

FOOTER_BYTES = 48
TRAILER_BYTES = 5
MAGIC = 0xDB4775248B80FB57
KEY_LIMIT = 16 << 10  # bytes of one key
KEYS_LIMIT = 64 << 20  # bytes of all keys
_CRC_DELTA = 0xA282EAD8
_MASK32 = 0xFFFFFFFF
_UNCOMPRESSED = 0


def masked_crc32c(data: bytes) -> int:
    """The CRC32C of `data` as it is stored: turned by 15 bits, plus a constant."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _CRC_DELTA) & _MASK32


def read_table(data: bytes) -> dict[bytes, bytes]:
    """All entries, in order; FormatError for bytes that are no such table."""
    if len(data) < FOOTER_BYTES or int.from_bytes(data[-8:], "little") != MAGIC:
        raise _broken("it does not end like one")
    metaindex, offset = _handle(data, len(data) - FOOTER_BYTES)
    index, _ = _handle(data, offset)
    _block(data, metaindex)  # which has nothing for us, but is whole or damaged as the rest is
    entries: dict[bytes, bytes] = {}
    last, total, behind = None, 0, 0
    for _, value in _entries(_block(data, index)):
        place, end = _handle(value, 0)
        if end != len(value):
            raise _broken("an entry of its index is no place of a block")
        if place[0] < behind:  # or a few bytes could have one large block read any number of times
            raise _broken("its blocks do not ascend")
        behind = sum(place)
        for key, content in _entries(_block(data, place)):
            if last is not None and key <= last:
                raise _broken("its keys do not ascend")
            last, total = key, total + len(key)
            if total > KEYS_LIMIT:
                raise _broken(f"its keys take more than {KEYS_LIMIT} bytes")
            entries[key] = content
    return entries


def _block(data: bytes, place: tuple[int, int]) -> bytes:
    offset, size = place
    end = offset + size
    if end + TRAILER_BYTES > len(data) - FOOTER_BYTES:
        raise _broken("a block lies outside")
    stored = int.from_bytes(data[end + 1 : end + TRAILER_BYTES], "little")
    if masked_crc32c(data[offset : end + 1]) != stored:
        raise _broken("a block's checksum does not match")
    if data[end] != _UNCOMPRESSED:
        raise _broken("a block is compressed, which is not read")
    return data[offset:end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block: the restart points at its end are for searching alone."""
    if len(block) < 4:
        raise _broken("a block is too short")
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")
    if end < 0:
        raise _broken("a block is too short")
    offset, key = 0, b""
    while offset < end:
        shared, offset = _varint(block, offset)
        rest, offset = _varint(block, offset)
        size, offset = _varint(block, offset)
        if shared > len(key) or shared + rest > KEY_LIMIT or offset + rest + size > end:
            raise _broken("an entry is longer than its block, or its key too long")
        key = key[:shared] + block[offset : offset + rest]
        offset += rest + size
        yield key, block[offset - size : offset]


def _handle(data: bytes, offset: int) -> tuple[tuple[int, int], int]:
    """Where a block lies, and the offset behind the two numbers that say so."""
    start, offset = _varint(data, offset)
    size, offset = _varint(data, offset)
    return (start, size), offset


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[offset : offset + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, offset + index + 1
    raise _broken("a number in it is broken")


def _broken(reason: str) -> FormatError:
    return FormatError(f"the index of the variables is no table: {reason}", code="variables")
