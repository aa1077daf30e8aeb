"""The variables of a SavedModel: an index, and files ("shards") with the values' bytes.

`variables/variables.index` is a table whose first entry, under the empty key, is a header; each
other one says dtype, shape and place of one value in `variables.data-SSSSS-of-NNNNN`. A value in
slices is refused, and so is one of strings: no engine of ours has weights like these.

Source: TensorFlow 2.21, core/util/tensor_bundle/{tensor_bundle,naming}.cc.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from google.protobuf.message import DecodeError

from sealserve.errors import FormatError, InvalidArgument, Unimplemented
from sealserve.messages import tensor_pb2
from sealserve.messages.bundle_pb2 import BundleEntryProto, BundleHeaderProto
from sealserve.messages.tensor_pb2 import TensorProto
from sealserve.messages.tensors import dtype_name, numpy_dtype
from sealserve.serving.formats.table import masked_crc32c, read_table

INDEX_NAME = "variables/variables.index"
INDEX_LIMIT = 256 << 20  # bytes
_VERSION = 1  # kTensorBundleVersion: who needs a newer reader says so in min_consumer
_SHARD_LIMIT = 100_000  # the names have five digits


class Bundle:
    """Values by key. Shards are read when the first value of theirs is asked for, and kept."""

    def __init__(self, index: bytes, read: Callable[[str], bytes | bytearray]) -> None:
        """Of the index's bytes; `read` gives a file by its name below the version's folder.

        Raises FormatError for an index that is none.
        """
        if len(index) > INDEX_LIMIT:
            raise _broken(f"it has {len(index)} bytes; at most {INDEX_LIMIT} are read")
        entries = read_table(index)
        self._shards = _shard_count(entries.pop(b"", None))
        self._entries: Mapping[bytes, bytes] = entries
        self._read = read
        self._data: dict[int, memoryview] = {}

    def value(self, key: str) -> TensorProto:
        """The value under `key`, its bytes in `tensor_content`.

        Raises FormatError where index and shards do not hold what they say, Unimplemented for
        slices and for dtypes without a fixed size, and what reading a file does.
        """
        entry = self._entry(key)
        shape = [dim.size for dim in entry.shape.dim]
        if entry.slices:
            raise Unimplemented(f"variable {key!r} is stored in slices, which are not read")
        if entry.shape.unknown_rank or any(size < 0 for size in shape):
            raise _broken(f"the shape of {key!r} is not whole")
        if entry.size != math.prod(shape) * _item_bytes(key, entry.dtype):
            raise _broken(f"{key!r} has {entry.size} bytes, which its shape and dtype do not")
        content = self._content(key, entry)
        return TensorProto(dtype=entry.dtype, tensor_shape=entry.shape, tensor_content=content)

    def _entry(self, key: str) -> BundleEntryProto:
        found = self._entries.get(key.encode())
        if found is None:
            raise FormatError(f"no value is stored for variable {key!r}", code="variables")
        try:
            return BundleEntryProto.FromString(found)
        except DecodeError as error:
            raise _broken(f"the entry of {key!r} cannot be read") from error

    def _content(self, key: str, entry: BundleEntryProto) -> bytes:
        if not 0 <= entry.shard_id < self._shards:
            raise _broken(f"{key!r} is in shard {entry.shard_id} of {self._shards}")
        data = self._shard(entry.shard_id)
        if entry.offset < 0 or entry.offset + entry.size > len(data):
            raise FormatError(f"the value of {key!r} lies outside its shard", code="variables")
        content = bytes(data[entry.offset : entry.offset + entry.size])
        if masked_crc32c(content) != entry.crc32c:
            raise FormatError(f"the checksum of {key!r} does not match", code="variables")
        return content

    def _shard(self, number: int) -> memoryview:
        if number not in self._data:
            name = f"variables/variables.data-{number:05d}-of-{self._shards:05d}"
            self._data[number] = memoryview(self._read(name))
        return self._data[number]


def _shard_count(data: bytes | None) -> int:
    if data is None:
        raise _broken("it has no header")
    try:
        header = BundleHeaderProto.FromString(data)
    except DecodeError as error:
        raise _broken("its header cannot be read") from error
    if header.endianness != BundleHeaderProto.LITTLE or header.version.min_consumer > _VERSION:
        raise Unimplemented("the variables are big-endian, or of a format that is newer than ours")
    if not 0 < header.num_shards < _SHARD_LIMIT:
        raise _broken(f"it says that there are {header.num_shards} shards")
    return header.num_shards


def _item_bytes(key: str, data_type: int) -> int:
    if data_type == tensor_pb2.DT_BFLOAT16:
        return 2  # which numpy has no dtype for
    try:
        dtype = numpy_dtype(data_type)
    except InvalidArgument as error:
        raise Unimplemented(f"variable {key!r} is {dtype_name(data_type)}") from error
    if dtype.hasobject:
        raise Unimplemented(f"variable {key!r} is {dtype_name(data_type)}")
    return dtype.itemsize


def _broken(reason: str) -> FormatError:
    return FormatError(f"the index of the variables is broken: {reason}", code="variables")
