"""Read a protected file: a stream of plaintext that can start anywhere, in bounded memory.

1. Node 0 authenticates under the wrap key and holds key and tag of the root MHT node.
2. A data node is decrypted under the key and tag in its MHT node, that one under those in its
   parent, and so up to the root. Every byte that comes out is therefore authentic, in its place,
   and of the one state of the file that node 0 stands for, even if the file changes meanwhile.
3. The MHT nodes last used are kept: the way up is short, and neighbours share it.

What this cannot see: that somebody put back an older authentic state of the whole file (the format
does not protect against that), and what stands after the last node of the data, which is not read.
Gramine leaves such nodes behind when a file shrinks, and accepts them; so they are accepted here.
Source of the format: Gramine 1.9, see `layout` and `header`.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealserve.errors import (
    IntegrityError,
    NodeTampered,
    UsageError,
    WrongKeyOrHeader,
    WrongPath,
)
from sealserve.sealing.header import (
    ZERO_IV,
    Header,
    Metadata,
    check_protected,
    check_wrap_key,
    open_header,
)
from sealserve.sealing.layout import (
    ENTRY_BYTES,
    GROUP_BYTES,
    GROUP_DATA_NODES,
    HEAD_BYTES,
    KEY_BYTES,
    NODE_BYTES,
    TAG_BYTES,
    child_entry,
    node_count,
    parent_mht_node,
    physical_data_node,
    physical_mht_node,
)
from sealserve.sealing.paths import normalize_path
from sealserve.sealing.streams import Sink, Source, fill, length, write_all

if TYPE_CHECKING:
    from typing_extensions import Buffer

_KEPT_MHT_NODES = 16  # a tree for 1 EiB is 9 nodes high


def open_sealed(source: Source, key: bytes, *, expected_path: str | None = None) -> SealedReader:
    """The plaintext of a protected file, version 1 or 2, as a read-only, seekable binary stream.

    For the whole of it in memory: `buffer = bytearray(sealed.header.size)` (or a memory map of a
    memfd) and `sealed.readinto(buffer)`. With `expected_path`, the embedded path has to equal it
    once it is normalised, which is Gramine's own rule. The source stays the caller's to close.

    Raises WrongKeyOrHeader, WrongPath, UnsupportedVersion, or IntegrityError with code
    `integrity.not-protected`, `integrity.size` (no multiple of 4096), `integrity.truncated`,
    `integrity.write-pending` or `integrity.metadata`; reading raises NodeTampered.
    """
    check_wrap_key(key)
    size = length(source)
    node = bytearray(NODE_BYTES)
    source.seek(0)
    present = fill(source, memoryview(node))
    check_protected(bytes(node[:present]), size)
    version, metadata = open_header(bytes(node), key)
    if expected_path is not None:
        _check_path(metadata.path, expected_path)
    _check_length(size, metadata.size)
    return SealedReader(source, version, metadata)


def open_sealed_under(
    source: Source, keys: Sequence[bytes], *, expected_path: str | None = None
) -> tuple[int, SealedReader]:
    """Like `open_sealed`, under the first of several keys that fits; its number, from 0.

    Raises WrongKeyOrHeader where none does, and UsageError where there is none.
    """
    if not keys:
        raise UsageError("a protected file is opened with a key, and none is given")
    for number, key in enumerate(keys):
        try:
            return number, open_sealed(source, key, expected_path=expected_path)
        except WrongKeyOrHeader as error:
            wrong = error  # `error` ends with the block
    if len(keys) > 1:
        wrong.about(f"tried {len(keys)} keys")
    raise wrong


def unseal(
    source: Source,
    sink: Sink,
    key: bytes,
    *,
    expected_path: str | None = None,
    advance: Callable[[int], None] = lambda _count: None,
) -> Header:
    """Decrypt a whole protected file into `sink`; what its header says. Raises as `open_sealed`.

    Everything written is authentic, but after an error it is not all: the caller throws it away.
    `advance` is told of plaintext bytes as they are done.
    """
    with open_sealed(source, key, expected_path=expected_path) as sealed:
        view = memoryview(bytearray(GROUP_BYTES))
        count = sealed.readinto(view[:HEAD_BYTES])  # what follows is whole groups
        while count:
            write_all(sink, view[:count])
            advance(count)
            count = sealed.readinto(view)
        return sealed.header


class SealedReader(io.RawIOBase):
    """A protected file's plaintext. `header` says path, size and version. For one thread.

    `readinto` fills the whole buffer unless the data ends; for many small reads put an
    `io.BufferedReader` around it, because every read decrypts whole nodes. A read that raises
    NodeTampered leaves no unauthenticated byte in the buffer, and the position where it was.
    """

    def __init__(self, source: Source, version: int, metadata: Metadata) -> None:
        super().__init__()
        self.header = Header(metadata.path, metadata.size, version)
        self._source = source
        self._metadata = metadata
        self._position = 0
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._edge = memoryview(bytearray(NODE_BYTES))
        self._sealed = memoryview(bytearray(GROUP_BYTES + TAG_BYTES))
        self._entries = memoryview(bytearray(NODE_BYTES))
        self._slots = [self._slot(index) for index in range(GROUP_DATA_NODES)]

    def _slot(self, index: int) -> tuple[memoryview, ...]:
        """Views for one node of a group: key and tag in the MHT node, the ciphertext with room for
        its tag behind it, that room. Made once: they cost as much as a tenth of the AES."""
        start, entry = index * NODE_BYTES, index * ENTRY_BYTES
        end = start + NODE_BYTES
        return (
            self._entries[entry : entry + KEY_BYTES],
            self._entries[entry + KEY_BYTES : entry + ENTRY_BYTES],
            self._sealed[start : end + TAG_BYTES],
            self._sealed[end : end + TAG_BYTES],
        )

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.header.size}
        if whence not in base or base[whence] + offset < 0:
            raise ValueError(f"cannot seek to {offset} (whence {whence})")
        self._position = base[whence] + offset
        return self._position

    def readall(self) -> bytes:
        """The rest of the plaintext; for a large file `readinto` needs half the memory."""
        buffer = bytearray(max(self.header.size - self._position, 0))
        self.readinto(buffer)
        return bytes(buffer)

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill `buffer` from the position on; how many bytes there were."""
        view = memoryview(buffer).cast("B")
        view = view[: max(self.header.size - self._position, 0)]
        done = 0
        while done < len(view):
            at = self._position + done
            if at < HEAD_BYTES:
                done += _copy(self._metadata.head[at:], view)
            else:
                done += self._read_nodes(at - HEAD_BYTES, view[done:])
        self._position += done
        return done

    def _read_nodes(self, at: int, view: memoryview) -> int:
        """Plaintext from `at`, counted after the head: the rest of one node, or whole nodes."""
        first, skip = divmod(at, NODE_BYTES)
        whole = min(len(view) // NODE_BYTES, GROUP_DATA_NODES - first % GROUP_DATA_NODES)
        if skip or not whole:
            self._decrypt_data(first, self._edge)
            return _copy(self._edge[skip:], view)
        self._decrypt_data(first, view[: whole * NODE_BYTES])
        return whole * NODE_BYTES

    def _decrypt_data(self, first: int, target: memoryview) -> None:
        """Decrypt data nodes of one group, as many as fill `target`.

        From the last to the first, so that a tag falls on a node that is done with.
        """
        group, slot = divmod(first, GROUP_DATA_NODES)
        place = physical_data_node(first)
        start = slot * NODE_BYTES
        self._entries[:] = self._mht_node(group)
        self._read(place, self._sealed[start : start + len(target)])
        for index in reversed(range(len(target) // NODE_BYTES)):
            key, tag, sealed, tag_room = self._slots[slot + index]
            plain = target[index * NODE_BYTES : (index + 1) * NODE_BYTES]
            tag_room[:] = tag
            try:
                AESGCM(key).decrypt_into(ZERO_IV, sealed, None, plain)
            except InvalidTag as error:
                plain[:] = bytes(NODE_BYTES)  # what the cipher wrote before it knew
                raise _tampered("data", place + index) from error

    def _mht_node(self, index: int) -> bytes:
        """The plaintext of one MHT node: 96 entries of data nodes, 32 of MHT nodes."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        key, tag = self._metadata.root_key, self._metadata.root_tag
        if index:
            at = child_entry(index)
            entry = self._mht_node(parent_mht_node(index))[at : at + ENTRY_BYTES]
            key, tag = entry[:KEY_BYTES], entry[KEY_BYTES:]
        node = bytearray(NODE_BYTES)
        place = physical_mht_node(index)
        self._read(place, memoryview(node))
        try:
            plain = AESGCM(key).decrypt(ZERO_IV, node + tag, None)
        except InvalidTag as error:
            raise _tampered("MHT", place) from error
        self._kept[index] = plain
        if len(self._kept) > _KEPT_MHT_NODES:
            self._kept.popitem(last=False)
        return plain

    def _read(self, node: int, view: memoryview) -> None:
        self._source.seek(node * NODE_BYTES)
        present = fill(self._source, view)
        if present != len(view):
            raise _truncated(node + present // NODE_BYTES, self.header.size)


def _copy(data: bytes | memoryview, view: memoryview) -> int:
    count = min(len(data), len(view))
    view[:count] = data[:count]
    return count


def _check_path(embedded: str, expected: str) -> None:
    normal = normalize_path(expected)
    if embedded != normal:
        raise WrongPath(
            f"sealed for the path {embedded!r}, and opened as {normal!r}",
            hint="Gramine opens a protected file under the path that it was sealed for: "
            "put it there, or seal it for this one",
        )


def _check_length(bytes_there: int, size: int) -> None:
    if bytes_there // NODE_BYTES < node_count(size):
        raise _truncated(bytes_there // NODE_BYTES, size)


def _truncated(nodes: int, size: int) -> IntegrityError:
    return IntegrityError(
        f"the protected file ends after {nodes} nodes; "
        f"its {size} bytes of data take {node_count(size)}",
        code="integrity.truncated",
        hint="it was cut off: fetch it again from where it was sealed",
    )


def _tampered(kind: str, node: int) -> NodeTampered:
    return NodeTampered(
        f"{kind} node at physical node {node} (byte {node * NODE_BYTES}) does not authenticate: "
        "it was damaged or changed",
        node=node,
        hint="fetch the file again from where it was sealed",
    )
