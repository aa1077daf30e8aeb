"""Reading a tensor bundle: every value as it was written; whatever is damaged is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_versions import HeldFiles, block, bundle, table, varint
from sealserve.errors import ConfigError, FormatError, SealServeError, Unimplemented
from sealserve.messages import tensor_pb2
from sealserve.messages.bundle_pb2 import BundleEntryProto, BundleHeaderProto
from sealserve.messages.tensors import from_proto
from sealserve.serving.formats.bundle import INDEX_NAME, Bundle
from sealserve.serving.formats.table import (
    FOOTER_BYTES,
    KEY_LIMIT,
    MAGIC,
    masked_crc32c,
    read_table,
)

VALUES = {
    "dense/bias/.ATTRIBUTES/VARIABLE_VALUE": np.float32([1, 2, 3]),
    "dense/kernel/.ATTRIBUTES/VARIABLE_VALUE": np.arange(6, dtype=np.float64).reshape(2, 3),
    "empty": np.zeros((0, 4), np.int8),
    "scalar": np.array(7, np.int64),
    "step": np.array([True, False]),
}
DATA = "variables/variables.data-00000-of-00001"
Files = dict[str, bytes]


def opened(files: Files) -> Bundle:
    return Bundle(files[INDEX_NAME], HeldFiles(files).read)


@pytest.mark.parametrize("shards", [1, 3])
def test_every_value_is_read_as_it_was_written(shards: int) -> None:
    held = opened(bundle(VALUES, shards=shards))
    for key, value in VALUES.items():
        found = from_proto(held.value(key), limit_bytes=1000)
        assert found.dtype == value.dtype
        assert np.array_equal(found, value)


def test_a_table_keeps_keys_that_share_their_beginnings() -> None:
    entries = [(b"", b"h"), (b"a", b""), (b"ab", b"1"), (b"abc", b"22"), (b"b", b"3" * 300)]
    for per_block in (1, 2, 5):
        assert read_table(table(entries, per_block=per_block)) == dict(entries)


def test_the_checksum_is_the_one_of_the_specification() -> None:
    # RFC 3720, B.4: 32 bytes of zeros have the CRC32C aa36918a (its bytes are printed reversed).
    rotated = (0x8A9136AA >> 15 | 0x8A9136AA << 17) & 0xFFFFFFFF
    assert masked_crc32c(bytes(32)) == (rotated + 0xA282EAD8) & 0xFFFFFFFF


def footer(index: int, size: int) -> bytes:
    """A footer whose metaindex is the index, so that nothing has to be written for it."""
    places = b"".join(map(varint, (index, size, index, size)))
    return places.ljust(40, b"\0") + MAGIC.to_bytes(8, "little")


def one_block(entries: list[tuple[bytes, bytes]], **options: int) -> bytes:
    """A table whose index has one entry, for a block made as asked."""
    data = block(entries, **options)
    index = block([(b"z", varint(0) + varint(len(data) - 5))])
    return data + index + footer(len(data), len(index) - 5)


def raw_block(data: bytes) -> bytes:
    data += bytes(4) + (1).to_bytes(4, "little") + b"\0"
    return data + masked_crc32c(data).to_bytes(4, "little")


def with_raw(data: bytes) -> bytes:
    piece = raw_block(data)
    index = block([(b"z", varint(0) + varint(len(piece) - 5))])
    return piece + index + footer(len(piece), len(index) - 5)


TABLES = {
    "nothing": b"",
    "too short": bytes(47),
    "another magic": table([(b"a", b"b")])[:-1] + b"\0",
    "compressed": one_block([(b"a", b"b")], compression=1),
    "unordered": one_block([(b"b", b""), (b"a", b"")]),
    "twice the same": one_block([(b"a", b"1"), (b"a", b"2")]),
    "block outside": footer(1 << 40, 10),
    "block of any size": footer(0, 1 << 62),
    "shares more than there is": with_raw(varint(5) + varint(1) + varint(0) + b"k"),
    "value longer than block": with_raw(varint(0) + varint(1) + varint(1 << 60) + b"k"),
    "key too long": with_raw(varint(0) + varint(KEY_LIMIT + 1) + varint(0) + b"k" * KEY_LIMIT),
    "number that does not end": with_raw(b"\xff" * 20),
}


@pytest.mark.parametrize("data", TABLES.values(), ids=TABLES.keys())
def test_bytes_that_are_no_table_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="no table"):
        read_table(data)


def test_a_few_bytes_cannot_become_many() -> None:
    """Keys that ascend and share almost everything: their sum is bounded, not only each."""
    shared = b"k" * (KEY_LIMIT - 3)
    data = varint(0) + varint(len(shared)) + varint(0) + shared
    for number in range(20_000):
        data += varint(len(shared)) + varint(3) + varint(0) + number.to_bytes(3, "big")
    with pytest.raises(FormatError, match="keys take more than"):
        read_table(with_raw(data))


@pytest.mark.parametrize("at", range(0, 400, 7))
def test_a_flipped_bit_of_the_index_is_noticed(at: int) -> None:
    """But in the padding of the footer, which nobody reads."""
    index = bytearray(bundle(VALUES)[INDEX_NAME])
    at %= len(index) - FOOTER_BYTES
    index[at] ^= 4
    with pytest.raises(FormatError):
        read_table(bytes(index))


def changed(change: Callable[[BundleEntryProto], None]) -> Files:
    """The bundle of one value whose entry is changed; the table around it is sound."""
    files = bundle({"v": np.float32([1, 2])})
    entries = read_table(files[INDEX_NAME])
    entry = BundleEntryProto.FromString(entries[b"v"])
    change(entry)
    entries[b"v"] = entry.SerializeToString()
    return {**files, INDEX_NAME: table(list(entries.items()))}


def sliced(entry: BundleEntryProto) -> None:
    entry.slices.add().extent.add(start=0, length=1)


CHANGES: dict[str, tuple[Callable[[BundleEntryProto], None], type[Exception], str]] = {
    "slices": (sliced, Unimplemented, "in slices"),
    "strings": (lambda e: setattr(e, "dtype", tensor_pb2.DT_STRING), Unimplemented, "DT_STRING"),
    "variant": (lambda e: setattr(e, "dtype", tensor_pb2.DT_VARIANT), Unimplemented, "VARIANT"),
    "size": (lambda e: setattr(e, "size", 4), FormatError, "4 bytes"),
    "dtype": (lambda e: setattr(e, "dtype", tensor_pb2.DT_DOUBLE), FormatError, "8 bytes"),
    "negative": (lambda e: setattr(e.shape.dim[0], "size", -2), FormatError, "not whole"),
    "rank": (lambda e: setattr(e.shape, "unknown_rank", True), FormatError, "not whole"),
    "offset": (lambda e: setattr(e, "offset", 1), FormatError, "outside its shard"),
    "below": (lambda e: setattr(e, "offset", -8), FormatError, "outside its shard"),
    "shard": (lambda e: setattr(e, "shard_id", 1), FormatError, "shard 1 of 1"),
    "no shard": (lambda e: setattr(e, "shard_id", -1), FormatError, "shard -1 of 1"),
    "checksum": (lambda e: setattr(e, "crc32c", e.crc32c ^ 1), FormatError, "checksum"),
}


@pytest.mark.parametrize(("change", "error", "text"), CHANGES.values(), ids=CHANGES.keys())
def test_an_entry_that_is_not_so_is_refused(
    change: Callable[[BundleEntryProto], None], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        opened(changed(change)).value("v")


def test_a_value_that_claims_to_be_huge_is_refused_before_memory_is_taken() -> None:
    def huge(entry: BundleEntryProto) -> None:
        entry.shape.dim[0].size = 1 << 60
        entry.size = 1 << 62

    with pytest.raises(FormatError, match="outside its shard"):
        opened(changed(huge)).value("v")


def test_a_damaged_value_is_noticed() -> None:
    files = bundle(VALUES)
    files[DATA] = files[DATA][:5] + b"\x99" + files[DATA][6:]
    with pytest.raises(FormatError, match="checksum"):
        opened(files).value("dense/bias/.ATTRIBUTES/VARIABLE_VALUE")


def test_a_missing_value_and_a_missing_shard_are_told() -> None:
    files = bundle(VALUES)
    with pytest.raises(FormatError, match="no value is stored for variable 'other'"):
        opened(files).value("other")
    del files[DATA]
    with pytest.raises(ConfigError, match="00000-of-00001"):
        opened(files).value("scalar")


HEADERS = {
    "big-endian": (
        BundleHeaderProto(num_shards=1, endianness=BundleHeaderProto.BIG),
        Unimplemented,
    ),
    "no shards": (BundleHeaderProto(), FormatError),
    "shards without end": (BundleHeaderProto(num_shards=1 << 30), FormatError),
}


@pytest.mark.parametrize(("header", "error"), HEADERS.values(), ids=HEADERS.keys())
def test_a_header_of_another_world_is_refused(
    header: BundleHeaderProto, error: type[Exception]
) -> None:
    with pytest.raises(error):
        opened(bundle({"v": np.float32([1])}, header=header))


def test_a_bundle_of_a_newer_format_is_refused() -> None:
    header = BundleHeaderProto(num_shards=1)
    header.version.min_consumer = 2
    with pytest.raises(Unimplemented, match="newer"):
        opened(bundle({}, header=header))


def test_an_index_without_a_header_is_refused() -> None:
    with pytest.raises(FormatError, match="no header"):
        opened({INDEX_NAME: table([(b"a", b"")])})


SOUND = bundle(VALUES)[INDEX_NAME]


@given(
    places=st.lists(st.integers(0, len(SOUND) - 1), max_size=6),
    byte=st.integers(0, 255),
    cut=st.integers(0, len(SOUND)),
)
def test_damage_is_refused_with_our_errors_alone(places: list[int], byte: int, cut: int) -> None:
    index = bytearray(SOUND)
    for place in places:
        index[place] = byte
    files = {**bundle(VALUES), INDEX_NAME: bytes(index[cut:] if cut % 3 else index)}
    try:
        held = opened(files)
        for key in VALUES:
            held.value(key)
    except SealServeError:
        return


@given(data=st.binary(max_size=200))
def test_a_block_of_any_bytes_is_read_or_refused(data: bytes) -> None:
    try:
        entries = read_table(with_raw(data))
    except FormatError:
        return
    assert sum(map(len, entries)) <= len(data) * len(data) + 1


def test_a_block_is_read_once() -> None:
    empty = block([])
    place = varint(0) + varint(len(empty) - 5)
    index = block([(b"a", place), (b"b", place)])
    with pytest.raises(FormatError, match="do not ascend"):
        read_table(empty + index + footer(len(empty), len(index) - 5))
