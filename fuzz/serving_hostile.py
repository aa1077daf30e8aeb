"""Inputs of the model server that are built to be dear: see `fuzz.hostile`."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from fuzz.hostile import filled
from fuzz.serving_seeds import saved_models
from sealserve.messages import tensor_pb2
from sealserve.messages.predict_pb2 import PredictRequest
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.serving.formats.table import MAGIC, masked_crc32c
from tests.support.made_versions import block, varint

Inputs = Mapping[str, bytes]

_SIZE = 64 << 10
_DEPTH = 40  # functions inside each other


def requests() -> Inputs:
    """As many fields as fit, and tensors that claim what is not there."""
    claims = PredictRequest()
    for index in range(500):
        tensor = claims.inputs[f"{index}"]
        tensor.dtype = tensor_pb2.DT_FLOAT
        tensor.tensor_shape.dim.add(size=1 << 40)
    return {
        "empty inputs": filled(b"\x12\x00", _SIZE),
        "output filters": filled(b"\x1a\x00", _SIZE),
        "unknown fields": filled(b"\x78\x01", _SIZE),
        "groups": filled(b"\x7b", _SIZE),
        "specs": filled(b"\x0a\x00", _SIZE),
        "tensors of terabytes": claims.SerializeToString(),
        "one input of empty fields": b"\x12"
        + _sized(b"\x0a\x01x\x12" + _sized(b"\x2a\x00" * _SIZE)),
    }


def _sized(data: bytes) -> bytes:
    return varint(len(data)) + data


def blocks() -> Inputs:
    """A table whose index names one large block again and again, and nothing is in it."""
    content = bytes(_SIZE * 4 - 4) + (_SIZE - 1).to_bytes(4, "little") + b"\0"
    empty = content + masked_crc32c(content).to_bytes(4, "little")
    place = varint(0) + varint(len(content) - 1)
    index = block([(struct.pack(">I", number), place) for number in range(4000)])
    places = (len(empty), len(index) - 5) * 2
    footer = b"".join(map(varint, places)).ljust(40, b"\0") + MAGIC.to_bytes(8, "little")
    return {"one block for all": empty + index + footer}


def graphs() -> Inputs:
    """Functions that call two of the next kind each: a few hundred bytes, a tree without end."""
    restoring, calling = (SavedModel.FromString(saved_models()[1]) for _ in range(2))
    for model, first in ((restoring, "restore_all"), (calling, "y")):
        graph = model.meta_graphs[0].graph_def
        for depth in range(_DEPTH):
            function = graph.library.function.add()
            function.signature.name = f"f{depth}"
            function.signature.output_arg.add(name="y", type=tensor_pb2.DT_FLOAT)
            for side in "ab":
                node = function.node_def.add(name=side, op="StatefulPartitionedCall")
                node.attr["f"].func.name = f"f{depth + 1}" if depth + 1 < _DEPTH else "body"
            function.ret["y"] = "a:output:0"
        node = next(node for node in graph.node if node.name == first)
        node.op = "StatefulPartitionedCall"
        node.attr["f"].func.name = "f0"
    chain = SavedModel.FromString(saved_models()[0])
    graph = chain.meta_graphs[0].graph_def
    for index in range(2000):
        graph.node.add(name=f"n{index}", op="Neg", input=[f"n{index - 1}" if index else "w"])
    graph.node[2].input[1] = "n1999"
    return {
        "a tree that restores": restoring.SerializeToString(),
        "a tree of calls": calling.SerializeToString(),
        "a long chain": chain.SerializeToString(),
    }


def records() -> Inputs:
    """Empty records, as many as fit, and one that claims exabytes."""
    length = struct.pack("<Q", 1 << 62)
    return {
        "empty records": filled(bytes(8) + _checksum(bytes(8)) + _checksum(b""), _SIZE),
        "exabytes": length + _checksum(length) + bytes(_SIZE),
    }


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))


def texts() -> Inputs:
    """Text format that repeats and nests."""
    return {
        "models": filled(b"config{}", _SIZE, b"model_config_list{", b"}"),
        "nothing": filled(b" ", _SIZE),
        "comments": filled(b"#\n", _SIZE),
        "braces": filled(b"model_config_list{config{", _SIZE),
        "any": filled(b"[a/b]{", _SIZE),
        "texts": filled(b"'a'", _SIZE, b"server_key:"),
        "escapes": filled(b"\\x41", _SIZE, b"server_key:'", b"'"),
        "sizes": filled(b"allowed_batch_sizes:1 ", _SIZE),
        "unknown": filled(b"a{", _SIZE),
    }
