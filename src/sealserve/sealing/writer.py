"""Write a protected file: plaintext stream and wrap key in, nodes out, in bounded memory.

1. Group after group: read up to 96 nodes of data, encrypt each under a fresh key, write them, and
   note keys and tags in the group's MHT node.
2. An MHT node without children is encrypted and written with its group; its own key and tag go
   into its parent. The size is known from the start, so is which nodes have children.
3. The others have to wait for their children, which come after them: they are finished at the end,
   from the last to the first, so that a parent's turn comes after all its children's.
4. Node 0 comes last. Until then the sink begins with a hole and nothing accepts it.

Memory: two groups (0.8 MiB), and one MHT node for every 32 groups, which is 1/3072 of the data:
350 KiB for each GiB. Source of the format: Gramine 1.9, see `layout` and `header`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealserve.errors import UsageError
from sealserve.sealing.header import (
    NONCE_BYTES,
    ZERO_IV,
    Header,
    Metadata,
    check_version,
    check_wrap_key,
    seal_header,
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
    data_nodes,
    inner_mht_nodes,
    mht_nodes,
    parent_mht_node,
    physical_data_node,
    physical_mht_node,
)
from sealserve.sealing.paths import encode_path, normalize_path
from sealserve.sealing.streams import Sink, Source, fill, length, write_all


def seal(
    source: Source,
    sink: Sink,
    key: bytes,
    *,
    path: str,
    version: int = 2,
    size: int | None = None,
    advance: Callable[[int], None] = lambda _count: None,
) -> Header:
    """Encrypt the whole of `source` into `sink`, an empty seekable stream; the header written.

    `path` is normalised and embedded: Gramine opens the file under that path alone. `version` is
    the format's: 2 for Gramine from 1.9, 1 for any. `size` is only for a source that cannot seek:
    the bytes that it will give. `advance` is told of plaintext bytes as they are done. Raises
    UsageError for a key, path or source that cannot be sealed, and UnsupportedVersion; after any
    error the sink holds nothing that can be opened.
    """
    check_wrap_key(key)
    check_version(version)
    encode_path(path)
    if size is None:
        size = length(source)
        source.seek(0)
    writer = _Writer(source, sink, size, advance)
    metadata = writer.write_data(normalize_path(path))
    node = seal_header(metadata, key, os.urandom(NONCE_BYTES), version)
    sink.seek(0)
    write_all(sink, memoryview(node))
    return Header(metadata.path, size, version)


class _Writer:
    """The nodes after node 0, and what node 0 has to say of them."""

    def __init__(
        self, source: Source, sink: Sink, size: int, advance: Callable[[int], None]
    ) -> None:
        self._source = source
        self._sink = sink
        self._size = size
        self._advance = advance
        self._root = bytes(ENTRY_BYTES)
        self._inner: list[bytearray] = []  # MHT nodes that wait for their children
        self._plain = memoryview(bytearray(GROUP_BYTES))
        self._sealed = memoryview(bytearray(GROUP_BYTES + TAG_BYTES))
        self._entries = memoryview(bytearray(NODE_BYTES))
        self._slots = [self._slot(index) for index in range(GROUP_DATA_NODES)]

    def _slot(self, index: int) -> tuple[memoryview, ...]:
        """Views for one node of the group: key, plaintext, ciphertext with its tag, the tag there,
        the tag's place in the MHT node. Made once: they cost as much as a tenth of the AES."""
        start, entry = index * NODE_BYTES, index * ENTRY_BYTES
        end = start + NODE_BYTES
        return (
            self._entries[entry : entry + KEY_BYTES],
            self._plain[start:end],
            self._sealed[start : end + TAG_BYTES],
            self._sealed[end : end + TAG_BYTES],
            self._entries[entry + KEY_BYTES : entry + ENTRY_BYTES],
        )

    def write_data(self, path: str) -> Metadata:
        """Read all of the source, write all nodes but node 0, and return what stands in that."""
        head = memoryview(bytearray(HEAD_BYTES))
        self._read(head[: self._size])
        inner = inner_mht_nodes(self._size)
        for group in range(mht_nodes(self._size)):
            entries = self._write_group(group)
            if group < inner:
                self._inner.append(entries)
            else:
                self._write_mht(group, entries)
        for group in reversed(range(inner)):
            self._write_mht(group, self._inner[group])
        self._check_end()
        root_key, root_tag = self._root[:KEY_BYTES], self._root[KEY_BYTES:]
        return Metadata(path, self._size, root_key, root_tag, bytes(head))

    def _write_group(self, group: int) -> bytearray:
        """Encrypt and write one group's data nodes; the MHT node that speaks for them."""
        count = min(self._size - HEAD_BYTES - group * GROUP_BYTES, GROUP_BYTES)
        nodes = data_nodes(HEAD_BYTES + count)
        used = nodes * NODE_BYTES
        self._read(self._plain[:count])
        self._plain[count:used] = bytes(used - count)
        entries = self._encrypt(nodes)
        self._write(physical_data_node(group * GROUP_DATA_NODES), self._sealed[:used])
        return entries

    def _encrypt(self, nodes: int) -> bytearray:
        """Encrypt the first `nodes` nodes of the group in memory; their keys and tags.

        One draw makes all keys (and fills the tags' places). A tag comes out on the first bytes of
        the next node, and is taken from there before that one is encrypted.
        """
        used = nodes * ENTRY_BYTES
        self._entries[:used] = os.urandom(used)
        self._entries[used:] = bytes(NODE_BYTES - used)
        for key, plain, sealed, tag, entry_tag in self._slots[:nodes]:
            AESGCM(key).encrypt_into(ZERO_IV, plain, None, sealed)
            entry_tag[:] = tag
        return bytearray(self._entries)

    def _write_mht(self, index: int, entries: bytearray) -> None:
        """Encrypt and write one complete MHT node, and tell its parent, or the root's place."""
        key = os.urandom(KEY_BYTES)
        sealed = memoryview(AESGCM(key).encrypt(ZERO_IV, entries, None))
        self._write(physical_mht_node(index), sealed[:NODE_BYTES])
        entry = key + sealed[NODE_BYTES:]
        if index == 0:
            self._root = entry
        else:
            at = child_entry(index)
            self._inner[parent_mht_node(index)][at : at + ENTRY_BYTES] = entry

    def _write(self, node: int, data: memoryview) -> None:
        self._sink.seek(node * NODE_BYTES)
        write_all(self._sink, data)

    def _read(self, view: memoryview) -> None:
        if fill(self._source, view) != len(view):
            raise self._changed()
        self._advance(len(view))

    def _check_end(self) -> None:
        if fill(self._source, memoryview(bytearray(1))):
            raise self._changed()

    def _changed(self) -> UsageError:
        return UsageError(
            f"the plaintext is not the {self._size} bytes long that it was when sealing began",
            code="source-changed",
            hint="seal it again when nothing writes to it",
        )
