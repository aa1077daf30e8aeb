"""Versions in memory, and the files of a tensor bundle, as TensorFlow writes them and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sealserve.errors import ConfigError
from sealserve.messages.bundle_pb2 import BundleEntryProto, BundleHeaderProto
from sealserve.messages.graph_pb2 import GraphDef
from sealserve.messages.tensors import to_proto
from sealserve.serving.formats.bundle import INDEX_NAME
from sealserve.serving.formats.table import MAGIC, masked_crc32c


class HeldFiles:
    """`VersionFiles` of what a dict holds."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self.names: Sequence[str] = sorted(files)

    def path(self, name: str) -> str:
        return f"/held/{name}"

    def read(self, name: str) -> bytearray:
        if name not in self._files:
            raise ConfigError(f"cannot read {self.path(name)}", code="file")
        return bytearray(self._files[name])


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def block(entries: Sequence[tuple[bytes, bytes]], *, compression: int = 0) -> bytes:
    """A block with prefixes shared, one restart point, and its trailer."""
    data, last = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(last)) and key[shared] == last[shared]:
            shared += 1
        data += varint(shared) + varint(len(key) - shared) + varint(len(value))
        data += key[shared:] + value
        last = key
    data += bytes(4) + (1).to_bytes(4, "little") + bytes([compression])
    return data + masked_crc32c(data).to_bytes(4, "little")


def table(entries: Sequence[tuple[bytes, bytes]], *, per_block: int = 2) -> bytes:
    """A table whose blocks have few entries, so that there is more than one."""
    data, index = b"", []
    for start in range(0, len(entries), per_block):
        piece = block(entries[start : start + per_block])
        last_key = entries[start : start + per_block][-1][0]
        index.append((last_key, varint(len(data)) + varint(len(piece) - 5)))
        data += piece
    meta = block([])
    places = [len(data), len(meta) - 5]
    data += meta
    piece = block(index)
    places += [len(data), len(piece) - 5]
    footer = b"".join(map(varint, places)).ljust(40, b"\0") + MAGIC.to_bytes(8, "little")
    return data + piece + footer


def bundle(
    values: Mapping[str, np.ndarray], *, shards: int = 1, header: BundleHeaderProto | None = None
) -> dict[str, bytes]:
    """The files of a bundle: its values one after the other, taking turns with the shards."""
    if header is None:
        header = BundleHeaderProto(num_shards=shards)
        header.version.producer = 1
    data = [bytearray() for _ in range(shards)]
    entries = [(b"", header.SerializeToString())]
    for number, (key, value) in enumerate(sorted(values.items())):
        shard = data[number % shards]
        proto = to_proto(value)
        content = proto.tensor_content
        entry = BundleEntryProto(
            dtype=proto.dtype,
            shape=proto.tensor_shape,
            shard_id=number % shards,
            offset=len(shard),
            size=len(content),
            crc32c=masked_crc32c(content),
        )
        entries.append((key.encode(), entry.SerializeToString()))
        shard += content
    files = {
        f"variables/variables.data-{number:05d}-of-{shards:05d}": bytes(content)
        for number, content in enumerate(data)
    }
    return {INDEX_NAME: table(entries), **files}


def add_restoring(graph: GraphDef, keys: Mapping[str, str], *, part: str = "") -> str:
    """Nodes that restore variables from keys, as TensorFlow 1 writes them; the restore op."""
    parts = np.array([part.encode()] * len(keys), object)
    for name, texts in (("keys", np.array([*keys.values()], object)), ("parts", parts)):
        node = graph.node.add(name=name, op="Const")
        node.attr["value"].tensor.CopyFrom(to_proto(texts))
    graph.node.add(name="restored", op="RestoreV2", input=["prefix", "keys", "parts"])
    for index, variable in enumerate(keys):
        value = f"restored:{index}" if index else "restored"
        assign = f"assign_{index}"
        graph.node.add(name=assign, op="AssignVariableOp", input=[variable, value])
    waits = [f"^assign_{index}" for index in range(len(keys))]
    graph.node.add(name="restore_all", op="NoOp", input=waits)
    return "restore_all"
