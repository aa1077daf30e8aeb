"""TFRecord files: records one after the other, each with its length and checksums.

    u64 length | u32 masked CRC32C of the length | data | u32 masked CRC32C of the data

All little-endian. Source: TensorFlow 2.21, core/lib/io/record_writer.h; compressed files are not
read, as the stock server reads none here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from sealserve.errors import FormatError
from sealserve.serving.formats.table import masked_crc32c

_HEAD = struct.Struct("<QI")
_FOOT = struct.Struct("<I")


def read_records(data: bytes | bytearray) -> Iterator[bytes]:
    """The records, in order. FormatError, when it comes to it, for one that is not whole."""
    view, start, number = memoryview(data), 0, 0
    while start < len(view):
        number += 1
        if len(view) - start < _HEAD.size:
            raise _broken(number, "it ends within its head")
        length, checksum = _HEAD.unpack_from(view, start)
        if masked_crc32c(bytes(view[start : start + 8])) != checksum:
            raise _broken(number, "the checksum of its length is wrong")
        body = start + _HEAD.size
        end = body + length
        if end + _FOOT.size > len(view):
            raise _broken(number, "it ends before its data does")
        record = bytes(view[body:end])
        if masked_crc32c(record) != _FOOT.unpack_from(view, end)[0]:
            raise _broken(number, "the checksum of its data is wrong")
        yield record
        start = end + _FOOT.size


def _broken(number: int, what: str) -> FormatError:
    return FormatError(f"record {number} of a TFRecord file: {what}", code="tfrecord")
